"""Plans: what a run would do, without doing any of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fetchline.binding import bind_item
from fetchline.deciding import decide
from fetchline.drive.feed import KeyCheck
from fetchline.items import check_items, key_of

__all__ = ["Plan", "plan"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        fetcher, executor, workers, concurrency: what would run, where, how wide.
        keys: the keys of the items that would be called, in order.
        refused: ``(item, why)`` of items that cannot be called: no key, or the arguments do not fit.
        least_s: seconds the declared pace alone makes the run take; 0 without a pace.
    """

    fetcher: str
    executor: str
    workers: int
    concurrency: int
    keys: list[str] = field(default_factory=list)
    refused: list[tuple[Any, str]] = field(default_factory=list)
    least_s: float = 0.0

    @property
    def calls(self) -> int:
        """How many calls would be made, were none tried again."""
        return len(self.keys)

    def __str__(self) -> str:
        lines = [f"{self.fetcher}: {self.calls:,} calls on {self.executor} x {self.concurrency}"]
        if self.keys:
            shown = ", ".join(self.keys[:_SHOWN])
            lines.append(f"  calls     {shown}{', ...' if self.calls > _SHOWN else ''}")
        if self.least_s:
            lines.append(f"  pace      at least {self.least_s:.1f} s")
        for item, why in self.refused[:_SHOWN]:
            lines.append(f"  refused   {item!r}: {why}")
        if len(self.refused) > _SHOWN:
            lines.append(f"  refused   and {len(self.refused) - _SHOWN:,} more")
        return "\n".join(lines)


def plan(fetcher: Any, items: Iterable[Any], **options: Any) -> Plan:
    """Say what ``run`` would do with the same arguments; nothing is called and no session is opened.

    The whole input is drawn, so it must end.

    Raises:
        UnknownName, TypeError, ValueError: as ``fetchline.run``, but for single items, which are listed.

    >>> def double(n: int) -> int:
    ...     return 2 * n
    >>> print(plan(double, [1, 2, 3]))
    double: 3 calls on thread x 10
      calls     1, 2, 3
    """
    decided = decide(fetcher, options, progress=None)
    check_items(items)
    found, crew, key = decided.fetcher, decided.crew, decided.key
    check = KeyCheck(key)
    keys: list[str] = []
    refused: list[tuple[Any, str]] = []
    for item in items:
        try:
            check(item)
            bind_item(found, decided.params, item, decided.use)
        except (TypeError, ValueError) as error:
            refused.append((item, str(error)))
        else:
            keys.append(key_of(item) if key is None else key(item))
    pace = found.policies.pace
    return Plan(
        fetcher=found.name,
        executor=crew.name,
        workers=crew.workers,
        concurrency=crew.concurrency,
        keys=keys,
        refused=refused,
        least_s=_least_seconds(pace.windows, len(keys)) if pace is not None and pace.windows else 0.0,
    )


def _least_seconds(windows: Iterable[tuple[int, float]], calls: int) -> float:
    """What the slowest of the windows makes so many starts take, the first one being free."""
    ordered = list(windows)
    count, period = ordered[0]
    spaced = max(calls - 1, 0) * period / count
    counted = [(calls - 1) // count * period for count, period in itertools.islice(ordered, 1, None)]
    return max([spaced, *counted]) if calls else 0.0
