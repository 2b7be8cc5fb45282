"""How long tests take, and how dense starts are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = ["lasting", "most_within"]

F = TypeVar("F", bound=Callable[..., Any])


def lasting(seconds: float) -> Callable[[F], F]:
    """Say about how long a test takes, if that is over ten seconds: long ones are begun first."""

    def note(test: F) -> F:
        test.lasting = seconds  # type: ignore[attr-defined]
        return test

    return note


def most_within(times: Sequence[float], period: float) -> int:
    """The highest number of ``times``, in ascending order, in any period of so many seconds."""
    return max((n + 1 - bisect_left(times, last - period + 1e-9) for n, last in enumerate(times)), default=0)
