"""An HTTP session under test, behind one face whether its functions are coroutines or not."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import fetchline as fl
from fetchline.interfaces import SessionSpec
from fetchline.testing.sessions.subject import Subject, settled

__all__ = ["Answer", "Face", "HTTPHooks", "failed"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HTTPHooks:
    """What a suite is told by its author; see ``HTTPSuite``."""

    executors: Sequence[str] = ("thread", "process")
    patience_s: float = 5.0

    def fetch(self, session: Any, path: str, **how: Any) -> Any:
        """GET ``path`` with ``params=`` and ``headers=`` and read all of the answer; raise what the client raises.

        The one here is for clients whose ``get`` does that, with ``status_code`` (or ``status``), ``headers``
        and ``content`` (or ``await read()``) of what it gives.
        """
        reply = session.get(path, **how)
        return _read_later(reply) if inspect.isawaitable(reply) else _answer(reply, reply.content)


async def _read_later(pending: Any) -> Answer:
    reply = await pending
    return _answer(reply, await settled(reply.read()))


def _answer(reply: Any, body: bytes) -> Answer:
    status = reply.status_code if hasattr(reply, "status_code") else reply.status
    return Answer(status, {name.lower(): text for name, text in reply.headers.items()}, body)


@dataclass(frozen=True)
class Face:
    """The session under test, as functions (``sync``) or as coroutine functions use it.

    Attributes:
        subject: the session; its options are those of every test.
        fetch: the suite's.
        sync: whether functions use it.
    """

    subject: Subject
    fetch: Callable[..., Any]
    sync: bool

    def spec(self, options: Mapping[str, Any] | None = None, **changes: Any) -> SessionSpec:
        """The session's spec with these options, beside those of every test."""
        given = {**self.subject.options, **(options or {})}

        def bound(factory: Callable[..., Any] | None) -> Any:
            return None if factory is None else partial(factory, **given)

        spec = self.subject.spec
        return replace(spec, factory=bound(spec.factory), async_factory=bound(spec.async_factory), **changes)

    def open(self, options: Mapping[str, Any] | None = None) -> Any:
        """A session for functions or for coroutine functions, not yet entered."""
        spec = self.spec(options)
        factory = spec.factory if self.sync else spec.async_factory or spec.factory
        assert factory is not None
        return factory()

    def get(self, path: str, options: Mapping[str, Any] | None = None, **how: Any) -> Answer:
        """Open a session, fetch one thing, close it; raise what the client raises."""
        if self.sync:
            with self.open(options) as session:
                answer: Answer = self.fetch(session, path, **how)
                return answer

        async def main() -> Answer:
            async with self.open(options) as session:
                answer: Answer = await settled(self.fetch(session, path, **how))
                return answer

        return asyncio.run(main())

    def run(
        self,
        paths: Iterable[str],
        options: Mapping[str, Any] | None = None,
        *,
        spec: SessionSpec | None = None,
        policies: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> fl.Batch[Answer]:
        """Fetch every path by ``fetchline.run``; the policies are those of a fetcher."""
        session = self.spec(options) if spec is None else spec
        fetcher = fl.Fetcher.of(self.function, session=session, **(policies or {}))
        return fl.run(fetcher, paths, progress=None, **how)

    @property
    def function(self) -> Callable[..., Any]:
        """A fetch function of the kind under test, for paths."""
        fetch = self.fetch

        def sync(path: str, *, session: Any = fl.injected) -> Answer:
            answer: Answer = fetch(session, path)
            return answer

        async def coroutine(path: str, *, session: Any = fl.injected) -> Answer:
            answer: Answer = await settled(fetch(session, path))
            return answer

        return sync if self.sync else coroutine


def failed(batch: fl.Batch[Any]) -> fl.Failure:
    """The failure of the only item."""
    (result,) = batch
    assert isinstance(result, fl.Failure), result
    return result
