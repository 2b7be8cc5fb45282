"""What hooks are told of runs and attempts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fetchline.interfaces.verdicts import Verdict

__all__ = ["AttemptInfo", "RunInfo"]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run, as hooks see it.

    Attributes:
        id: a UUID as text.
        fetcher: the fetcher's name.
        executor: the executor's name.
        concurrency: attempts at once, at the most.
        total: items, where the input has a length.
        params: the run's ``params``.
    """

    id: str
    fetcher: str
    executor: str
    concurrency: int
    total: int | None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """One finished attempt: which item, which number (from 1), how it ended and how long it ran in seconds."""

    key: str
    index: int
    number: int
    verdict: Verdict | None
    ran_s: float
