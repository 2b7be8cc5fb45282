"""Coroutine attempts side by side on one event loop of a worker process."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fetchline.errors import Unpicklable, text_of
from fetchline.interfaces import Verdict, Worker
from fetchline.worker.attempt import open_async
from fetchline.worker.context import Cell, current
from fetchline.worker.loop_sessions import LoopSessions
from fetchline.worker.remote import FarCall, failure, success
from fetchline.worker.transport import dump_error, load, pack_value

if TYPE_CHECKING:
    from fetchline.worker.child import Child, Task

__all__ = ["Wide"]

_NUMBER = struct.Struct("!Q")
_BEGUN = struct.Struct("!Qd")


class Wide:
    """Makes the calls of ``A`` frames, each as a task, until a frame of another kind comes."""

    def __init__(self, child: Child, worker: Worker) -> None:
        self._child = child
        self._runner: asyncio.Runner | None = worker.kept.get(asyncio.Runner)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._make: Any = None
        if self._runner is not None and child.program is not None:
            self._make = open_async(child.program, worker.kept[LoopSessions])

    def ring(self) -> None:
        """Called by the listener: there is a frame."""
        if self._runner is not None:
            self._runner.get_loop().call_soon_threadsafe(self._news.set)

    def run(self, first: Task) -> Task | None:
        """Make calls, beginning with the first, until there is another task: that; None is to leave."""
        if self._runner is None or self._child.broken is not None:
            self._refuse(first[1])
            return self._child.tasks.get()
        return self._runner.run(self._serve(first))

    def _refuse(self, payload: bytes) -> None:
        broken = self._child.broken or Unpicklable("the function could not be loaded in the worker process")
        outcome = pack_value((False, dump_error(broken), Verdict("permanent", "unpicklable")))
        self._child.pipe.send(b"A", bytes(payload[: _NUMBER.size]) + outcome.payload)

    async def _serve(self, task: Task | None) -> Task | None:
        tasks = self._child.tasks
        while task is not None and task[0] in (b"A", b"K"):
            self._take(*task)
            while tasks.empty():
                await self._news.wait()
                self._news.clear()
            task = tasks.get_nowait()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        return task

    def _take(self, kind: bytes, payload: bytes) -> None:
        number = _NUMBER.unpack_from(payload)[0]
        if kind == b"K":
            running = self._tasks.get(number)
            if running is not None:
                running.cancel()
            return
        task = asyncio.get_running_loop().create_task(self._attempt(number, payload[_NUMBER.size :]))
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _attempt(self, number: int, payload: bytes) -> None:
        program = self._child.program
        assert program is not None
        try:
            call = load(payload)
        except BaseException as error:
            refused = Unpicklable(
                f"the item could not be loaded in the worker process: {type(error).__name__}: {text_of(error)}"
            )
            refused.__cause__ = error
            outcome = pack_value((False, dump_error(refused), Verdict("permanent", "unpicklable")))
        else:
            if program.tells_when(call):
                call = _Told(call, lambda at: self._child.pipe.send(b"B", _BEGUN.pack(number, at)))
            cell = Cell(program)
            cell.call = call
            current.set(cell)
            call.began = time.monotonic()
            try:
                outcome = success(program, await self._make(call), pack_value)
            except BaseException as error:
                outcome = pack_value(failure(program, error, call))
        self._child.pipe.send(b"A", _NUMBER.pack(number) + outcome.payload, outcome.files)


class _Told(FarCall):
    """A call whose beginning the parent is told of; opening a session moves it."""

    __slots__ = ("_at", "_tell")

    def __init__(self, call: FarCall, tell: Callable[[float], None]) -> None:
        self._tell = tell
        super().__init__(call.index, call.item, call.number, call.troubles)

    @property
    def began(self) -> float:
        return self._at

    @began.setter
    def began(self, at: float) -> None:
        self._at = at
        if at:
            self._tell(at)
