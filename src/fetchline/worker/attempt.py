"""One attempt: call the function for one item, with its session and middleware, and settle its value.

``Program`` is what a worker needs to know, once; it pickles. ``open_sync`` and ``open_async`` turn it into the
function that makes attempts, with everything that does not change from item to item decided beforehand: the
common case costs a call, not a tower of them.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from fetchline.interfaces import Verdict, Worker
from fetchline.items import Args, key_of
from fetchline.verdict import Judge, note_arrival, note_freshness
from fetchline.worker.answers import Answers, Shape, answers, distinct, held_against
from fetchline.worker.context import Call, Cell, current
from fetchline.worker.loop_sessions import Login, LoopSessions
from fetchline.worker.sessions import OPENING, SessionUse
from fetchline.worker.thread_sessions import ThreadSessions

__all__ = ["Program", "is_async", "make_portable", "open_async", "open_sync"]


@dataclass(slots=True)
class Program:
    """What a worker needs once: the function and its policies. Pickles (with cloudpickle).

    ``reference`` is the fetcher: it pickles by name where its module can be imported. ``collects``: lazy
    frames are collected where they were made. ``shape`` is what answers are held against.
    """

    function: Callable[..., Any]
    judge: Judge
    reference: Any = None
    name: str = "fetch"
    version: str = "1"
    params: Mapping[str, Any] = field(default_factory=dict)
    session: SessionUse | None = None
    middleware: tuple[Callable[[], Any], ...] = ()
    timeout: float | None = None
    key: Callable[[Any], str] | None = None
    collects: bool = True
    shape: Shape | None = None
    pickled: bytes | None = field(default=None, repr=False)

    @property
    def asynchronous(self) -> bool:
        return is_async(self.function)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self.__slots__}
        state["pickled"] = None
        if self.reference is not None:
            state["function"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        if self.reference is not None:
            self.function = self.reference.function

    def blob(self) -> bytes:
        """The program, pickled once for all workers of the run.

        Raises:
            Unpicklable: the function, its params or its session cannot be sent to another process.
        """
        if self.pickled is None:
            from fetchline.worker.transport import dump

            self.pickled = dump(self, lambda: f"the fetcher {self.name!r}, with its params and session,")
        return self.pickled

    @property
    def bulk(self) -> bool:
        """Whether an attempt is for several items: a tuple of them."""
        return self.shape is not None and self.shape.bulk

    @property
    def is_plain(self) -> bool:
        """Whether the function takes an item and nothing else, and nobody looks at what it gives."""
        return not self.params and self.shape is None and self.judge.idempotent

    def key_of(self, item: Any) -> str:
        """The key of what an attempt is for; of several items, all their keys."""
        return ",".join(map(self.key_of_one, item)) if self.bulk else self.key_of_one(item)

    def key_of_one(self, item: Any) -> str:
        return key_of(item) if self.key is None else self.key(item)

    def idempotency_key(self, item: Any) -> str:
        """A UUID of what is asked for: the same in every attempt and in every run that asks the same."""
        import uuid

        params = [f"{name}={_canonical(self.params[name])}" for name in sorted(self.params)]
        asked = [self.name, self.version, *params, self.key_of(item) or _canonical(item)]
        return str(uuid.uuid5(uuid.NAMESPACE_OID, "\0".join(asked)))

    def timeout_of(self, call: Call) -> float | None:
        """Seconds this attempt may take; None is no limit."""
        own = None if call.troubles is None else call.troubles.timeout
        return self.timeout if own is None else own

    def tells_when(self, call: Call) -> bool:
        """Whether it matters elsewhere when it begins: to a timeout, and to whether a write may have arrived."""
        return not self.judge.idempotent or self.timeout_of(call) is not None

    def label(self, call: Call) -> str:
        """The item, for a message; its key function is the user's, and not for the driver's threads."""
        if self.key is not None:
            return f"item {call.index}"
        if not self.bulk:
            return repr(key_of(call.item))
        more = len(call.item) - 1
        return repr(key_of(call.item[0])) + (f" and {more} more" if more else "")

    def verdict(self, error: BaseException, call: Call) -> Verdict:
        """Judge the live exception of one attempt; a judge that raises makes the error permanent."""
        troubles = call.troubles
        charged, first = (0, call.began) if troubles is None else (troubles.charged, troubles.first)
        elapsed = max(0.0, time.monotonic() - first)
        try:
            verdict = self.judge(error, failed=charged + 1, attempt=call.number, elapsed=elapsed)
            if not 0 <= verdict.delay < math.inf:
                raise ValueError(f"a verdict's delay is seconds, not {verdict.delay!r}")
            return verdict
        except Exception as bug:
            error.add_note(f"judging this error raised {bug!r}")
            return Verdict("permanent", "error")


def _canonical(value: Any) -> str:
    try:
        return key_of(value)
    except TypeError:
        return repr(value)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object with an async __call__ is meant
    )


def _caller(program: Program) -> Callable[..., Any]:
    """Bind the params: ``make(call, extra)``, where ``extra`` are further keyword arguments."""
    function, params = program.function, dict(program.params)
    if program.bulk:
        return lambda call, extra: function(distinct(program, call.item), **params, **extra)

    def make(call: Any, extra: Mapping[str, Any]) -> Any:
        item = call.item
        if item.__class__ is Args:
            return function(*item.args, **{**params, **item.kwargs, **extra})
        return function(item, **params, **extra)

    return make


def _finisher(program: Program) -> Callable[[Any, Any], Any]:
    """Get what makes the value of what a function returned: ``finish(call, returned)``."""
    collect = settle if program.collects else _as_it_is
    hold: Callable[[Any, Any], Any] = _as_it_came
    if program.shape is not None:
        hold = answers(program, collect) if program.bulk else held_against(program)
    if program.judge.idempotent:
        return lambda call, returned: hold(call, collect(returned))

    def finish(call: Any, returned: Any) -> Any:
        try:
            return hold(call, collect(returned))
        except BaseException as error:
            note_arrival(error)
            raise

    return finish


def _is_useless(program: Program, call: Any, value: Any, *, fresh: bool) -> bool:
    """Whether a bulk call's answers say that the session is of no use any more; they are judged here."""
    return value.__class__ is Answers and value.judge(program, call, fresh=fresh)


