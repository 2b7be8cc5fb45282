"""Whether runs and direct calls wait between attempts; tests say no."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["no_waiting", "waits"]

F = TypeVar("F", bound=Callable[..., Any])

_lock = threading.Lock()
_depth = 0


def waits() -> bool:
    """Whether a run or call that starts now waits between its attempts."""
    return _depth == 0


class _NoWaiting:
    """What ``no_waiting`` gives; blocks of several threads may overlap."""

    def __enter__(self) -> None:
        global _depth
        with _lock:
            _depth += 1

    def __exit__(self, *_: object) -> None:
        global _depth
        with _lock:
            _depth -= 1

    def __call__(self, function: F) -> F:
        # A ContextDecorator would leave the block before a coroutine or a fixture's generator has begun.
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return call_async  # type: ignore[return-value]
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generate(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return (yield from function(*args, **kwargs))

            return generate  # type: ignore[return-value]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return call  # type: ignore[return-value]


def no_waiting() -> _NoWaiting:
    """Leave out every wait of the runs and calls that start inside: backoff, Retry-After, NotReady, pace.

    A context manager, and a decorator of functions, coroutine functions and generators. The attempts are the
    same, and there are as many: an item that is never ready is given up after as many attempts as ``patience``
    allows with its waits. Timeouts and deadlines hold, and so does a tenacity ``stop`` that counts seconds: it
    counts those that pass. It holds for every thread, and reaches worker processes.

    >>> import time
    >>> import fetchline as fl
    >>> @fl.Try(retry=4, sleep=30)
    ... def quote(symbol: str) -> int:
    ...     if fl.attempt().number < 4:
    ...         raise ConnectionError
    ...     return fl.attempt().number
    >>> began = time.monotonic()
    >>> with no_waiting():
    ...     quote("F"), fl.run(quote, ["F"], progress=None).values
    (4, [4])
    >>> time.monotonic() - began < 30
    True
    """
    return _NoWaiting()
