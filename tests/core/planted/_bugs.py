"""Where schedules with a planted bug are listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fetchline.core.limits import Limits
from fetchline.core.schedule import Schedule

BUGS: dict[str, type[Schedule]] = {}


def bug(cls: type[Schedule]) -> type[Schedule]:
    BUGS[cls.__name__] = cls
    return cls


def told(**changes: Callable[[Any], Any]) -> type[Schedule]:
    """A schedule that keeps to other limits than it was given."""

    class Told(Schedule):
        def __init__(self, limits: Limits, *, ordered: bool = False) -> None:
            wrong = {name: change(getattr(limits, name)) for name, change in changes.items()}
            super().__init__(replace(limits, **wrong), ordered=ordered)

    return Told