_PLAIN: set[type] = {type(None), bool, int, float, str, bytes, dict, list, tuple}


def _as_it_is(value: Any) -> Any:
    return value


def _as_it_came(call: Any, value: Any) -> Any:
    return value


def settle(value: Any) -> Any:
    """Finish a value where it was made: a lazy frame is collected in the worker."""
    kind = value.__class__
    if kind in _PLAIN:
        return value
    if kind.__name__ == "LazyFrame" and kind.__module__.startswith("polars"):
        return value.collect()
    # Not whatever can be awaited: the futures of others, such as Dask's, are values too.
    if isinstance(value, Coroutine):
        value.close()
        raise TypeError(
            f"nobody awaited what the function returned (of the type {kind.__name__}): `await` it in an `async def`"
        )
    if isinstance(value, AsyncGenerator):
        raise TypeError(
            "the function is an async generator; a fetcher returns one value: collect what it yields"
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
    function, use = program.function, program.session
    if program.asynchronous:
        return _open_on_private_loop(program, worker, run, cell)
    bound, finish = _caller(program), _finisher(program)
    if use is None and not program.middleware:
        if program.is_plain:
            collect = settle if program.collects else _as_it_is

            def make(call: Any) -> Any:
                cell.call = call
                item = call.item
                if item.__class__ is Args:
                    return collect(function(*item.args, **item.kwargs))
                value = function(item)
                return value if value.__class__ in _PLAIN else collect(value)

            return make

        def make_bound(call: Any) -> Any:
            cell.call = call
            value = finish(call, bound(call, {}))
            _is_useless(program, call, value, fresh=False)
            return value

        return make_bound
    sessions = None if use is None else ThreadSessions(use, worker)
    surround = _surround(program)

    def make_full(call: Any) -> Any:
        cell.call = call
        if sessions is None:
            with surround():
                value = finish(call, bound(call, {}))
            _is_useless(program, call, value, fresh=False)
            return value
        assert use is not None
        with sessions.session(call) as session:
            extra = {} if use.parameter is None else {use.parameter: session}
            try:
                with surround():
                    value = finish(call, bound(call, extra))
            except Exception as error:
                if use.is_expired(error):
                    note_freshness(error, sessions.fresh)
                    sessions.renew()
                raise
            if _is_useless(program, call, value, fresh=sessions.fresh):
                sessions.renew()
            return value

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
    bound, use, function = _caller(program), program.session, program.function
    surround, finish = _surround(program), _finisher(program)
    if use is None and not program.middleware and program.is_plain:
        collect = settle if program.collects else _as_it_is

        async def make(call: Any) -> Any:
            item = call.item
            if item.__class__ is Args:
                return collect(await function(*item.args, **item.kwargs))
            value = await function(item)
            return value if value.__class__ in _PLAIN else collect(value)

        return make

    if use is not None and not program.middleware and use.spec.scope != "attempt":

        async def make_with_session(call: Any) -> Any:
            login = sessions.peek(use, call) or await _log_in(sessions, use, call)
            extra = {} if use.parameter is None else {use.parameter: login.value}
            try:
                value = finish(call, await bound(call, extra))
                if value.__class__ is Answers and value.judge(program, call, fresh=login.is_fresh_for(call)):
                    sessions.renew(use, login)
                return value
            except Exception as error:
                if use.is_expired(error):
                    note_freshness(error, login.is_fresh_for(call))
                    sessions.renew(use, login)
                raise
            finally:
                login.leave()

        return make_with_session

    async def make_full(call: Any) -> Any:
        async with AsyncExitStack() as stack:
            extra = {}
            login: Login | None = None
            if use is not None:
                own = sessions
                if use.spec.scope == "attempt":
                    own = LoopSessions()
                    stack.push_async_callback(own.close)
                login = own.peek(use, call) or await _log_in(own, use, call)
                stack.callback(login.leave)
                if use.parameter is not None:
                    extra[use.parameter] = login.value
            try:
                with surround():
                    value = finish(call, await bound(call, extra))
                fresh = login is not None and login.is_fresh_for(call)
                useless = _is_useless(program, call, value, fresh=fresh)
                if useless and use is not None and login is not None:
                    own.renew(use, login)
                return value
            except Exception as error:
                if use is not None and login is not None and use.is_expired(error):
                    note_freshness(error, login.is_fresh_for(call))
                    own.renew(use, login)
                raise

    return make_full


async def _log_in(sessions: LoopSessions, use: SessionUse, call: Any) -> Login:
    call.began = OPENING  # for good, if that fails: the function was never called
    login = await sessions.get(use, call)
    call.began = time.monotonic()
    return login


def _surround(program: Program) -> Callable[[], Any]:
    factories = program.middleware

    @contextmanager
    def surround() -> Iterator[None]:
        has_returned, failure = False, None
        try:
            with ExitStack() as stack:
                for factory in factories:
                    stack.enter_context(factory())
                try:
                    yield
                except BaseException as error:
                    failure = error
                    raise
                has_returned = True
        except BaseException as error:
            if has_returned:
                note_arrival(error)
            raise
        if failure is not None:
            raise failure  # who stands around an attempt does not decide what comes of it

    return surround


def make_portable(program: Program, error: BaseException) -> BaseException:
    """Turn an error into one that survives pickling, in the session's own way where it has one.

    On every executor, so that an error's type does not depend on where its attempt was made.
    """
    use = program.session
    if use is None or use.spec.portable is None:
        return error
    try:
        swapped = use.spec.portable(error)
    except Exception as bug:
        error.add_note(f"making this error portable raised {bug!r}")
        return error
    return error if swapped is error else swapped.with_traceback(error.__traceback__)
