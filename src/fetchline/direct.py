"""Plain calls of a fetcher: one item, here and now, with session, retries, timeout and pace.

A call returns what the function returned and raises what it raised, with its own traceback. Runs, stores,
progress and hooks take no part.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakKeyDictionary

from fetchline.core.limits import StartGate
from fetchline.core.slots import Troubles
from fetchline.drive.named import NamedPace
from fetchline.errors import AttemptTimeout
from fetchline.fetchers import Fetcher
from fetchline.interfaces import Worker
from fetchline.items import Args
from fetchline.verdict import Judge
from fetchline.waiting import waits
from fetchline.worker.answers import Shape
from fetchline.worker.attempt import Program, open_async, open_sync
from fetchline.worker.context import Cell, current
from fetchline.worker.loop_sessions import LoopSessions

__all__ = ["aopen", "call", "call_bare", "open_"]

_LEAVE_S = 5.0  # a logout that hangs is not waited for


def call(fetcher: Fetcher[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a fetcher that has more policies than a retry; a coroutine of an async one."""
    if fetcher.is_async:
        return _call_async(fetcher, args, kwargs)
    with open_(fetcher, session=fetcher.session_parameter not in kwargs) as direct:
        return direct(*args, **kwargs)


def call_bare(
    fetcher: Fetcher[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any], failed: Exception | None
) -> Any:
    """Call a plain function with nothing but a retry; ``failed`` is what its first attempt raised already."""
    tried = _Tried(_program(fetcher), args, kwargs)
    token = current.set(tried.cell)
    try:
        while True:
            if failed is not None:
                _sleep(tried.failed(failed))
            try:
                if tried.program.timeout_of(tried) is None:
                    return fetcher.function(*args, **kwargs)
                with _Aside(tried.program) as bench:
                    return bench.attempt(tried)
            except Exception as error:
                failed = error
    finally:
        current.reset(token)


def _sleep(pause: float) -> None:
    if pause > 0:
        time.sleep(pause)


