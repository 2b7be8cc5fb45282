"""One plugin, before and after its import, behind a pluggy manager of its own.

One manager for each plugin, not one for all: a call then names its plugin, an error stays with it, and
observers are told in the order in which a run names them.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from fetchline.errors import PluginError
from fetchline.interfaces import ExecutorSpec, ProgressSpec, SessionSpec, StoreSpec

__all__ = ["EXECUTOR", "KINDS", "PROGRESS", "SESSION", "STORE", "AnySpec", "Kind", "Plugin", "PluginInfo"]

_log = logging.getLogger("fetchline.plugins")

AnySpec: TypeAlias = ExecutorSpec | SessionSpec | ProgressSpec | StoreSpec
S = TypeVar("S", bound=AnySpec)


@dataclass(frozen=True, slots=True)
class Kind(Generic[S]):
    """A kind of backend: its word, its spec, the hook that provides it, the modules of its built-in names."""

    name: str
    spec: type[S]
    hook: str
    built_in: Mapping[str, str]


EXECUTOR = Kind(
    "executor",
    ExecutorSpec,
    "fetchline_register_executors",
    {"serial": "serial", "thread": "thread", "process": "process", "asyncio": "coroutines"},
)
SESSION = Kind("session", SessionSpec, "fetchline_register_sessions", {})
PROGRESS = Kind(
    "progress",
    ProgressSpec,
    "fetchline_register_progress",
    {"auto": "auto", "none": "auto", "tqdm": "tqdm", "log": "log", "jsonl": "jsonl"},
)
STORE = Kind(
    "store",
    StoreSpec,
    "fetchline_register_stores",
    {"directory": "directory", "memory": "memory"},
)
KINDS: tuple[Kind[Any], ...] = (EXECUTOR, SESSION, PROGRESS, STORE)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One line of ``fetchline plugins``.

    Attributes:
        name: what a user writes; for a plugin that is not loaded, its namespace.
        kind: ``executor``, ``session``, ``progress``, ``store``, ``observer``, ``middleware``, ``fetchers``;
            ``plugin`` while that is unknown.
        provider: the distribution, ``fetchline`` or ``in-process``.
        version: the distribution's version, or nothing.
        status: ``built-in``, ``installed``, ``loaded``, ``blocked`` or ``broken: <why>``.
        summary: one line about it.
    """

    name: str
    kind: str
    provider: str
    version: str
    status: str
    summary: str


def covers(namespace: str, name: str) -> bool:
    """Tell whether ``name`` lies in ``namespace``.

    >>> covers("wats", "wats"), covers("wats", "wats.daily"), covers("wats", "watson")
    (True, True, False)
    """
    return name == namespace or name.startswith(namespace + ".")


