"""Doubles for the tests of fetchers: a session that answers from a script, a function that fails as told."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

import fetchline as fl

__all__ = ["FakeSession", "flaky"]


class FakeSession:
    """A session that gives prepared answers, whatever method it is asked by, and counts its logins.

    It is a context manager that gives itself, for one ``with`` after another or several at once. An answer
    that is an exception is raised. Entered by ``async with``, its methods are to be awaited. It belongs to this
    process: runs with it go to threads, the event loop or ``"serial"``.

    Args:
        answers: what to give, in order. Or one mapping from the first argument of a call, such as a path, to
            its answer; a list there is several answers in order, of which the last one is repeated. That is
            for runs, where nobody knows who asks first.

    Attributes:
        calls: every call so far: ``(method, args, kwargs)``.
        opened: times it was entered.
        closed: times it was left.

    Raises:
        AssertionError: it is asked for more, or for something else, than it was prepared for.

    >>> client = FakeSession("12.5", ConnectionError("reset"))
    >>> client.get("/quote/F", timeout=5)
    '12.5'
    >>> client.calls
    [('get', ('/quote/F',), {'timeout': 5})]
    >>> def price(symbol: str, *, session=fl.injected) -> float:
    ...     return float(session.get(symbol))
    >>> client = FakeSession({"A": "1", "B": [ConnectionError("reset"), "2"]})
    >>> fl.run(fl.Fetcher.of(price, session=lambda: client, retry=fl.Try(sleep=0)), ["A", "B"], progress=None).values
    [1.0, 2.0]
    >>> client.opened == client.closed > 0
    True
    """

    def __init__(self, *answers: Any) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.opened = 0
        self.closed = 0
        self._lock = threading.Lock()
        by_argument = len(answers) == 1 and isinstance(answers[0], Mapping)
        self._script: dict[Any, list[Any]] | None = (
            {key: list(said) if isinstance(said, list) else [said] for key, said in answers[0].items()}
            if by_argument
            else None
        )
        self._answers = [] if by_argument else list(answers)

    def __enter__(self) -> FakeSession:
        with self._lock:
            self.opened += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.closed += 1

    async def __aenter__(self) -> _Awaited:
        return _Awaited(self.__enter__())

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):  # what pickle, copy and notebooks look for
            raise AttributeError(method)

        def ask(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self.calls.append((method, args, kwargs))
                answer = self._next(method, args)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return ask

    def _next(self, method: str, args: tuple[Any, ...]) -> Any:
        asked = f"{method}({', '.join(map(repr, args))})"
        if self._script is None:
            if not self._answers:
                raise AssertionError(f"no answer is left for {asked}, call number {len(self.calls)}")
            return self._answers.pop(0)
        said = self._script.get(args[0]) if args else None
        if not said:
            raise AssertionError(f"no answer was prepared for {asked}, only for {list(self._script)}")
        return said.pop(0) if len(said) > 1 else said[0]

    def __reduce__(self) -> Any:
        raise TypeError("a FakeSession belongs to the process of the test: run on threads, asyncio or serial")

    def __repr__(self) -> str:
        return f"<FakeSession, {len(self.calls)} calls>"


class _Awaited:
    """The same answers, from methods that are awaited."""

    def __init__(self, fake: FakeSession) -> None:
        self._fake = fake

    def __getattr__(self, method: str) -> Callable[..., Any]:
        ask = getattr(self._fake, method)

        async def ask_async(*args: Any, **kwargs: Any) -> Any:
            return ask(*args, **kwargs)

        return ask_async


def flaky(
    function: Any = None,
    *,
    failures: int = 1,
    error: type[BaseException] | BaseException = ConnectionError,
) -> Any:
    """Make a function fail the first attempts of every item, and then do what it does.

    It goes by ``fetchline.attempt().number`` and holds no state: it works on every executor, in worker processes
    too, and for each item alone. Outside a fetcher every call is a first attempt.

    Args:
        function: a function, a coroutine function, or a fetcher; default: one that gives its item back.
        failures: attempts of each item that fail.
        error: raised by those: an exception type, or an exception.

    Returns:
        A function of the same signature; for a fetcher an unregistered one of the same name and policies.

    >>> @fl.fetcher("docs.lower", retry=fl.Try(retry=3, sleep=0))
    ... def lower(text: str) -> str:
    ...     return text.lower()
    >>> batch = fl.run(flaky(lower, failures=2), ["A", "B"], progress=None)
    >>> batch.values, batch[0].attempts
    (['a', 'b'], 3)
    """
    if isinstance(function, fl.Fetcher):
        failing = flaky(function.function, failures=failures, error=error)
        return fl.Fetcher(failing, function.name, function.policies)
    wrapped = _same if function is None else function

    def fail() -> None:
        number = fl.attempt().number
        if number <= failures:
            raise error(f"failure {number} of {failures}") if isinstance(error, type) else error

    if inspect.iscoroutinefunction(wrapped):

        @functools.wraps(wrapped)
        async def fail_async(*args: Any, **kwargs: Any) -> Any:
            fail()
            return await wrapped(*args, **kwargs)

        return fail_async

    @functools.wraps(wrapped)
    def fail_first(*args: Any, **kwargs: Any) -> Any:
        fail()
        return wrapped(*args, **kwargs)

    return fail_first


def _same(item: Any) -> Any:
    return item
