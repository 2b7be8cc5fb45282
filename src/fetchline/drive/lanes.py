"""Attempts in worker processes: one thread, one pipe, one process; a chunk of items at a time.

A chunk grows while its items are cheap, so that a pipe costs next to nothing for each, and is cut short when
one of them turns out slow: what has not begun is handed back and goes elsewhere. Which item of a chunk is
running, and since when, stands in a cell of shared memory: it says whom a crash or a timeout belongs to.
"""

from __future__ import annotations

import contextlib
import time
from array import array
from typing import Any

from fetchline.core.slots import Slot
from fetchline.drive.gates import ThreadGate
from fetchline.drive.hands import Hand
from fetchline.drive.source import Source
from fetchline.drive.threads import next_slot
from fetchline.errors import AttemptTimeout, SessionFailed, Unpicklable, text_of
from fetchline.interfaces import RemoteWorker, Verdict
from fetchline.worker.child import LEFT, NOT_TAKEN
from fetchline.worker.context import Past
from fetchline.worker.crash import WorkerCrashed
from fetchline.worker.logs import levels
from fetchline.worker.sessions import OPENING
from fetchline.worker.transport import dump, load, load_error, show

__all__ = ["serve_remote"]

_CHUNK_S = 0.01
_CHUNK_MOST = 1024
_SLOW_S = 0.02
_KILLED_S = 10.0
_UNPICKLABLE = Verdict("permanent", "unpicklable")


def serve_remote(source: Source, worker: RemoteWorker) -> None:
    """Take chunks and have them made in the process, until the run is over."""
    gate = ThreadGate()
    hand = _LaneHand(gate, worker)
    source.enter(hand)
    lane = _Lane(source, worker, hand)
    try:
        # Before the first lease: a pace counts from there, and starts would come in a burst.
        with contextlib.suppress(OSError):  # it is the first item's, if there is one
            _ = worker.process
        while (slot := next_slot(source, hand, gate, worker)) is not None:
            lane.make(slot)
            if lane.refused is not None:
                exile, lane.refused = source.exile.sentence(hand, lane.refused), None
                source.exile.serve(gate, exile)
    except BaseException as bug:  # a lane that dies silently would hang the run
        source.broke(bug)
    finally:
        source.leave(hand)


class _LaneHand(Hand):
    """A process at work: one that is stuck is ended, not abandoned, and its lane goes on with another."""

    __slots__ = ("_worker",)

    def __init__(self, gate: ThreadGate, worker: RemoteWorker) -> None:
        super().__init__(gate)
        self._worker = worker

    def interrupt(self) -> bool:
        self._worker.kill()
        return True


