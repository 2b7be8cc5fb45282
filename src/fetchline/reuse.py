"""Which of what is stored is fetched again: ``reuse=``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

from fetchline.durations import check_seconds
from fetchline.retry import check_count

__all__ = ["Reuse", "Stored", "check_reuse", "chosen", "except_last", "fresh"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_WHOLE = re.compile(r"-?\d+")
_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*")


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of an item, as a ``reuse=`` function sees it.

    Attributes:
        key: the item's.
        status: ``success``, ``empty`` or ``failure``.
        at: when it was stored, in UTC.
        error_code: of a failure.
    """

    key: str
    status: Literal["success", "empty", "failure"]
    at: datetime
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class _Fresh:
    age: timedelta

    def __call__(self, stored: Stored) -> bool:
        return stored.status != "failure" and datetime.now(UTC) - stored.at < self.age


@dataclass(frozen=True, slots=True)
class _ExceptLast:
    count: int


Reuse: TypeAlias = Literal["successes", "all", "none"] | Callable[[Stored], bool] | _ExceptLast


def fresh(age: str | float | timedelta) -> Callable[[Stored], bool]:
    """Use stored successes that are younger than ``age``, and fetch the others again: ``reuse=fl.fresh("1d")``.

    Args:
        age: a number and one of the units s, m, h, d, w; or seconds; or a timedelta.

    >>> from datetime import UTC, datetime
    >>> fresh("1d")(Stored("AAPL", "success", datetime.now(UTC)))
    True
    """
    if isinstance(age, str):
        match = _AGE.fullmatch(age)
        if match is None:
            raise ValueError(f"an age is written like '30m', '1d' or '2w', not {age!r}")
        age = float(match[1]) * _UNITS[match[2]]
    return _Fresh(timedelta(seconds=check_seconds("age", age)))


def except_last(count: int) -> _ExceptLast:
    """Use stored successes but for the last ``count``, whose answers may have grown: ``reuse=fl.except_last(2)``.

    Last is the highest number, or what sorts last as text, as dates and ``Period`` do. Of keys with several parts,
    such as those of ``Args(symbol, period)``, it is the last part that counts, and of each symbol the last ones are
    fetched again.

    >>> chosen(except_last(1), [Stored(key, "success", datetime.now(UTC)) for key in ("A/2023", "A/2024", "B/2023")])
    [True, False, False]
    """
    return _ExceptLast(check_count("count", count))


def check_reuse(reuse: Any) -> None:
    if reuse is None or reuse in ("successes", "all", "none") or isinstance(reuse, _ExceptLast):
        return
    if isinstance(reuse, str) or not callable(reuse):
        raise ValueError(
            'reuse must be "successes", "all", "none", fetchline.fresh("1d"), fetchline.except_last(2), or a '
            f"function of what is stored, not {reuse!r}"
        )


def chosen(reuse: Reuse, stored: Sequence[Stored]) -> list[bool]:
    """Which of what is stored is used.

    A write of which nobody knows whether it arrived is never sent again unasked: only ``"none"`` asks for it.
    """
    if reuse == "none":
        return [False] * len(stored)
    return [
        use or one.error_code == "unknown_outcome"
        for use, one in zip(_chosen(reuse, stored), stored, strict=True)
    ]


def _chosen(reuse: Reuse, stored: Sequence[Stored]) -> Iterable[bool]:
    if reuse == "all":
        return [True] * len(stored)
    if isinstance(reuse, _ExceptLast):
        return _but_last(reuse.count, stored)
    if callable(reuse):
        return [bool(reuse(one)) for one in stored]
    return [one.status != "failure" for one in stored]


def _but_last(count: int, stored: Sequence[Stored]) -> list[bool]:
    groups: dict[str, list[tuple[str, int]]] = {}
    for at, one in enumerate(stored):
        if one.status != "failure":
            group, _, last = one.key.rpartition("/")
            groups.setdefault(group, []).append((last, at))
    used = [False] * len(stored)
    for members in groups.values():
        for _, at in _ranked(members)[:-count]:
            used[at] = True
    return used


def _ranked(members: list[tuple[str, int]]) -> list[tuple[str, int]]:
    if all(_WHOLE.fullmatch(last) for last, _ in members):
        return sorted(members, key=lambda member: (int(member[0]), member[1]))
    return sorted(members)
