"""Coroutine attempts side by side on one event loop of a worker process."""

from __future__ import annotations

import asyncio
import struct
from queue import Empty
from typing import TYPE_CHECKING, Any

from fetchline.errors import Unpicklable
from fetchline.interfaces import Verdict, Worker
from fetchline.worker.attempt import open_async
from fetchline.worker.context import Cell, current
from fetchline.worker.remote import failure, success
from fetchline.worker.sessions import LoopSessions
from fetchline.worker.transport import dump_error, dump_value, load

if TYPE_CHECKING:
    from fetchline.worker.child import Child

__all__ = ["Wide"]

_NUMBER = struct.Struct("!Q")


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

    def run(self, first: tuple[bytes, Any]) -> None:
        if self._runner is None or self._child.broken is not None:
            self._refuse(first[1])
            return
        self._runner.run(self._serve(first))

    def _refuse(self, payload: bytes) -> None:
        broken = self._child.broken or Unpicklable("the function could not be loaded in the worker process")
        outcome = dump_value((False, dump_error(broken), Verdict("permanent", "unpicklable")))
        self._child.pipe.send(b"A", bytes(payload[: _NUMBER.size]) + outcome)

    async def _serve(self, first: tuple[bytes, Any] | None) -> None:
        child, task = self._child, first
        while True:
            while task is not None and task[0] in (b"A", b"K"):
                self._take(*task)
                task = self._next()
            if task is not None or self._leaving:
                break
            await self._news.wait()
            self._news.clear()
            task = self._next()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        child.tasks.put(task)

    _leaving = False

    def _next(self) -> tuple[bytes, Any] | None:
        try:
            task = self._child.tasks.get_nowait()
        except Empty:
            return None
        if task is None:
            self._leaving = True
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
                f"the item could not be loaded in the worker process: {type(error).__name__}: {error}"
            )
            refused.__cause__ = error
            outcome = dump_value((False, dump_error(refused), Verdict("permanent", "unpicklable")))
        else:
            cell = Cell(program)
            cell.call = call
            current.set(cell)
            call.began = asyncio.get_running_loop().time()
            try:
                outcome = success(await self._make(call))
            except BaseException as error:
                outcome = failure(program, error, call)
        self._child.pipe.send(b"A", _NUMBER.pack(number) + outcome)
