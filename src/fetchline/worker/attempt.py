"""One attempt: call the function for one item, with its session and middleware, and settle its value.

``Program`` is what a worker needs to know, once; it pickles. ``open_sync`` and ``open_async`` turn it into the
function that makes attempts, with everything that does not change from item to item decided beforehand: the
common case costs a call, not a tower of them.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from fetchline.interfaces import Verdict, Worker
from fetchline.items import Args, key_of
from fetchline.verdict import Judge
from fetchline.worker.sessions import OPENING, LoopSessions, SessionUse, ThreadSessions

__all__ = [
    "Attempt",
    "Call",
    "Cell",
    "Program",
    "attempt",
    "current",
    "make_portable",
    "open_async",
    "open_sync",
]


class Call(Protocol):
    """What the worker is told of the item in hand; the schedule's slot is one."""

    index: int
    item: Any
    began: float
    troubles: Any

    @property
    def number(self) -> int: ...


class Cell:
    """Where ``attempt()`` looks: one for each worker, in its context, pointed at the item in hand."""

    __slots__ = ("call", "program")

    def __init__(self, program: Program) -> None:
        self.program = program
        self.call: Any = None


current: ContextVar[Cell] = ContextVar("fetchline_attempt")


@dataclass(frozen=True, slots=True)
class Attempt:
    """The attempt in hand, as the fetch function sees it.

    Attributes:
        key: the item's key; empty in a direct call.
        number: 1 for the first attempt of the item.
        memo: what the last ``NotReady(memo=...)`` of this item left, else None.
        deadline: the time on ``time.monotonic``'s clock at which the attempt is given up, or None.
        logger: a logger that names the key.
    """

    key: str = ""
    number: int = 1
    memo: Any = None
    deadline: float | None = None
    logger: logging.LoggerAdapter[logging.Logger] = field(
        default_factory=lambda: logging.LoggerAdapter(logging.getLogger("fetchline.attempt"), {})
    )


def attempt() -> Attempt:
    """Tell a fetch function about the attempt it is making.

    >>> attempt().number
    1
    """
    cell = current.get(None)
    if cell is None or cell.call is None:
        return Attempt()
    call, program = cell.call, cell.program
    key = program.key_of(call.item)
    troubles = call.troubles
    return Attempt(
        key=key,
        number=call.number,
        memo=None if troubles is None else troubles.memo,
        deadline=None if program.timeout is None else call.began + program.timeout,
        logger=logging.LoggerAdapter(
            logging.getLogger("fetchline.attempt"), {"key": key, "number": call.number}
        ),
    )


@dataclass(slots=True)
class Program:
    """What a worker needs once: the function and its policies. Pickles (with cloudpickle).

    ``reference`` is the fetcher: it pickles by name where its module can be imported.
    """

    function: Callable[..., Any]
    judge: Judge
    reference: Any = None
    name: str = "fetch"
    params: Mapping[str, Any] = field(default_factory=dict)
    session: SessionUse | None = None
    middleware: tuple[Callable[[], Any], ...] = ()
    timeout: float | None = None
    key: Callable[[Any], str] | None = None

    @property
    def asynchronous(self) -> bool:
        return is_async(self.function)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self.__slots__}
        if self.reference is not None:
            state["function"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        if self.reference is not None:
            self.function = self.reference.function

    def key_of(self, item: Any) -> str:
        return key_of(item) if self.key is None else self.key(item)

    def verdict(self, error: BaseException, call: Call) -> Verdict:
        """Judge the live exception of one attempt; a judge that raises makes the error permanent."""
        charged = 0 if call.troubles is None else call.troubles.charged
        try:
            return self.judge(
                error, failed=charged + 1, attempt=call.number, elapsed=time.monotonic() - call.began
            )
        except Exception as bug:
            error.add_note(f"judging this error raised {bug!r}")
            return Verdict("permanent", "error")


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object with an async __call__ is meant
    )


def _caller(program: Program) -> Callable[..., Any]:
    """Bind the params: ``call(item, extra)``, where ``extra`` are further keyword arguments."""
    function, params = program.function, dict(program.params)

    def call(item: Any, extra: Mapping[str, Any]) -> Any:
        if item.__class__ is Args:
            return function(*item.args, **{**params, **item.kwargs, **extra})
        return function(item, **params, **extra)

    return call


_PLAIN: set[type] = {type(None), bool, int, float, str, bytes, dict, list, tuple}


