"""Attempts as coroutines: tasks that pull from a source on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fetchline.core.slots import Slot
from fetchline.drive.gates import LoopGate
from fetchline.drive.source import Hand, Source
from fetchline.interfaces import LoopWorker
from fetchline.worker.attempt import open_async
from fetchline.worker.context import Cell, current
from fetchline.worker.sessions import LoopSessions

__all__ = ["start_tasks"]

_TURN_S = 0.002  # a task that never suspends lets the loop breathe this often


def start_tasks(source: Source, worker: LoopWorker, tasks: int) -> None:
    """Set ``tasks`` tasks to the source; call it on the loop."""
    if LoopSessions not in worker.kept:
        sessions = worker.kept[LoopSessions] = LoopSessions()
        worker.push_async_callback(sessions.close)
    crew = _Crew(source, worker)
    for _ in range(tasks):
        crew.start()


class _Crew:
    """The tasks of one run on one loop.

    ``turn`` is whose step was the last: a task that finds itself there did not suspend meanwhile.
    """

    def __init__(self, source: Source, worker: LoopWorker) -> None:
        self.source = source
        self.worker = worker
        self.loop = asyncio.get_running_loop()
        self.make = open_async(source.program, worker.kept[LoopSessions])
        self.turn: Hand | None = None

    def start(self) -> None:
        context = self.source.context
        task = self.loop.create_task(self._work(), context=None if context is None else context.copy())
        self.worker.tasks.add(task)

    async def _work(self) -> None:
        source, make, loop = self.source, self.make, self.loop
        gate = LoopGate(loop)
        hand = _TaskHand(gate, self)
        source.enter(hand)
        cell = Cell(source.program)
        current.set(cell)
        suspended = loop.time()
        try:
            slot: Slot | None = await _next(source, hand, gate)
            while slot is not None:
                token = slot.token
                cell.call = slot
                self.turn = hand
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
                    await asyncio.sleep(0)
                    suspended = slot.began
                if slot is None:
                    slot = await _next(source, hand, gate)
        except asyncio.CancelledError:
            pass  # given up, or the run is being ended
        except BaseException as bug:  # a task that dies silently would hang the run
            source.broke(bug)
        finally:
            source.leave(hand)
            self.worker.tasks.discard(hand.task)


class _TaskHand(Hand):
    """A task at work: it can be cancelled, and another can take its place."""

    __slots__ = ("_crew", "task")

    def __init__(self, gate: LoopGate, crew: _Crew) -> None:
        super().__init__(gate, self._replace, self._interrupt)
        self._crew = crew
        task = asyncio.current_task()
        assert task is not None
        self.task = task

    def _interrupt(self) -> None:
        _call(self._crew.loop, self.task.cancel)

    def _replace(self) -> None:
        _call(self._crew.loop, self._replace_here)

    def _replace_here(self) -> None:
        self.task.cancel()
        if self._crew.source.schedule.stopping is None:
            self._crew.start()


async def _next(source: Source, hand: Hand, gate: LoopGate) -> Slot | None:
    while True:
        slot, over = source.ask(hand)
        if slot is not None or over:
            return slot
        await gate.wait()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        pass  # the loop is closed: there is nothing left to end