class _Tried:
    """One item's attempts so far; what the worker is told of it, like a schedule's slot."""

    def __init__(self, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.index = 0
        self.item = Args(*args, **kwargs)
        self.program = program
        self.cell = Cell(program)
        self.cell.call = self
        self.troubles: Troubles | None = None
        self.began = time.monotonic()

    @property
    def number(self) -> int:
        return 1 if self.troubles is None else self.troubles.attempts + 1

    def failed(self, error: Exception) -> float:
        """Seconds to wait before the next attempt; raises the error if there is none."""
        verdict = self.program.verdict(error, self)
        now = time.monotonic()
        troubles = self.troubles
        if troubles is None:
            troubles = self.troubles = Troubles()
            troubles.first = self.began
        troubles.attempts += 1
        limit = self.program.judge.policy.limit
        match verdict.kind:
            case "retry":
                troubles.held_since = None
                troubles.charged += 1
                again = troubles.charged < limit
            case "expired" | "throttled" | "not_ready":
                if verdict.kind == "not_ready":
                    troubles.memo, troubles.timeout = verdict.memo, verdict.timeout
                again = troubles.has_patience(verdict, now, self.program.judge.patience)
            case _:
                again = False
        if not again:
            raise error
        self.began = now + verdict.delay
        return verdict.delay


def _program(fetcher: Fetcher[Any, Any, Any], *, session: bool = True) -> Program:
    from fetchline.deciding import session_use

    use = session_use(fetcher) if session and fetcher.policies.session is not None else None
    policies = fetcher.policies
    return Program(
        function=fetcher.function,
        name=fetcher.name,
        judge=Judge(policies.retry, use.spec if use else None, policies.idempotent, policies.patience),
        version=policies.version,
        session=use,
        timeout=policies.timeout,
        key=_no_key,
        collects=False,
        shape=_shape(fetcher),
    )


def _shape(fetcher: Fetcher[Any, Any, Any]) -> Shape | None:
    """A call has the right rows too; a frame stays as the function made it."""
    policies = fetcher.policies
    if policies.bulk is not None or (policies.check is None and policies.key_column is None):
        return None
    return Shape(check=policies.check, key_column=policies.key_column)


def _no_key(item: Any) -> str:
    return ""


# -- sync --------------------------------------------------------------------------------------------------


@contextmanager
def open_(fetcher: Fetcher[Any, Any, Any], *, session: bool = True) -> Iterator[Callable[..., Any]]:
    """Keep one session open over direct calls of a sync fetcher."""
    program = _program(fetcher, session=session)
    with ExitStack() as stack:
        bench: _Here | _Aside = stack.enter_context(_Here(program))

        def direct(*args: Any, **kwargs: Any) -> Any:
            nonlocal bench
            tried = _Tried(program, args, kwargs)
            while True:
                if isinstance(bench, _Here) and program.timeout_of(tried) is not None:
                    stack.close()
                    bench = stack.enter_context(_Aside(program))
                _keep_pace(fetcher)
                try:
                    return bench.attempt(tried)
                except Exception as error:
                    _sleep(tried.failed(error))

        yield direct


class _Here:
    """Attempts on the caller's own thread."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._stack = ExitStack()
        self._make: Callable[[Any], Any] | None = None

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def attempt(self, tried: _Tried) -> Any:
        token = current.set(tried.cell)
        try:
            if self._make is None:
                worker = self._stack.enter_context(Worker())
                self._make = open_sync(self._program, worker, self._stack)
                current.set(tried.cell)
            tried.began = time.monotonic()
            return self._make(tried)
        finally:
            current.reset(token)


class _Aside:
    """Attempts on a thread that can be given up: a timeout needs one."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._here: _Here | None = None
        self._context = copy_context()
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> _Aside:
        return self

    def __exit__(self, *_: object) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._tasks.put(None)
            thread.join(_LEAVE_S)

    def attempt(self, tried: _Tried) -> Any:
        if self._thread is None:
            self._tasks = SimpleQueue()
            self._here = _Here(self._program)
            self._context = copy_context()  # one for all its attempts: a session may set variables of it
            self._thread = threading.Thread(
                target=_work_aside, args=(self._tasks, self._here), name="fetchline-direct", daemon=True
            )
            self._thread.start()
        answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        here, context = self._here, self._context
        assert here is not None
        tried.began = time.monotonic()

        def task() -> None:
            try:
                answers.put((context.run(here.attempt, tried), None))
            except BaseException as error:  # raised again by the caller
                answers.put((None, error))

        self._tasks.put(task)
        timeout = self._program.timeout_of(tried)
        # A session that opens moves ``began``: a login is not part of the attempt.
        while timeout is None or (left := _left(tried, timeout)) > 0:
            try:
                value, error = answers.get(timeout=None if timeout is None else left)
            except Empty:
                continue
            if error is not None:
                raise error
            return value
        self._tasks.put(None)
        self._thread = None
        raise AttemptTimeout(f"the call took longer than its timeout of {timeout:g} s")


def _left(tried: _Tried, timeout: float) -> float:
    now = time.monotonic()
    return min(tried.began, now) + timeout - now


def _work_aside(tasks: SimpleQueue[Callable[[], None] | None], here: _Here) -> None:
    with here:
        while (task := tasks.get()) is not None:
            task()
            del task


# -- async -------------------------------------------------------------------------------------------------


async def _call_async(fetcher: Fetcher[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    async with aopen(fetcher, session=fetcher.session_parameter not in kwargs) as direct:
        return await direct(*args, **kwargs)


@asynccontextmanager
async def aopen(
    fetcher: Fetcher[Any, Any, Any], *, session: bool = True
) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Keep one session open over direct calls of an async fetcher."""
    sessions = LoopSessions()
    program = _program(fetcher, session=session)
    make = open_async(program, sessions)
    try:
        yield lambda *args, **kwargs: _aattempts(fetcher, program, make, args, kwargs)
    finally:
        await sessions.close()


async def _aattempts(
    fetcher: Fetcher[Any, Any, Any],
    program: Program,
    make: Callable[[Any], Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    tried = _Tried(program, args, kwargs)
    while True:
        await _keep_pace_on_loop(fetcher)
        token = current.set(tried.cell)
        tried.began = time.monotonic()
        try:
            timeout = program.timeout_of(tried)
            return await (make(tried) if timeout is None else _within(timeout, make, tried))
        except Exception as error:
            pause = tried.failed(error)
        finally:
            current.reset(token)
        if pause > 0:
            await asyncio.sleep(pause)


async def _within(timeout: float, make: Callable[[Any], Awaitable[Any]], tried: _Tried) -> Any:
    task = asyncio.ensure_future(make(tried))
    try:
        # A session that opens moves ``began``: a login is not part of the attempt.
        while (left := _left(tried, timeout)) > 0:
            if (await asyncio.wait([task], timeout=left))[0]:
                return task.result()
    except asyncio.CancelledError:
        task.cancel()
        raise
    task.cancel()
    await asyncio.wait([task], timeout=1.0)
    raise AttemptTimeout(f"the call took longer than its timeout of {timeout:g} s")


# -- pace --------------------------------------------------------------------------------------------------


class _Metronome:
    """The pace of one fetcher's direct calls in this process."""

    def __init__(self, windows: tuple[tuple[int, float], ...]) -> None:
        self._lock = threading.Lock()
        self._gate = StartGate(windows)

    def take(self) -> float:
        """Take a start, if one is due: 0; else the seconds until there may be one."""
        with self._lock:
            now = time.monotonic()
            due = self._gate.due(now)
            if due <= now:
                self._gate.started(now)
            return due - now


_metronomes: WeakKeyDictionary[Fetcher[Any, Any, Any], _Metronome | NamedPace] = WeakKeyDictionary()
_metronomes_lock = threading.Lock()


def _metronome(fetcher: Fetcher[Any, Any, Any]) -> _Metronome | NamedPace | None:
    pace = fetcher.policies.pace
    if pace is None or not pace.windows or not waits():
        return None
    with _metronomes_lock:
        metronome = _metronomes.get(fetcher)
        if metronome is None:
            metronome = NamedPace(pace) if pace.name is not None else _Metronome(pace.windows)
            _metronomes[fetcher] = metronome
    return metronome


def _keep_pace(fetcher: Fetcher[Any, Any, Any]) -> None:
    metronome = _metronome(fetcher)
    if metronome is not None:
        while (wait := metronome.take()) > 0:
            time.sleep(wait)


async def _keep_pace_on_loop(fetcher: Fetcher[Any, Any, Any]) -> None:
    metronome = _metronome(fetcher)
    if metronome is not None:
        # A named one may have to wait for other processes.
        while (wait := await asyncio.to_thread(metronome.take)) > 0:
            await asyncio.sleep(wait)
