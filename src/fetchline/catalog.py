"""Every backend and plugin by name: built-ins first, then installed plugins, imported when first needed."""

from __future__ import annotations

import functools
import importlib
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from fetchline._discovery import Installed
from fetchline._observers import Observers
from fetchline._plugin import (
    EXECUTOR,
    KINDS,
    PROGRESS,
    SESSION,
    STORE,
    AnySpec,
    Kind,
    Plugin,
    PluginInfo,
    covers,
)
from fetchline.errors import DuplicateName, PluginError, UnknownName
from fetchline.interfaces import ExecutorSpec, ProgressSpec, RunInfo, SessionSpec, StoreSpec, Use

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Catalog", "Observers", "PluginInfo", "catalog", "use"]

_log = logging.getLogger("fetchline.plugins")

S = TypeVar("S", bound=AnySpec)

FIRST_PARTY = frozenset({"aiohttp", "baostock", "dask", "httpx", "ray", "rich", "s3", "wats"})


def use(name: str, /, **options: Any) -> Use:
    """Name a backend together with options for its factory.

    >>> use("httpx", base_url="http://127.0.0.1:8000").options
    {'base_url': 'http://127.0.0.1:8000'}
    """
    return Use(name, options)


@functools.cache
def catalog() -> Catalog:
    """The catalog of this process, made on first use; ``FETCHLINE_BLOCK`` is read then."""
    return Catalog()


