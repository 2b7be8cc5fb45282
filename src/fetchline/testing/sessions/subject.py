"""A session under test: what its author says of it, and its spec, watched."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import fetchline as fl
from fetchline.deciding import session_use
from fetchline.interfaces import SessionSpec
from fetchline.testing.evidence import Log
from fetchline.testing.watched import Watched

__all__ = ["Hooks", "Subject", "settled"]


class Hooks:
    """What a suite is told by its author; see ``SessionSuite``."""

    errors: Sequence[BaseException] = ()
    executors: Sequence[str] = ("serial", "thread", "process")
    patience_s: float = 5.0

    def check(self, session: Any) -> Any:
        """Use an open session in some cheap way; raise if it cannot be used."""

    def expire(self, session: Any) -> Any:
        """Make the login of an open session invalid, so that ``check`` raises from now on."""

    def logins(self) -> int | None:
        """How many logins the other side has seen so far."""

    def logouts(self) -> int | None:
        """How many logouts the other side has seen so far."""


@dataclass(frozen=True)
class Subject:
    """A session under test.

    Attributes:
        spec: what its author declares.
        options: of ``fetchline.use``.
        log: where its openings and closings are noted.
    """

    spec: SessionSpec
    options: Mapping[str, Any]
    log: Log

    @classmethod
    def of(cls, session: Any, log: Log) -> Subject:
        """Resolve a session as ``@fetcher(session=...)`` does."""

        async def probe(item: Any) -> None: ...

        use = session_use(fl.Fetcher.of(probe, session=session))
        assert use is not None
        return cls(use.spec, use.options, log)

    @property
    def for_functions(self) -> bool:
        return self.spec.factory is not None and not _only_async(self.spec.factory)

    @property
    def for_coroutines(self) -> bool:
        factory = self.spec.async_factory or self.spec.factory
        return self.spec.async_factory is not None or _only_async(factory) or hasattr(factory, "__aenter__")

    def open(self) -> Any:
        """A session for functions, not yet entered."""
        assert self.spec.factory is not None
        return self.spec.factory(**self.options)

    def open_async(self) -> Any:
        """A session for coroutine functions, not yet entered."""
        factory = self.spec.async_factory or self.spec.factory
        assert factory is not None
        return factory(**self.options)

    def watched(self, **changes: Any) -> SessionSpec:
        """The same session, noted in ``log``."""

        def watch(factory: Callable[..., Any] | None) -> Any:
            return None if factory is None else Watched(partial(factory, **self.options), self.log)

        spec = self.spec
        return replace(spec, factory=watch(spec.factory), async_factory=watch(spec.async_factory), **changes)


def _only_async(factory: Any) -> bool:
    if isinstance(factory, type):
        return hasattr(factory, "__aenter__") and not hasattr(factory, "__enter__")
    return inspect.isasyncgenfunction(inspect.unwrap(factory))


async def settled(value: Any) -> Any:
    """The value, awaited where it is to be: a hook may use a session of either kind."""
    return await value if inspect.isawaitable(value) else value
