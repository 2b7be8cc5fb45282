"""Schedules with one bug each: the simulator has to find every one of them."""

from planted import ahead, outcomes, times, weights
from planted._bugs import BUGS

__all__ = ["BUGS", "ahead", "outcomes", "times", "weights"]
