"""Plans: what a run would do, without doing any of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fetchline.binding import bind_item
from fetchline.bulk import Bulk
from fetchline.deciding import Decided, decide
from fetchline.drive.feed import KeyCheck
from fetchline.items import check_items, key_of
from fetchline.stores import RunStore
from fetchline.summary import counted

__all__ = ["Plan", "plan"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        fetcher, executor, workers, concurrency: what would run, where, how wide.
        keys: the keys of the items that would be fetched, in order.
        held: how many items have an outcome in the store that is used, and are not fetched.
        shared: how many items have the key of another one, and are not fetched themselves (``dedupe=True``).
        refused: ``(item, why)`` of items that cannot be called: no key, or the arguments do not fit.
        bulk: items that one call is for, at the most.
        least_s: seconds the declared pace alone makes the run take; 0 without a pace.
    """

    fetcher: str
    executor: str
    workers: int
    concurrency: int
    keys: list[str] = field(default_factory=list)
    refused: list[tuple[Any, str]] = field(default_factory=list)
    held: int = 0
    shared: int = 0
    bulk: int = 1
    least_s: float = 0.0

    @property
    def calls(self) -> int:
        """How many calls would be made, were none tried again."""
        return -(-len(self.keys) // self.bulk)

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The keys of each call, as they would be grouped were all items at hand."""
        return [tuple(self.keys[at : at + self.bulk]) for at in range(0, len(self.keys), self.bulk)]

    def expected_s(self, call_s: float) -> float:
        """How long the run takes, in seconds, if each call takes ``call_s`` and none is tried again.

        >>> Plan("f", "thread", 10, 10, keys=["A"] * 100).expected_s(0.5)
        5.0
        """
        if not self.keys:
            return 0.0
        return max(self.least_s + call_s, -(-self.calls // self.concurrency) * call_s)

    def __str__(self) -> str:
        lines = [f"{self.fetcher}: {counted(self.calls, 'call')} on {self.executor} x {self.concurrency}"]
        if self.keys:
            shown = ", ".join(self.keys[:_SHOWN])
            lines.append(f"  items     {shown}{', ...' if len(self.keys) > _SHOWN else ''}")
        if self.bulk > 1:
            lines.append(f"  bulk      {counted(len(self.keys), 'item')}, up to {self.bulk} in a call")
        if self.held:
            lines.append(f"  stored    {counted(self.held, 'item')}, not fetched again")
        if self.shared:
            lines.append(f"  shared    {counted(self.shared, 'more item')} with keys of these")
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
        StoreError: the store is damaged or of something else; one that is in use is looked at.

    >>> def double(n: int) -> int:
    ...     return 2 * n
    >>> print(plan(double, [1, 2, 3]))
    double: 3 calls on thread x 10
      items     1, 2, 3
    """
    decided = decide(fetcher, options, progress=None)
    check_items(items)
    found, crew, key = decided.fetcher, decided.crew, decided.key
    check = KeyCheck(key)
    store = _store(decided)
    keys: list[str] = []
    refused: list[tuple[Any, str]] = []
    for item in items:
        try:
            check(item)
            bind_item(found, decided.params, item, decided.use)
            name = key_of(item) if key is None else key(item)
            if store is not None:
                store.check(name)
                store.meet(item, name)
        except (TypeError, ValueError) as error:
            refused.append((item, str(error)))
        else:
            keys.append(name)
    once = decided.config.dedupe or store is not None
    asked = list(dict.fromkeys(keys)) if once else keys
    fetched = [one for one in asked if store is None or not store.has(one)]
    pace = found.policies.pace
    bulk = (found.policies.bulk or Bulk(1)).size
    calls = -(-len(fetched) // bulk)
    return Plan(
        fetcher=found.name,
        executor=crew.name,
        workers=crew.workers,
        concurrency=crew.concurrency,
        keys=fetched,
        refused=refused,
        held=len(asked) - len(fetched),
        shared=len(keys) - len(asked),
        bulk=bulk,
        least_s=_least_seconds(pace.windows, calls) if pace is not None and pace.windows else 0.0,
    )


def _store(decided: Decided) -> RunStore | None:
    config = decided.config
    if config.store is None:
        return None
    store = RunStore(
        config.store,
        config.reuse,
        config.on_change,
        fetcher=decided.fetcher,
        params=decided.params,
        key=decided.key,
    )
    store.peek()
    return store


def _least_seconds(windows: Iterable[tuple[int, float]], calls: int) -> float:
    """What the slowest of the windows makes so many starts take, the first one being free."""
    ordered = list(windows)
    count, period = ordered[0]
    spaced = max(calls - 1, 0) * period / count
    counted = [(calls - 1) // count * period for count, period in itertools.islice(ordered, 1, None)]
    return max([spaced, *counted]) if calls else 0.0
