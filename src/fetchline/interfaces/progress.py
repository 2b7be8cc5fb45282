"""Progress displays: what they are told, the protocol, and the record that announces one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Progress", "ProgressBackend", "ProgressSpec", "held_back"]


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: items in all; None while the input has not ended and has no length.
        done: items with a result, failed ones included.
        failed: items whose result is a Failure.
        running: attempts in flight.
        retrying: items waiting for another attempt.
        waiting: items taken from the input that have not started.
        rate: items a second, over the run.
        eta_s: seconds to the end at that rate; None when unknown.
        allowed: attempts at once while that is less than the run's concurrency: an adaptive pace, or the
            start after a cooldown; else None.
        cooldown_s: seconds until anything may start again; 0 while there is no cooldown.
        outage_s: seconds for which nobody has got an answer; 0 while there is no outage.
    """

    total: int | None = None
    done: int = 0
    failed: int = 0
    running: int = 0
    retrying: int = 0
    waiting: int = 0
    rate: float = 0.0
    eta_s: float | None = None
    allowed: int | None = None
    cooldown_s: float = 0.0
    outage_s: float = 0.0


def held_back(progress: Progress) -> dict[str, float]:
    """Say what holds a run back now, for a display: ``at once``, ``cooldown`` and ``outage``, the latter in seconds.

    >>> held_back(Progress(allowed=4, cooldown_s=1.5))
    {'at once': 4, 'cooldown': 1.5}
    """
    held = {
        "at once": progress.allowed or 0,
        "cooldown": progress.cooldown_s,
        "outage": progress.outage_s,
    }
    return {name: value for name, value in held.items() if value}


@runtime_checkable
class ProgressBackend(Protocol):
    """Shows a run's progress; called on the host thread only, a few times a second."""

    def start(self, total: int | None, label: str) -> None: ...

    def update(self, progress: Progress) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSpec:
    """A progress display by name; ``factory(**options)`` gives a ``ProgressBackend``."""

    name: str
    factory: Callable[..., ProgressBackend]
    summary: str = ""
