"""Plain calls of a fetcher: one item, here and now, with session, retries, timeout and pace.

A call raises what the function raised, with its own traceback. Stores, progress and hooks take no part.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from fetchline.core.limits import StartGate
from fetchline.core.slots import Troubles
from fetchline.errors import AttemptTimeout
from fetchline.fetchers import Fetcher
from fetchline.interfaces import Worker
from fetchline.items import Args
from fetchline.results import Failure
from fetchline.verdict import Judge
from fetchline.worker.attempt import Cell, Program, current, open_async, open_sync
from fetchline.worker.sessions import LoopSessions

__all__ = ["aopen", "call", "call_again", "open_"]

_PATIENCE_S = 300.0


def call(fetcher: Fetcher[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a fetcher that has more policies than a retry; a coroutine of an async one."""
    if fetcher.is_async:
        return _call_async(fetcher, args, kwargs)
    with open_(fetcher) as direct:
        return direct(*args, **kwargs)


def call_again(
    fetcher: Fetcher[Any, Any, Any], error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Go on after the first attempt of a plain function failed."""
    tried = _Tried(fetcher, args, kwargs)
    while True:
        tried.wait(tried.failed(error))
        token = current.set(tried.cell)
        try:
            return fetcher.function(*args, **kwargs)
        except Exception as again:
            error = again
        finally:
            current.reset(token)


class _Tried:
    """One item's attempts so far; what the worker is told of it, like a schedule's slot."""

    def __init__(
        self, fetcher: Fetcher[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.index = 0
        self.item = Args(*args, **kwargs)
        self.program = _program(fetcher)
        self.cell = Cell(self.program)
        self.cell.call = self
        self.limit = fetcher.policies.retry.limit
        self.troubles: Troubles | None = None
        self.first = self.began = time.monotonic()

    @property
    def number(self) -> int:
        return 1 if self.troubles is None else self.troubles.attempts + 1

    def failed(self, error: Exception) -> float:
        """Seconds to wait before the next attempt; raises the error if there is none."""
        verdict = self.program.verdict(error, self)
        troubles = self.troubles = self.troubles or Troubles()
        troubles.attempts += 1
        match verdict.kind:
            case "retry":
                troubles.charged += 1
                again = troubles.charged < self.limit
            case "expired":
                troubles.logins += 1
                troubles.charged += troubles.logins > 1
                again = troubles.charged < self.limit
            case "throttled" | "not_ready":
                troubles.memo = verdict.memo
                now = time.monotonic()
                if troubles.held_since is None:
                    troubles.held_since = now
                again = now + verdict.delay - troubles.held_since <= _PATIENCE_S
            case _:
                again = False
        if not again:
            raise error
        return verdict.delay

    def wait(self, pause: float) -> None:
        if pause > 0:
            time.sleep(pause)


def _program(fetcher: Fetcher[Any, Any, Any]) -> Program:
    from fetchline.runner import session_use

    use, policies = session_use(fetcher), fetcher.policies
    return Program(
        function=fetcher.function,
        judge=Judge(policies.retry, use.spec if use else None, policies.idempotent),
        session=use,
        timeout=policies.timeout,
        key=_no_key,
    )


def _no_key(item: Any) -> str:
    return ""


@contextmanager
def open_(fetcher: Fetcher[Any, Any, Any]) -> Iterator[Callable[..., Any]]:
    """Keep one session open over direct calls of a sync fetcher."""
    with ExitStack() as stack:
        if fetcher.policies.timeout is None:
            worker = stack.enter_context(Worker(lambda: None))
            token = current.set(current.get(None))  # type: ignore[arg-type]  # put back afterwards
            stack.callback(current.reset, token)
            make = open_sync(_program(fetcher), worker, stack)
            yield lambda *args, **kwargs: _attempts(fetcher, make, args, kwargs)
        else:
            # A timeout needs a thread that can be given up.
            from fetchline.executors import get_executor

            pool = get_executor("thread", max_workers=1)
            try:
                yield lambda *args, **kwargs: _run_one(fetcher, pool, args, kwargs)
            finally:
                pool.shutdown(wait=False)


def _attempts(
    fetcher: Fetcher[Any, Any, Any],
    make: Callable[[Any], Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    tried = _Tried(fetcher, args, kwargs)
    while True:
        tried.wait(_pause(fetcher))
        try:
            return make(tried)
        except Exception as error:  # judged, and raised if it is final
            tried.wait(tried.failed(error))


def _run_one(
    fetcher: Fetcher[Any, Any, Any], pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    from fetchline.runner import run

    time.sleep(_pause(fetcher))
    items = [Args(*args, **kwargs)]
    result = run(fetcher.replace(pace=None), items, executor=pool, key=_no_key, progress=None)[0]
    if isinstance(result, Failure):
        raise result.error
    return result.value


async def _call_async(fetcher: Fetcher[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    async with aopen(fetcher) as direct:
        return await direct(*args, **kwargs)


@asynccontextmanager
async def aopen(fetcher: Fetcher[Any, Any, Any]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Keep one session open over direct calls of an async fetcher."""
    sessions = LoopSessions()
    make = open_async(_program(fetcher), sessions)
    try:
        yield lambda *args, **kwargs: _aattempts(fetcher, make, args, kwargs)
    finally:
        await sessions.close()


async def _aattempts(
    fetcher: Fetcher[Any, Any, Any],
    make: Callable[[Any], Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    tried = _Tried(fetcher, args, kwargs)
    timeout = fetcher.policies.timeout
    while True:
        await asyncio.sleep(_pause(fetcher))
        token = current.set(tried.cell)
        try:
            if timeout is None:
                return await make(tried)
            return await _within(timeout, make(tried))
        except Exception as error:  # judged, and raised if it is final
            pause = tried.failed(error)
        finally:
            current.reset(token)
        if pause > 0:
            await asyncio.sleep(pause)


async def _within(timeout: float, attempt: Awaitable[Any]) -> Any:
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await attempt
    except TimeoutError as error:
        if limit.expired():
            raise AttemptTimeout(f"the call took longer than its timeout of {timeout:g} s") from error
        raise


class _Metronome:
    """The pace of one fetcher's direct calls in this process."""

    def __init__(self, windows: tuple[tuple[int, float], ...]) -> None:
        self._lock = threading.Lock()
        self._gate = StartGate(windows)

    def pause(self) -> float:
        """Reserve the next start; seconds until it."""
        with self._lock:
            now = time.monotonic()
            due = self._gate.due(now)
            self._gate.started(due)
            return due - now


_metronomes: WeakKeyDictionary[Fetcher[Any, Any, Any], _Metronome] = WeakKeyDictionary()
_metronomes_lock = threading.Lock()


def _pause(fetcher: Fetcher[Any, Any, Any]) -> float:
    pace = fetcher.policies.pace
    if pace is None:
        return 0.0
    with _metronomes_lock:
        metronome = _metronomes.get(fetcher)
        if metronome is None:
            metronome = _metronomes[fetcher] = _Metronome(pace.windows)
    return metronome.pause()