class _Lane:
    def __init__(self, source: Source, worker: RemoteWorker, hand: Hand) -> None:
        self.source = source
        self.worker = worker
        self.hand = hand
        self.programmed: Any = None
        self.size = 1
        self.item_s = 0.0
        self.timeout: float | None = None
        # A write must not be made twice because its answer was lost with a chunk.
        self.most = _CHUNK_MOST if source.program.judge.idempotent else 1
        self.slots: list[Slot] = []
        self.tokens: list[int] = []
        self.left = 0
        self.reported = 0
        self.chunk = 0
        self.refused: SessionFailed | None = None

    def make(self, first: Slot) -> None:
        """Make one chunk, up to its end or its process's."""
        source, hand = self.source, self.hand
        self.slots = [first]
        if self.size > 1 and first.troubles is None:
            with source.lock:
                self.slots += source.schedule.lease_more(source.clock(), self.size - 1)
                hand.riders = [(slot, slot.token) for slot in self.slots[1:]]
        # What is attempted again travels alone, so all of a chunk have the same one.
        self.timeout = source.program.timeout_of(first)
        self.tokens = [slot.token for slot in self.slots]
        self.left = len(self.slots)
        self.reported = 0
        try:
            process = self._send()
        except Unpicklable as error:
            self._refused(error)
            return
        if process is not None:
            self._wait(process)
        hand.riders = []

    def _send(self) -> Any:
        slots, worker, source = self.slots, self.worker, self.source
        blob = source.program.blob()
        odd = {
            position: (slot.number, Past.of(slot))
            for position, slot in enumerate(slots)
            if slot.troubles is not None
        }
        self.chunk += 1
        payload = dump(
            (self.chunk, array("q", [slot.index for slot in slots]), [s.item for s in slots], odd),
            lambda: f"the item {show(slots[0].item)}" if len(slots) == 1 else "one of the items",
        )
        try:
            process = worker.process
            if process.gone():  # while it was idle: that is nobody's crash
                worker.lost(process)
                process = worker.process
        except OSError as error:
            self._end_all(WorkerCrashed(f"no worker process could be started: {error}"))
            return None
        if process is not self.programmed:
            worker.ask(b"V", dump(levels(), str))
            worker.ask(b"P", blob)
            self.programmed = process
        process.cell.set(NOT_TAKEN, 0.0)
        worker.ask(b"C", payload)
        return process

    def _refused(self, error: Unpicklable) -> None:
        if len(self.slots) > 1 and self.source.program.pickled is not None:
            self._give_back(0, alone=True)
        else:
            self._fail_rest(error)

    def _fail_rest(self, error: BaseException, verdict: Verdict = _UNPICKLABLE) -> None:
        with self.source.lock:
            for position in range(self.reported, len(self.slots)):
                self._fail(position, error, verdict, self.source.clock())

    # -- waiting for the answers ----------------------------------------------------------------------------

    def _wait(self, process: Any) -> None:
        worker, source = self.worker, self.source
        began = source.clock()
        asked = False
        while self.left:
            try:
                frame = worker.answer(self._patience(process, began, asked))
            except WorkerCrashed as crash:
                self._crashed(process, crash)
                return
            if frame is None:
                now = source.clock()
                position = self._late(process, now)
                if position is not None:
                    self._timed_out(position)
                    return
                if not asked and self.left > 1 and now - began > self._slow_after():
                    asked = True
                    worker.ask(b"G", str(self.chunk).encode())
                continue
            kind, payload, memories = frame
            if kind == b"U":
                self._did_not_load(load_error(bytes(payload)))
                return
            if kind != b"R":
                continue  # what a run that is over no longer waited for
            try:
                chunk, first, values, ended, odd, limit = load(payload, memories)
            except BaseException as error:  # a value that pickles but does not unpickle
                self._undecodable(error)
                return
            if chunk != self.chunk:
                continue  # the tail of one that had been handed back
            self._bring(first, values, array("d", ended), odd)
            if limit is not None and self.left:
                self._give_back(limit)
        if self.item_s and not asked and self.refused is None:
            self.size = max(1, min(self.size * 4, int(_CHUNK_S / self.item_s), self.most))
        elif asked:
            self.size = 1

    def _slow_after(self) -> float:
        return _SLOW_S + 2 * self.item_s * len(self.slots)

    def _patience(self, process: Any, began: float, asked: bool) -> float | None:
        """Seconds to wait for an answer before there is something else to do; None is for ever."""
        now = self.source.clock()
        waits = []
        if not asked and self.left > 1:
            waits.append(began + self._slow_after() - now)
        if self.timeout is not None:
            running = process.cell.position >= self.reported
            # While a session opens the item has not begun: look again after another timeout.
            waits.append(min(process.cell.began - now, 0.0) + self.timeout if running else self.timeout)
        return max(min(waits), 0.001) if waits else None

    def _late(self, process: Any, now: float) -> int | None:
        """The position of the call that has run too long."""
        cell = process.cell
        position: int = cell.position
        late = self.timeout is not None and position >= self.reported and now - cell.began >= self.timeout
        return position if late else None

    def _bring(self, first: int, values: list[Any], ended: array[float], odd: dict[int, Any]) -> None:
        source = self.source
        began = self.slots[first].began if first == 0 else self.slots[first - 1].ended
        if values:
            # The process has its own view of when its first item began: loading and login came before.
            self.item_s = (ended[-1] - ended[0]) / (len(values) - 1) if len(values) > 1 else ended[0] - began
        weights = [0.0] * len(values) if source.weigh is None else [*map(source.weigh, values)]
        failures = {position: (load_error(error), verdict) for position, (error, verdict) in odd.items()}
        with source.lock:
            slots, tokens, succeed = self.slots, self.tokens, source.schedule.succeed
            for position, (value, now) in enumerate(zip(values, ended, strict=True), first):
                slot = slots[position]
                slot.began = began
                began = now
                if position in failures:
                    self._fail(position, *failures[position], now)
                    continue
                self.left -= 1
                self.hand.shut_out = 0
                weight = weights[position - first]
                succeed(slot, tokens[position], value, now, 0 if self.left else 1, weight)
                if source.attempts is not None:
                    source.trace(slot, None)
                if slot is source.awaited or slot.members:
                    source.ring_host()
            self.reported = first + len(values)
            if values:
                source.ring_host()
            self._after()

    def _fail(self, position: int, error: BaseException, verdict: Verdict, now: float) -> None:
        """With the lock held."""
        self.left -= 1
        if isinstance(error, SessionFailed):
            self.refused, self.size = error, 1
        else:
            self.hand.shut_out = 0
        self.source.fail_here(
            self.slots[position], self.tokens[position], error, verdict, now, 0 if self.left else 1
        )

    def _after(self) -> None:
        """With the lock held: others may have something to do now."""
        source = self.source
        if source.schedule.startable or source.schedule.held:
            source.wake_one()

    def _give_back(self, position: int, *, alone: bool = False) -> None:
        """Hand back what has not begun, from ``position`` on."""
        with self.source.lock:
            back = [
                slot
                for slot, token in zip(self.slots[position:], self.tokens[position:], strict=True)
                if slot.token == token
            ]
            self.left -= len(back)
            if back:
                self.source.schedule.give_back(back, 0 if self.left else 1, alone=alone)
                self._after()

    # -- when it goes wrong ---------------------------------------------------------------------------------

    def _crashed(self, process: Any, crash: WorkerCrashed) -> None:
        """The process died: the item it had begun is charged, the others go back."""
        was_idle = process.served and process.position == NOT_TAKEN
        if was_idle or (process.exit_code == LEFT and process.began == OPENING):
            # That is nobody's crash. A new one that dies while it is idle is not tried for ever.
            self._give_back(self.reported)
            self.size = 1
            return
        verdict = self.source.program.judge.crash(begun=process.began != OPENING)
        self._charge(process.position, crash, verdict)

    def _charge(self, position: int, error: BaseException, verdict: Verdict) -> None:
        guilty = position
        if not self.reported <= position < len(self.slots):
            # Before an item began, or after it was finished: only a lone item can be to blame.
            guilty = self.reported if self.left == 1 else -1
        source = self.source
        if guilty >= 0:
            slot = self.slots[guilty]
            label = source.program.label(slot)
            error.add_note(label if source.program.key else f"item {slot.index}, key {label}")
        with source.lock:
            for number, slot in enumerate(self.slots):
                if number != guilty and slot.token == self.tokens[number]:
                    self.left -= 1
                    source.schedule.give_back([slot], 0 if self.left else 1, alone=guilty < 0)
            if guilty >= 0:
                self._fail(guilty, error, verdict, source.clock())
            self._after()
        self.size = 1

    def _end_all(self, crash: WorkerCrashed) -> None:
        with self.source.lock:
            for position in range(len(self.slots)):
                verdict = self.source.program.judge.crash(begun=False)
                self._fail(position, crash, verdict, self.source.clock())

    def _timed_out(self, position: int) -> None:
        """The item has run too long: its process is ended, and only that one."""
        self.worker.kill()
        deadline = self.source.clock() + _KILLED_S
        try:
            while self.source.clock() < deadline:
                # What it had sent before is taken; then its end is seen.
                frame = self.worker.answer(1.0)
                if frame is not None and frame[0] == b"R":
                    chunk, first, values, ended, odd, _ = load(frame[1], frame[2])
                    if chunk == self.chunk:
                        self._bring(first, values, array("d", ended), odd)
        except WorkerCrashed:
            pass
        if not self.left:
            return
        slot = self.slots[position]
        label = self.source.program.label(slot)
        error = AttemptTimeout(
            f"{label}: the attempt took longer than its timeout of {self.timeout:g} s; its process was ended"
        )
        self._charge(position, error, self.source.program.verdict(error, slot))

    def _did_not_load(self, error: BaseException) -> None:
        if self.left > 1:
            self._give_back(self.reported, alone=True)
            return
        slot = self.slots[self.reported]
        refused = Unpicklable(
            f"the item {show(slot.item)} could not be loaded in the worker process: "
            f"{type(error).__name__}: {text_of(error)}"
        )
        refused.__cause__ = error
        self._fail_rest(refused)

    def _undecodable(self, error: BaseException) -> None:
        """An answer does not unpickle here: its process is ended, and the items are made one by one."""
        self.worker.kill()
        with_time = time.monotonic() + _KILLED_S
        try:
            while time.monotonic() < with_time:
                self.worker.answer(1.0)
        except WorkerCrashed:
            pass
        if self.left > 1:
            self._give_back(self.reported, alone=True)
            return
        refused = Unpicklable(
            f"the value came back from the worker process, but cannot be loaded here: "
            f"{type(error).__name__}: {text_of(error)}"
        )
        refused.__cause__ = error
        self._fail_rest(refused, self.source.program.judge.lost_value())
