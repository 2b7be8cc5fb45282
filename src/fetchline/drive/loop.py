"""Attempts as coroutines: tasks that pull from a source on one event loop."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable

from fetchline.core.slots import Slot
from fetchline.drive.gates import LoopGate
from fetchline.drive.hands import Hand
from fetchline.drive.source import Source
from fetchline.interfaces import LoopWorker
from fetchline.worker.attempt import open_async
from fetchline.worker.context import Cell, current
from fetchline.worker.loop_sessions import LoopSessions
from fetchline.worker.sessions import OPENING

__all__ = ["start_tasks"]

_TURN_S = 0.002  # a task that never suspends lets the loop breathe this often


def start_tasks(source: Source, worker: LoopWorker, tasks: int) -> None:
    """Set up to ``tasks`` tasks to the source; call it on the loop."""
    if LoopSessions not in worker.kept:
        sessions = worker.kept[LoopSessions] = LoopSessions()
        worker.push_async_callback(sessions.close)
    _Crew(source, worker, tasks).start(1)


class _Crew:
    """The tasks of one run on one loop: as many as there are attempts suspended, and one at the door.

    A task beside others that never suspend would only take turns with them. So the next ones are started when the
    loop has control while attempts are in flight, twice as many each time, and one that finds nothing to do leaves
    if another is waiting at the door already.

    Attributes:
        gate: where the one at the door waits.
        turn: whose step was the last: a task that finds itself there did not suspend meanwhile.
        breathing: tasks that gave the loop a turn without having suspended.
    """

    def __init__(self, source: Source, worker: LoopWorker, most: int) -> None:
        self.source = source
        self.worker = worker
        self.most = most
        self.loop = asyncio.get_running_loop()
        self.make = open_async(source.program, worker.kept[LoopSessions])
        self.gate = LoopGate(self.loop)
        self.turn: Hand | None = None
        self.breathing = 0
        self._at_work = 0
        self._at_the_door = False
        self._growing = False
        self._next_batch = 1

    def start(self, count: int) -> None:
        context, loop = self.source.context, self.loop
        for _ in range(count):
            self._at_work += 1
            copy = None if context is None else context.copy()
            task = _task(self._work(), loop=loop, context=copy)
            if not task.done():
                self.worker.tasks.add(task)

    def replace(self) -> None:
        """One of them is stuck."""
        self._at_work -= 1
        if self.source.schedule.stopping is None:
            self.start(1)

    async def _work(self) -> None:
        source, make, loop = self.source, self.make, self.loop
        hand = _TaskHand(self.gate, self)
        slot = source.join(hand)
        cell = Cell(source.program)
        current.set(cell)
        suspended = loop.time()
        try:
            if slot is None:
                slot = await self._next(hand)
            while slot is not None:
                token = slot.token
                cell.call = slot
                self.turn = hand
                if not self._growing and self._at_work < self.most and not self._at_the_door:
                    self._growing = True
                    loop.call_soon(self._grow)
                try:
                    value = await make(slot)
                except BaseException as error:  # a CancelledError may be the function's own
                    if source.left(hand):
                        source.came_back()
                        return
                    slot = source.failed(hand, slot, token, error)
                else:
                    slot = source.done(hand, slot, token, value)
                if self.turn is not hand:
                    suspended = loop.time() if slot is None else slot.began
                elif slot is not None and slot.began - suspended > _TURN_S:
                    slot.began = OPENING  # not yet: a loop that somebody blocks must not cost it its time
                    self.breathing += 1
                    try:
                        await asyncio.sleep(0)
                    finally:
                        self.breathing -= 1
                    if source.left(hand):
                        source.came_back()
                        return
                    slot.began = suspended = loop.time()
                if slot is None:
                    if self._at_the_door:
                        return
                    slot = await self._next(hand)
        except asyncio.CancelledError:
            pass  # given up, or the run is being ended
        except BaseException as bug:  # a task that dies silently would hang the run
            source.broke(bug)
        finally:
            source.leave(hand)
            self.worker.tasks.discard(hand.task)
            self._at_work -= not hand.replaced

    def _grow(self) -> None:
        self._growing = False
        if self.breathing:
            return  # the loop has control for that only
        startable = self.source.schedule.startable
        self.start(min(self._next_batch if startable else 1, self.most - self._at_work))
        self._next_batch = min(2 * self._next_batch, self.most)

    async def _next(self, hand: _TaskHand) -> Slot | None:
        while True:
            slot, over = self.source.ask(hand)
            if slot is not None or over:
                return slot
            self._next_batch = 1
            if self._at_the_door:
                if self.source.retire(hand):
                    return None
                continue
            self._at_the_door = True
            try:
                await self.gate.wait()
            finally:
                self._at_the_door = False


class _TaskHand(Hand):
    """A task at work: it can be cancelled."""

    __slots__ = ("_crew", "replaced", "task")

    def __init__(self, gate: LoopGate, crew: _Crew) -> None:
        super().__init__(gate, leaves=False)
        self._crew = crew
        self.replaced = False
        task = asyncio.current_task()
        assert task is not None
        self.task = task

    def interrupt(self) -> bool:
        _call(self._crew.loop, self.task.cancel)
        return True

    def replace(self) -> None:
        _call(self._crew.loop, self._replace_here)

    def _replace_here(self) -> None:
        self.task.cancel()
        if not self.task.done():
            self.replaced = True
            self._crew.replace()


if sys.version_info >= (3, 12):
    _task = functools.partial(asyncio.Task, eager_start=True)
else:
    _task = asyncio.Task


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        pass  # the loop is closed: there is nothing left to end