def settle(value: Any) -> Any:
    """Finish a value where it was made: a lazy frame is collected in the worker."""
    kind = value.__class__
    if kind in _PLAIN:
        return value
    if kind.__name__ == "LazyFrame" and kind.__module__.startswith("polars"):
        return value.collect()
    if inspect.iscoroutine(value) or inspect.isasyncgen(value):
        raise TypeError(
            f"the function returned a {kind.__name__}; declare it with `async def` to have it awaited"
        )
    _PLAIN.add(kind)
    return value


def open_sync(program: Program, worker: Worker, run: ExitStack) -> Callable[[Any], Any]:
    """Get a function that makes one attempt on this thread.

    Args:
        worker: keeps the sessions.
        run: closed at the end of the run, before the worker.
    """
    cell = Cell(program)
    current.set(cell)
    function, params, use = program.function, program.params, program.session
    if program.asynchronous:
        return _open_on_private_loop(program, worker, run, cell)
    if use is None and not program.middleware:
        if not params:

            def make(call: Any) -> Any:
                cell.call = call
                item = call.item
                if item.__class__ is Args:
                    return settle(function(*item.args, **item.kwargs))
                value = function(item)
                return value if value.__class__ in _PLAIN else settle(value)

            return make
        bound = _caller(program)

        def make_bound(call: Any) -> Any:
            cell.call = call
            return settle(bound(call.item, {}))

        return make_bound
    bound = _caller(program)
    sessions = None if use is None else ThreadSessions(use, worker)
    surround = _surround(program)

    def make_full(call: Any) -> Any:
        cell.call = call
        if sessions is None:
            with surround():
                return settle(bound(call.item, {}))
        assert use is not None
        with sessions.session(call) as session, surround():
            extra = {} if use.parameter is None else {use.parameter: session}
            try:
                return settle(bound(call.item, extra))
            except Exception as error:
                if _is_expired(use, error):
                    sessions.renew()
                raise

    return make_full


def _open_on_private_loop(
    program: Program, worker: Worker, run: ExitStack, cell: Cell
) -> Callable[[Any], Any]:
    """Make attempts of an async function on a worker that is no event loop: a loop of its own."""
    runner: asyncio.Runner | None = worker.kept.get(asyncio.Runner)
    if runner is None:
        runner = worker.kept[asyncio.Runner] = worker.enter_context(asyncio.Runner())
        sessions = worker.kept[LoopSessions] = LoopSessions()
        opened = runner
        worker.callback(lambda: opened.run(sessions.close()))
    make = open_async(program, worker.kept[LoopSessions])

    def make_here(call: Any) -> Any:
        cell.call = call

        async def once() -> Any:
            current.set(cell)
            return await make(call)

        return runner.run(once())

    return make_here


def open_async(program: Program, sessions: LoopSessions) -> Callable[[Any], Awaitable[Any]]:
    """Get a coroutine function that makes one attempt on the running loop."""
    bound, use, params, function = _caller(program), program.session, program.params, program.function
    surround = _surround(program)
    if use is None and not program.middleware and not params:

        async def make(call: Any) -> Any:
            item = call.item
            if item.__class__ is Args:
                return settle(await function(*item.args, **item.kwargs))
            value = await function(item)
            return value if value.__class__ in _PLAIN else settle(value)

        return make

    async def make_full(call: Any) -> Any:
        async with AsyncExitStack() as stack:
            extra = {}
            if use is not None:
                call.began = OPENING
                try:
                    if use.spec.scope == "attempt":
                        own = LoopSessions()
                        stack.push_async_callback(own.close)
                        session = await own.get(use)
                    else:
                        session = await sessions.get(use)
                finally:
                    call.began = time.monotonic()
                if use.parameter is not None:
                    extra[use.parameter] = session
            stack.enter_context(surround())
            try:
                return settle(await bound(call.item, extra))
            except Exception as error:
                if use is not None and _is_expired(use, error):
                    await sessions.renew(use)
                raise

    return make_full


def _surround(program: Program) -> Callable[[], Any]:
    factories = program.middleware

    @contextmanager
    def surround() -> Iterator[None]:
        with ExitStack() as stack:
            for factory in factories:
                stack.enter_context(factory())
            yield

    return surround


def _is_expired(use: SessionUse, error: BaseException) -> bool:
    expired = use.spec.expired
    if isinstance(expired, type | tuple):
        return isinstance(error, expired)
    return bool(expired(error))


def make_portable(program: Program, error: BaseException) -> BaseException:
    """Turn an error into one that survives pickling, in the session's own way where it has one."""
    use = program.session
    if use is not None and use.spec.portable is not None:
        swapped = use.spec.portable(error)
        if swapped is not error:
            return swapped.with_traceback(error.__traceback__)
    return error
