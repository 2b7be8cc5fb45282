"""Registries: names to fetchers."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from fetchline.errors import DuplicateName, UnknownName
from fetchline.fetchers import Fetcher

__all__ = ["Registry", "default"]


class Registry(Mapping[str, Fetcher[Any, Any, Any]]):
    """Names to fetchers; the default one is where ``@fetcher`` registers.

    Reading is a Mapping. A name that is not there may belong to an installed plugin, which the default
    registry then loads.

    >>> mine = Registry()
    >>> from fetchline import fetcher
    >>> @fetcher("docs.hello", registry=mine)
    ... def hello(name: str) -> str:
    ...     return f"hello {name}"
    >>> list(mine), mine["docs.hello"]("you")
    (['docs.hello'], 'hello you')
    """

    def __init__(self, *, plugins: bool = False) -> None:
        self._fetchers: dict[str, Fetcher[Any, Any, Any]] = {}
        self._lock = threading.Lock()
        self._plugins = plugins

    def register(self, fetcher: Fetcher[Any, Any, Any]) -> None:
        """Add a fetcher under its name; the same function may register again (a reload, a notebook cell).

        Raises:
            DuplicateName: the name belongs to a function of another origin.
        """
        with self._lock:
            held = self._fetchers.get(fetcher.name)
            if held is not None and held.origin != fetcher.origin:
                raise DuplicateName(
                    f"two fetchers are named {fetcher.name!r}: {'.'.join(held.origin)} and "
                    f'{".".join(fetcher.origin)}; give one of them another name: @fetcher("other.name")'
                )
            self._fetchers[fetcher.name] = fetcher

    def unregister(self, name: str) -> None:
        """Forget a name; unknown ones are ignored."""
        with self._lock:
            self._fetchers.pop(name, None)

    def add(self, what: Any) -> None:
        """Register fetchers, or every fetcher a module defines."""
        if isinstance(what, Fetcher):
            self.register(what)
        elif isinstance(what, ModuleType):
            for _, member in inspect.getmembers(what, lambda member: isinstance(member, Fetcher)):
                self.register(member)
        else:
            raise TypeError(f"neither a fetcher nor a module: {what!r}")

    def load(self, namespace: str) -> None:
        """Load the fetchers of the plugin of this name, if one is installed."""
        from fetchline.catalog import catalog

        for what in catalog().fetchers(namespace):
            self.add(what)

    def __getitem__(self, name: str) -> Fetcher[Any, Any, Any]:
        if not isinstance(name, str):
            raise TypeError(f"a fetcher is asked for by its name, not by {name!r}")
        if name not in self._fetchers and self._plugins:
            self.load(name.partition(".")[0])
        try:
            return self._fetchers[name]
        except KeyError:
            hint = "Import the module that defines it, or name it: --app module, [tool.fetchline] apps."
            raise UnknownName("fetcher", name, self._fetchers, hint) from None

    def get(self, name: str, default: Any = None) -> Any:
        """The fetcher of that name, or ``default``."""
        try:
            return self[name]
        except UnknownName:
            return default

    def __contains__(self, name: object) -> bool:
        return name in self._fetchers

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._fetchers))

    def __len__(self) -> int:
        return len(self._fetchers)

    def __repr__(self) -> str:
        return f"<Registry of {len(self)}: {', '.join(self)}>"


default = Registry(plugins=True)
"""Where ``@fetcher`` registers."""