class Catalog:
    """Find backends, fetchers, observers and middleware by name; safe to use from any thread.

    An installed plugin is imported only when a name in its namespace is asked for and nothing that is already
    known has that name.

    Args:
        entry_points: gives the entry points to consider; default: those of the group ``fetchline``.
        block: plugins never to import, by namespace or distribution; default: the comma-separated list in
            the environment variable ``FETCHLINE_BLOCK``.

    >>> Catalog(entry_points=list).progress("none").name
    'none'
    """

    def __init__(
        self,
        *,
        entry_points: Callable[[], Iterable[EntryPoint]] | None = None,
        block: Iterable[str] | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self._built_in: dict[str, Plugin] = {}
        self._in_process: dict[str, tuple[object, Plugin]] = {}
        self._installed = Installed(entry_points, block)

    # -- backends ------------------------------------------------------------------------------------------

    def executor(self, name: str) -> ExecutorSpec:
        """Find an executor.

        Raises:
            UnknownName: nobody provides it; the message says what to install.
            DuplicateName: two plugins provide it; both are named.
            PluginError: the plugin of that name is broken or blocked.
        """
        return self._find(EXECUTOR, name)

    def session(self, name: str) -> SessionSpec:
        """Find a session; raises as ``executor`` does."""
        return self._find(SESSION, name)

    def progress(self, name: str) -> ProgressSpec:
        """Find a progress display; raises as ``executor`` does."""
        return self._find(PROGRESS, name)

    def store(self, name_or_url: str) -> StoreSpec:
        """Find a store by its name, or by the scheme of a URL; raises as ``executor`` does."""
        scheme, separator, _ = name_or_url.partition("://")
        return self._find(STORE, scheme, by_scheme=bool(separator))

    def _find(self, kind: Kind[S], name: str, *, by_scheme: bool = False) -> S:
        with self._lock:
            module = kind.built_in.get(name)
            near = self._known() if module is None else [self._load_built_in(module)]
            offers = _offers(near, kind, name, by_scheme)
            problems = [] if offers else self._installed.load_for(name)
            offers = offers or _offers(self._known(), kind, name, by_scheme)
            if not offers:
                raise self._missing(kind, name, problems)
            if len(offers) > 1:
                raise DuplicateName(
                    f"{kind.name} {name!r} is provided by {' and by '.join(str(p) for p, _ in offers)}; "
                    "uninstall one, or block it in FETCHLINE_BLOCK by the name of its distribution"
                )
            return offers[0][1]

    def _missing(self, kind: Kind[Any], name: str, problems: list[PluginError]) -> Exception:
        known = self._known()
        refused = [
            PluginError(plugin.refused[kind.name, name])
            for plugin in known
            if (kind.name, name) in plugin.refused
        ]
        if problems or refused:
            return (problems + refused)[0]
        names = [
            *kind.built_in,
            *(provided for plugin in known for of, provided in plugin.specs if of == kind.name),
        ]
        return UnknownName(kind.name, name, names, self._hint(kind.name, name))

    # -- fetchers, observers, middleware -------------------------------------------------------------------

    def fetchers(self, namespace: str) -> list[object]:
        """The fetchers, or modules of fetchers, of the plugin with that very name; none if there is none.

        Raises:
            PluginError: that plugin is broken or blocked.
        """
        with self._lock:
            return [each for plugin in self._named_plugins(namespace) for each in plugin.fetchers()]

    def observers(self, names: Iterable[str | object]) -> Observers:
        """The observers a run names; a plugin that is blocked is left out.

        Args:
            names: names of plugins, or plugin objects, in the order in which they are told.

        Raises:
            UnknownName: no plugin has that name.
            PluginError: a named plugin is broken.
        """
        return Observers(self._acting(names))

    def middleware(
        self, names: Iterable[str | object], run: RunInfo
    ) -> tuple[Callable[[], AbstractContextManager[Any]], ...]:
        """The context-manager factories that surround each attempt of ``run``, outermost first.

        Raises:
            UnknownName: no plugin has that name.
            PluginError: a named plugin is broken, its hook raised, or it gave something that is no factory.
        """
        hook = "fetchline_worker_middleware"
        factories: list[Callable[[], AbstractContextManager[Any]]] = []
        for plugin in self._acting(names):
            for factory in plugin.ask(hook, run=run):
                if not callable(factory):
                    raise PluginError(f"{plugin} failed in {hook}: {factory!r} is no factory")
                factories.append(factory)
        return tuple(factories)

    def _acting(self, names: Iterable[str | object]) -> list[Plugin]:
        acting: dict[object, Plugin] = {}
        objects: set[int] = set()
        with self._lock:
            for name in (names,) if isinstance(names, str) else names:
                if not isinstance(name, str):
                    if id(name) in objects:
                        continue
                    objects.add(id(name))
                plugin = self._named_plugin(name) if isinstance(name, str) else self._of_object(name)
                if plugin.blocked:
                    _log.info("%s is blocked and takes no part in the run", plugin)
                    continue
                plugin.load()
                acting.setdefault(plugin, plugin)
        return list(acting.values())

    def _named_plugin(self, name: str) -> Plugin:
        found = self._named_plugins(name)
        if not found:
            names = [*self._in_process, *(plugin.name for plugin in self._installed.seen())]
            raise UnknownName("plugin", name, names, self._hint("plugin", name))
        if len(found) > 1:
            raise DuplicateName(f"the plugin name {name!r} belongs to {' and to '.join(map(str, found))}")
        return found[0]

    def _named_plugins(self, name: str) -> list[Plugin]:
        if name in self._in_process:
            return [self._in_process[name][1]]
        return [plugin for plugin in self._installed.all() if plugin.name == name]

    def _of_object(self, plugin: object) -> Plugin:
        for known, registered in self._in_process.values():
            if known is plugin:
                return registered
        return _in_process_plugin(plugin, _name_of(plugin))

    # -- plugins -------------------------------------------------------------------------------------------

    def plugins(self) -> list[PluginInfo]:
        """Everything there is, built-ins first; nothing installed is imported for it."""
        with self._lock:
            installed = self._installed.all()
            modules = dict.fromkeys(module for kind in KINDS for module in kind.built_in.values())
            built_in = [self._load_built_in(module, strict=False) for module in modules]
            own = [plugin for _, plugin in self._in_process.values()]
            return [info for plugin in (*built_in, *own, *installed) for info in plugin.infos()]

    def register(self, plugin: object, name: str | None = None) -> str:
        """Add a plugin of this process: a module, or an object with hooks; for notebooks and tests.

        It hides an installed plugin of the same name that is not loaded yet. Registering the same class or
        module again, as a notebook cell does, replaces it. Workers in other processes do not see it.

        Args:
            plugin: what carries the hooks.
            name: default: the module's, the function's or the class's own name.

        Returns:
            The name it now has in ``plugins=[name]``.

        Raises:
            DuplicateName: something else has its name, or a name it provides.
            PluginError: it breaks the contract.
        """
        name = _name_of(plugin) if name is None else name
        added = _in_process_plugin(plugin, name)
        added.load()
        with self._lock:
            replaced = self._in_process.get(name)
            if replaced and _origin(replaced[0]) != _origin(plugin):
                raise DuplicateName(
                    f"the plugin name {name!r} belongs to {replaced[0]!r}; pass another name="
                )
            others = [known for known in self._known() if not replaced or known is not replaced[1]]
            for kind, provided in added.specs:
                owner = next((str(other) for other in others if (kind, provided) in other.specs), "")
                if any(kind == each.name and provided in each.built_in for each in KINDS):
                    owner = "fetchline itself"
                if owner:
                    raise DuplicateName(f"{kind} {provided!r} of {added} is provided by {owner} already")
            self._in_process[name] = (plugin, added)
        return name

    def unregister(self, plugin: object) -> None:
        """Take away a plugin that was registered, given by itself or by its name.

        Raises:
            UnknownName: it is not registered.
        """
        with self._lock:
            for name, (known, _) in self._in_process.items():
                if plugin is known or plugin == name:
                    del self._in_process[name]
                    return
            raise UnknownName("in-process plugin", str(plugin), self._in_process)

    # -- finding and loading -------------------------------------------------------------------------------

    def _known(self) -> list[Plugin]:
        return [*(plugin for _, plugin in self._in_process.values()), *self._installed.seen()]

    def _load_built_in(self, module: str, *, strict: bool = True) -> Plugin:
        if module not in self._built_in:
            source = functools.partial(importlib.import_module, f"fetchline.builtin.{module}")
            self._built_in[module] = Plugin(
                module, source, provider="fetchline", version=_own_version(), active="built-in"
            )
        plugin = self._built_in[module]
        try:
            plugin.load()
        except PluginError:
            if strict:
                raise
        return plugin

    def _hint(self, kind: str, name: str) -> str:
        top = name.partition(".")[0]
        for plugin in self._installed.seen():
            if covers(plugin.name, name):
                return f"The {plugin} is installed, but provides no {kind} of that name."
        if top in FIRST_PARTY:
            return f"Try: pip install fetchline-{top}"
        near = get_close_matches(top, [plugin.name for plugin in self._installed.seen()], n=1)
        if near:
            return f"Did you mean {near[0]!r}, a plugin that is installed?"
        return f"Perhaps a plugin named fetchline-{top} may provide it." if top.isidentifier() else ""


def _offers(plugins: list[Plugin], kind: Kind[S], name: str, by_scheme: bool) -> list[tuple[Plugin, S]]:
    specs = [
        (plugin, spec) for plugin in plugins for spec in plugin.specs.values() if isinstance(spec, kind.spec)
    ]
    if by_scheme:
        return [(plugin, spec) for plugin, spec in specs if name in getattr(spec, "schemes", ())]
    return [(plugin, spec) for plugin, spec in specs if name == spec.name]


def _in_process_plugin(plugin: object, name: str) -> Plugin:
    return Plugin(name, lambda: plugin, provider="in-process")


def _name_of(plugin: object) -> str:
    name = getattr(plugin, "__name__", None)
    return name if isinstance(name, str) else type(plugin).__name__


def _origin(plugin: object) -> tuple[str, str]:
    named = plugin if hasattr(plugin, "__name__") else type(plugin)
    return getattr(named, "__module__", ""), getattr(named, "__qualname__", _name_of(named))


@functools.cache
def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fetchline")
    except PackageNotFoundError:  # running from a source tree
        return ""
