"""Durations, as users write them: seconds, or a timedelta."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

__all__ = ["check_seconds", "seconds"]


def seconds(name: str, value: Any) -> float:
    """Accept seconds as a number or a timedelta, not negative."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be seconds or a timedelta, not {value!r}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a finite number of seconds, not negative: {value}")
    return float(value)


def check_seconds(name: str, value: Any) -> float:
    """Accept seconds above zero."""
    number = seconds(name, value)
    if number == 0:
        raise ValueError(f"{name} must be more than 0 seconds")
    return number
