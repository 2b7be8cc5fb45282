"""Attempts on executors that only know functions and futures: what is submitted, and what comes back."""

from __future__ import annotations

import atexit
import multiprocessing
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import Context, copy_context
from multiprocessing.util import Finalize
from typing import Any, TypeVar

from fetchline.errors import SessionFailed, Unpicklable, text_of
from fetchline.interfaces import Verdict, Worker
from fetchline.worker.attempt import Program, make_portable, open_sync
from fetchline.worker.context import Call, Past
from fetchline.worker.sessions import back_off_s

__all__ = ["FarCall", "close_run", "failure", "perform", "perform_pickled", "rest", "rouse", "success"]


P = TypeVar("P")


class FarCall:
    """What a worker elsewhere is told of an item; the same face as the schedule's slot."""

    __slots__ = ("began", "index", "item", "number", "troubles")

    def __init__(self, index: int, item: Any, number: int, past: Past | None) -> None:
        self.index = index
        self.item = item
        self.number = number
        self.troubles = past
        self.began = 0.0


class _Place:
    """What a thread of somebody's pool keeps for a run."""

    def __init__(self, program: Program, context: Context) -> None:
        self.program = program
        self.context = context
        self.stack = ExitStack()
        self.worker = self.stack.enter_context(Worker())
        self.make: Callable[[Any], Any] = context.run(open_sync, program, self.worker, self.stack)
        self.lock = threading.Lock()
        self.closed = False
        self.over = threading.Event()
        self.shut_out = 0  # logins that failed, one after another

    def call(self, call: Call) -> Any:
        with self.lock:
            try:
                value = self.context.run(self.make, call)
                self.shut_out = 0
                return value
            except SessionFailed:
                self.shut_out += 1
                raise
            finally:
                if self.closed:
                    self.stack.close()

    def close(self) -> None:
        """Close what is kept; an attempt that is still at work here does it when it ends."""
        self.closed = True
        self.over.set()
        if self.lock.acquire(blocking=False):
            try:
                self.context.run(self.stack.close)
            finally:
                self.lock.release()


_here = threading.local()
_places: dict[str, list[_Place]] = {}
_lock = threading.Lock()


def perform(
    run_id: str,
    program: Program,
    context: Context | None,
    call: Call,
    abandon: Callable[[], None] | None = None,
) -> Any:
    """Make one attempt in this process: its value.

    ``abandon`` is called if this thread is stuck in closing a session.
    """
    mine: dict[str, _Place] = _here.__dict__
    place = mine.get(run_id)
    if place is None or place.closed:
        for over in [key for key, old in mine.items() if old.closed]:
            del mine[over]
        place = mine[run_id] = _Place(program, copy_context() if context is None else context.copy())
        with _lock:
            _places.setdefault(run_id, []).append(place)
    if abandon is not None:
        place.worker.abandon = abandon
    return place.call(call)


def rest(run_id: str, error: SessionFailed) -> None:
    """Have this thread wait after a login that failed, at most until the run is over.

    It is idle sooner than those that can log in, and would be given all their calls.
    """
    place: _Place = _here.__dict__[run_id]
    with _lock:
        nobody_is_in = all(other.shut_out for other in _places.get(run_id, ()))
    if nobody_is_in and error.reason in ("unreachable", "throttled"):
        return  # an outage and a cooldown have their own pace
    place.over.wait(back_off_s(place.shut_out))


def rouse(run_id: str) -> None:
    """Have nobody rest in this process for a run: it is over."""
    with _lock:
        places = _places.get(run_id, [])
    for place in places:
        place.over.set()


def close_run(run_id: str) -> None:
    """Close what a run keeps in this process; nobody tells a foreign pool's threads to do it themselves."""
    with _lock:
        places = _places.pop(run_id, [])
    for place in places:
        place.close()


def perform_pickled(run_id: str, blob: bytes, payload: bytes) -> bytes:
    """Make one attempt in another process: its outcome, pickled so that it is sure to unpickle."""
    from fetchline.worker.transport import dump_error, dump_value, load

    try:
        program = _program(run_id, blob)
        call = load(payload)
        call.began = time.monotonic()
    except BaseException as error:  # a __setstate__ may raise anything at all
        refused = Unpicklable(f"could not be loaded in the worker: {type(error).__name__}: {text_of(error)}")
        refused.__cause__ = error
        return dump_value((False, dump_error(refused), Verdict("permanent", "unpicklable")))
    try:
        value = perform(run_id, program, None, call)
    except Exception as error:
        if isinstance(error, SessionFailed):
            rest(run_id, error)
        return dump_value(failure(program, error, call))
    return success(program, value, dump_value)


def success(program: Program, value: Any, pack: Callable[[Any], P]) -> P:
    """The outcome of an attempt that gave a value, pickled."""
    from fetchline.worker.transport import dump_error

    try:
        return pack((True, value, None))
    except BaseException as error:  # a __reduce__ may raise anything at all
        refused = Unpicklable(
            f"the value, a {type(value).__qualname__}, cannot be sent back: {type(error).__name__}: {text_of(error)}"
        )
        refused.__cause__ = error
        return pack((False, dump_error(refused), program.judge.lost_value()))


def failure(program: Program, error: BaseException, call: Call) -> tuple[bool, bytes, Verdict]:
    """The outcome of an attempt that failed, judged; it pickles."""
    from fetchline.worker.transport import dump_error, dump_value

    verdict = program.verdict(error, call)
    if verdict.memo is not None:
        try:
            dump_value(verdict.memo)
        except BaseException as bug:  # a __reduce__ may raise anything at all
            error = Unpicklable(
                f"the memo of NotReady, a {type(verdict.memo).__qualname__}, cannot be sent back: "
                f"{type(bug).__name__}: {text_of(bug)}"
            )
            verdict = program.judge.lost_value()
    return False, dump_error(make_portable(program, error)), verdict


_programs: dict[str, Program] = {}
_MOST_RUNS = 2


def _program(run_id: str, blob: bytes) -> Program:
    """The program of a run. A worker is not told when a run ends: it leaves the oldest when it comes to a third."""
    from fetchline.worker.transport import load

    over = None
    with _lock:
        program = _programs.get(run_id)
        if program is None:
            if not _programs:
                _at_exit(_close_all)
            program = _programs[run_id] = load(blob)
            if len(_programs) > _MOST_RUNS:
                over = next(iter(_programs))
                del _programs[over]
    if over is not None:
        close_run(over)
    return program


def _at_exit(function: Callable[[], None]) -> None:
    if multiprocessing.parent_process() is None:
        atexit.register(function)
    else:  # such processes do not come to atexit before 3.13
        Finalize(None, function, exitpriority=10)


def _close_all() -> None:
    for run_id in list(_places):
        close_run(run_id)
