"""Who provides an entry point, and who is forbidden to: told without importing it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["distribution", "forbidden", "normal"]


def distribution(point: EntryPoint) -> tuple[str, str, str]:
    """Give name, version and summary of the distribution that declares an entry point."""
    about: Any = {} if point.dist is None else point.dist.metadata
    name, version, summary = (
        str(about[key]) if key in about else "" for key in ("Name", "Version", "Summary")
    )
    return name or "an unknown distribution", version, summary


def forbidden(names: Iterable[str] | None = None) -> frozenset[str]:
    """Give normal names: those of ``FETCHLINE_BLOCK``, or ``names`` in its place."""
    listed = os.environ.get("FETCHLINE_BLOCK", "").split(",") if names is None else names
    return frozenset(map(normal, listed))


def normal(name: str) -> str:
    """Write a name as one compares it: distributions spell themselves in several ways."""
    return name.strip().lower().replace("_", "-")