class Plugin:
    """A plugin: imported by its first ``load``, and asked then for everything it registers.

    It is not safe for several threads; the catalog's lock is round every call but the observers'.

    Args:
        name: its entry point's name, or the name it was registered under.
        source: gives the plugin object; imports it.
        provider: who to blame in messages.
        namespace: the only names it may register; None for any.
        resting: its status before it is loaded.
        active: its status after.
    """

    def __init__(
        self,
        name: str,
        source: Callable[[], object],
        *,
        provider: str,
        version: str = "",
        summary: str = "",
        namespace: str | None = None,
        resting: str = "installed",
        active: str = "loaded",
    ) -> None:
        self.name, self.provider, self.version, self.summary = name, provider, version, summary
        self.namespace = namespace
        self.blocked = resting == "blocked"
        self.specs: dict[tuple[str, str], AnySpec] = {}
        self.refused: dict[tuple[str, str], str] = {}
        self._source = source
        self._resting, self._active = resting, active
        self._hooks: Any = None
        self._fetchers: list[object] | None = None
        self._broken = ""
        self._cause: BaseException | None = None

    def __str__(self) -> str:
        title = f"{self.provider} {self.version}".rstrip()
        return f"plugin {self.name!r} of {title}"

    @property
    def status(self) -> str:
        if self._broken:
            return f"broken: {self._broken}"
        return self._resting if self._hooks is None else self._active

    def load(self) -> None:
        """Import the plugin and take what it registers, the first time; later calls repeat the outcome.

        Raises:
            PluginError: it is blocked, does not import, or breaks the contract.
        """
        if self.blocked:
            raise PluginError(f"{self} is blocked; take it out of FETCHLINE_BLOCK to use it")
        if self._hooks is None and not self._broken:
            try:
                self._hooks = self._open(self._source())
            except (Exception, SystemExit) as error:  # a stranger's module may raise anything
                self._broken, self._cause = f"{type(error).__name__}: {error}", error
                self.specs.clear()
                self.refused.clear()
                _log.warning("%s is broken: %s", self, self._broken)
        if self._broken:
            raise PluginError(f"{self} is broken: {self._broken}") from self._cause

    def _open(self, plugin: object) -> Any:
        import pluggy

        from fetchline import hookspecs

        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin, self.name)
        manager.check_pending()
        for caller in manager.get_hookcallers(plugin) or ():
            if any(inspect.iscoroutinefunction(impl.function) for impl in caller.get_hookimpls()):
                raise TypeError(f"{caller.name} is a coroutine function; hooks are plain functions")
        for kind in KINDS:
            for spec in _each(kind.hook, getattr(manager.hook, kind.hook)()):
                self._accept(kind, spec)
        return manager.hook

    def _accept(self, kind: Kind[Any], spec: Any) -> None:
        if not isinstance(spec, kind.spec):
            raise TypeError(f"{kind.hook} gave {spec!r}, which is no {kind.spec.__name__}")
        if (kind.name, spec.name) in self.specs:
            raise ValueError(f"{kind.hook} gave {spec.name!r} twice")
        outside = [name for name in (spec.name, *getattr(spec, "schemes", ())) if not self._may_take(name)]
        if outside:
            why = (
                f"{kind.name} {outside[0]!r} of {self} is refused: "
                f"it may register {self.namespace!r} and '{self.namespace}.*' only"
            )
            self.refused[kind.name, spec.name] = why
            _log.warning("%s", why)
        else:
            self.specs[kind.name, spec.name] = spec

    def _may_take(self, name: str) -> bool:
        return self.namespace is None or covers(self.namespace, name)

    def implements(self, hook: str) -> bool:
        return bool(getattr(self._hooks, hook).get_hookimpls())

    def hook(self, name: str) -> Callable[..., list[Any]]:
        """The plugin's own hook; one answer a call, or none where it does not implement it."""
        caller: Callable[..., list[Any]] = getattr(self._hooks, name)
        return caller

    def ask(self, hook: str, **facts: Any) -> list[Any]:
        """What the hook provides, in one list.

        Raises:
            PluginError: the hook raised, or gave something that is no sequence.
        """
        self.load()
        try:
            return _each(hook, self.hook(hook)(**facts))
        except Exception as error:
            raise PluginError(f"{self} failed in {hook}: {type(error).__name__}: {error}") from error

    def fetchers(self) -> list[object]:
        if self._fetchers is None:
            self._fetchers = self.ask("fetchline_register_fetchers")
        return self._fetchers

    def infos(self) -> list[PluginInfo]:
        """Describe it without importing it: a line for each thing it provides, as far as that is known."""

        def info(name: str, kind: str, summary: str, status: str = self.status) -> PluginInfo:
            return PluginInfo(name, kind, self.provider, self.version, status, summary)

        found = [info(name, kind, spec.summary) for (kind, name), spec in self.specs.items()]
        found += [info(name, kind, "", f"broken: {why}") for (kind, name), why in self.refused.items()]
        if self._hooks is not None:
            found += [info(self.name, kind, self.summary) for kind in _ROLES if self._plays(kind)]
        return found or [info(self.name, "plugin", self.summary)]

    def _plays(self, role: str) -> bool:
        return any(self.implements(hook) for hook in _ROLES[role])


_ROLES: Mapping[str, tuple[str, ...]] = {
    "fetchers": ("fetchline_register_fetchers",),
    "middleware": ("fetchline_worker_middleware",),
    "observer": (
        "fetchline_run_started",
        "fetchline_attempt_finished",
        "fetchline_item_finished",
        "fetchline_run_finished",
    ),
}


def _each(hook: str, answers: list[Any]) -> list[Any]:
    for answer in answers:
        if not isinstance(answer, Iterable) or isinstance(answer, str | bytes):
            raise TypeError(f"{hook} gave {answer!r}, which is no sequence")
    return [each for answer in answers for each in answer]
