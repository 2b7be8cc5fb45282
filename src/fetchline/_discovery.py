"""The installed plugins: what their distributions declare, known without importing any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fetchline._plugin import Plugin, covers
from fetchline._provider import distribution, forbidden, normal
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
        self._block = forbidden(block)
        self._seen: dict[tuple[str, str, str], Plugin] = {}

    def seen(self) -> list[Plugin]:
        """Those found by earlier questions, loaded or not."""
        return list(self._seen.values())

    def all(self) -> list[Plugin]:
        for point in self._entry_points():
            provider, version, summary = distribution(point)
            where = (provider, point.name, point.value)
            if where not in self._seen:
                blocked = not self._block.isdisjoint({normal(point.name), normal(provider)})
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


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group="fetchline")
