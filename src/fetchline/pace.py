"""Pace: the declared limits on starting."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Pace"]

_UNITS = {
    "s": 1.0, "sec": 1.0, "second": 1.0,
    "min": 60.0, "m": 60.0, "minute": 60.0,
    "h": 3600.0, "hour": 3600.0,
    "d": 86400.0, "day": 86400.0,
}  # fmt: skip
_RATE = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*")
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast attempts may start, over all workers of a run, retries included.

    The shortest window is spaced evenly, longer ones are counted.

    Args:
        rates: ``"5/s"``, ``"200/min"``, ``"10000/day"``, ``"1/10s"``, or several separated by commas; ``"adaptive"``
            among them is short for ``adaptive=True``.
        name: share the pace with every run of this name on this machine, in all processes, now and later. Give it
            the same rates everywhere.
        adaptive: find out how many attempts at once, and how many starts a second, the server bears, from its
            refusals and failures.

    Raises:
        ValueError: the text is not a rate, or nothing is limited.

    >>> Pace("5/s, 200/min").windows
    ((5, 1.0), (200, 60.0))
    >>> Pace("20/s, adaptive")
    Pace(rates='20/s', name=None, adaptive=True)
    """

    rates: str = ""
    name: str | None = None
    adaptive: bool = False

    def __post_init__(self) -> None:
        parts = [part.strip() for part in self.rates.split(",")] if self.rates.strip() else []
        if "adaptive" in parts:
            object.__setattr__(self, "adaptive", True)
            object.__setattr__(self, "rates", ", ".join(part for part in parts if part != "adaptive"))
        if not isinstance(self.adaptive, bool):
            raise TypeError(f"adaptive must be True or False, not {self.adaptive!r}")
        if self.name is not None and not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            raise ValueError(f"a pace's name is of letters, digits, '_', '-' and '.', not {self.name!r}")
        if not self.windows and self.name is not None:
            raise ValueError(f'the pace {self.name!r} is to be shared, and needs a rate, such as "20/s"')
        if not self.windows and not self.adaptive:
            raise ValueError('a pace limits something: give a rate, such as "20/s", or adaptive=True')

    @classmethod
    def of(cls, pace: Pace | str | None) -> Pace | None:
        """Accept a pace, its text, or None."""
        if pace is None or isinstance(pace, Pace):
            return pace
        if not isinstance(pace, str):
            raise TypeError(f'pace must be a text such as "20/s" or a Pace, not {pace!r}')
        return cls(pace)

    @property
    def windows(self) -> tuple[tuple[int, float], ...]:
        """``(starts, seconds)`` of each window, shortest first."""
        if not self.rates.strip():
            return ()
        return tuple(sorted((_parse(part) for part in self.rates.split(",")), key=lambda rate: rate[1]))


def _parse(text: str) -> tuple[int, float]:
    match = _RATE.fullmatch(text.lower())
    unit = match and (_UNITS.get(match[3]) or _UNITS.get(match[3].rstrip("s")))
    if not match or not unit or int(match[1]) < 1 or float(match[2] or 1) <= 0:
        raise ValueError(f'{text.strip()!r} is not a rate; write "20/s", "200/min", "1/10s" or "10000/day"')
    return int(match[1]), float(match[2] or 1) * unit
