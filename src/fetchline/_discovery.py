"""The installed plugins: what their distributions declare, known without importing any of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fetchline._plugin import Plugin, covers
from fetchline.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Installed"]


class Installed:
    """The plugins of the entry points; the arguments are those of ``Catalog``.

    Entry points are read anew by each question, so that what a notebook installs is found without a restart.
    """

    def __init__(
        self, entry_points: Callable[[], Iterable[EntryPoint]] | None, block: Iterable[str] | None
    ) -> None:
        self._entry_points = entry_points or _entry_points
        names = os.environ.get("FETCHLINE_BLOCK", "").split(",") if block is None else block
        self._block = frozenset(map(_normal, names))
        self._seen: dict[tuple[str, str, str], Plugin] = {}

    def seen(self) -> list[Plugin]:
        """Those found by earlier questions, loaded or not."""
        return list(self._seen.values())

    def all(self) -> list[Plugin]:
        for point in self._entry_points():
            provider, version, summary = _distribution(point)
            where = (provider, point.name, point.value)
            if where not in self._seen:
                blocked = not self._block.isdisjoint({_normal(point.name), _normal(provider)})
                self._seen[where] = Plugin(
                    point.name,
                    point.load,
                    provider=provider,
                    version=version,
                    summary=summary,
                    namespace=point.name,
                    resting="blocked" if blocked else "installed",
                )
        return self.seen()

    def load_for(self, name: str) -> list[PluginError]:
        """Load every plugin that may register ``name``; give what went wrong."""
        problems = []
        for plugin in self.all():
            if covers(plugin.name, name):
                try:
                    plugin.load()
                except PluginError as problem:
                    problems.append(problem)
        return problems


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group="fetchline")


def _distribution(point: EntryPoint) -> tuple[str, str, str]:
    """Give name, version and summary of the distribution that declares an entry point."""
    if point.dist is None:
        return "an unknown distribution", "", ""
    about = point.dist.metadata
    name, version, summary = (
        str(about[key]) if key in about else "" for key in ("Name", "Version", "Summary")
    )
    return name or "an unknown distribution", version, summary
