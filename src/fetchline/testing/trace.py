"""What happened in a simulated run: every call of its schedule, and the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fetchline.core.slots import Slot
from fetchline.interfaces import Verdict

__all__ = ["Recorder", "Trace"]


@dataclass(frozen=True, slots=True)
class Trace:
    """A run that broke a promise.

    Attributes:
        choices: the bytes it was decided by, for ``play``.
        promise: the name of the promise.
        what: what happened.
        events: every call of the schedule and its answer, in order.
        seed: what ``simulate`` was given; None where ``play`` was called.
    """

    choices: bytes
    promise: str
    what: str
    events: tuple[str, ...]
    seed: int | None = None

    def __str__(self) -> str:
        origin = f"choices {self.choices.hex()}" if self.seed is None else f"seed {self.seed}"
        return "\n".join([f"{self.what} ({origin})", *(f"  {event}" for event in self.events)])


class Recorder:
    """Writes down what is asked of a schedule, and what it answers."""

    def __init__(self, schedule: Any, events: list[str]) -> None:
        self._schedule = schedule
        self._events = events
        events.append(repr(schedule.limits))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._schedule, name)
        return self._recorded(name, value) if callable(value) else value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self._events.append(f"{name} = {value!r}")
            setattr(self._schedule, name, value)

    def _recorded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **kwargs: Any) -> Any:
            said = ", ".join(
                [*map(_brief, args), *(f"{key}={_brief(value)}" for key, value in kwargs.items())]
            )
            self._events.append(f"{name}({said})")
            answer = call(*args, **kwargs)
            self._events[-1] += f" -> {_brief(answer)}"
            return answer

        return record


def _brief(value: Any) -> str:
    match value:
        case Slot():
            return f"item {value.index}" + (f" as {value.token}" if value.token else "")
        case list() | tuple():
            return f"[{', '.join(map(_brief, value))}]"
        case Verdict():
            return f"{value.kind} {value.code} {value.delay}"
        case _:
            return repr(value)
