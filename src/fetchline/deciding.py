"""What a run is, before its items: the fetcher, its session, the executor, and every option's value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fetchline.binding import bind_session
from fetchline.catalog import catalog
from fetchline.config import BatchConfig, resolve
from fetchline.executors import Crew, choose
from fetchline.fetchers import Fetcher
from fetchline.interfaces import SessionSpec, Use
from fetchline.registry import Registry, default
from fetchline.retry import Try
from fetchline.worker.sessions import SessionUse

__all__ = ["Decided", "decide", "find", "registry_of", "session_use"]


def find(fetcher: Any, registry: Any = None) -> Fetcher[Any, Any, Any]:
    """Get the fetcher meant by a fetcher, a name or a plain function."""
    if registry is not None and not isinstance(registry, Registry):
        raise TypeError(f"registry must be a fetchline.Registry, not {registry!r}")
    if isinstance(fetcher, Fetcher):
        return fetcher
    if isinstance(fetcher, str):
        found: Fetcher[Any, Any, Any] = (registry if registry is not None else default)[fetcher]
        return found
    if callable(fetcher):
        return Fetcher.of(fetcher)
    raise TypeError(f"a fetcher, its name or a function is wanted, not {fetcher!r}")


def registry_of(options: Mapping[str, Any], config: BatchConfig | None) -> Any:
    said = options.get("registry")
    return said if said is not None else getattr(config, "registry", None)


def session_use(fetcher: Fetcher[Any, Any, Any]) -> SessionUse | None:
    """Resolve what the fetcher declared as ``session=``; refuses what could be opened for no item."""
    session, parameter = fetcher.policies.session, fetcher.session_parameter
    if session is None:
        if parameter is not None:
            raise TypeError(
                f"{fetcher.name!r} wants a session in {parameter!r}, but declares none: @fetcher(session=...)"
            )
        return None
    named = Use(session) if isinstance(session, str) else session
    options: dict[str, Any] = {}
    if isinstance(named, Use):
        session, options = catalog().session(named.name), dict(named.options)
    if not isinstance(session, SessionSpec):
        name = getattr(session, "__qualname__", None) or type(session).__name__
        session = SessionSpec(name=name, factory=session)
    if session.login is not None:
        session = replace(session, login=Try.of(session.login))
    bind_session(fetcher, session, options)
    return SessionUse.of(session, options, parameter)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a run is, before its items: nothing of it has been started."""

    fetcher: Fetcher[Any, Any, Any]
    config: BatchConfig
    use: SessionUse | None
    crew: Crew

    @property
    def key(self) -> Callable[[Any], str] | None:
        return self.config.key if self.config.key is not None else self.fetcher.policies.key

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.config.params or {})


def decide(fetcher: Any, options: Mapping[str, Any], *, progress: Any) -> Decided:
    """Find the fetcher, its session and the executor, and every option's value.

    Raises:
        UnknownName, TypeError, ValueError: what ``run`` refuses before it looks at the items.
    """
    options = dict(options)
    config = options.pop("config", None)
    found = find(fetcher, registry_of(options, config))
    chosen = resolve(options, config, {"progress": progress, "on_error": "collect"})
    use = session_use(found)
    crew = choose(
        chosen.executor,
        asynchronous=found.is_async,
        workers=chosen.workers,
        concurrency=chosen.concurrency,
        session=None if use is None else use.spec,
    )
    return Decided(found, chosen, use, crew)
