"""Attempts on somebody else's executor: submitted one by one, as many as may be in flight."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import CancelledError, Future
from typing import Any

from fetchline.core.slots import Slot
from fetchline.drive.gates import ThreadGate
from fetchline.drive.source import Hand, Source
from fetchline.errors import Unpicklable
from fetchline.interfaces import Verdict, Worker
from fetchline.worker.crash import WorkerCrashed
from fetchline.worker.remote import FarCall, close_run, perform, perform_pickled
from fetchline.worker.sessions import OPENING
from fetchline.worker.transport import dump, load, load_error

__all__ = ["Pusher", "push"]

_Answer = tuple[Hand, Slot, int, "Future[Any]"]


def push(source: Source, executor: Any, concurrency: int, *, run_id: str, pickled: bool) -> threading.Thread:
    """Submit to ``executor`` from a thread of the run's own, which ends after the run does.

    A timeout counts from the submission. An answer that comes after it is ignored, but the executor's place
    is taken until then.
    """
    pusher = Pusher(source, executor=executor, run_id=run_id, pickled=pickled)
    thread = threading.Thread(target=pusher.work, args=(concurrency,), name="fetchline-push", daemon=True)
    thread.start()
    return thread


class Pusher:
    """Submits attempts and takes their answers, on one thread.

    Args:
        executor: whose they are; ``pickled`` says that its workers are not in this process.
        lane: a process of ours instead: its attempts say when they begin and can be cancelled, and when it
            dies with several in flight nobody is charged before each of them has been tried alone.
        worker: the worker whose thread this is, if it may be wanted elsewhere.
    """

    def __init__(
        self,
        source: Source,
        *,
        executor: Any = None,
        run_id: str = "",
        pickled: bool = False,
        lane: Any = None,
        worker: Worker | None = None,
    ) -> None:
        self.source = source
        self.executor = executor
        self.run_id = run_id
        self.pickled = pickled
        self.lane = lane
        self.worker = worker
        self.gate = ThreadGate()
        self.answers: deque[_Answer] = deque()
        self.idle: list[Hand] = []
        self.busy: set[Hand] = set()
        self.alone: tuple[Hand, Slot] | None = None
        self.crowd = False  # the last of several that went down together must not be taken for a lone one

    def work(self, concurrency: int) -> None:
        """Push until the run is over."""
        source = self.source
        if self.worker is not None:
            self.worker.call = self.gate.ring
        self.idle = [self._new_hand() for _ in range(concurrency)]
        try:
            while True:
                while self.answers:
                    self._take(*self.answers.popleft())
                if self._start() and all(source.left(hand) for hand in self.busy):
                    return
                if not self.busy and self._is_wanted():
                    return
                self.gate.wait()
        except BaseException as bug:  # a pusher that dies silently would hang the run
            source.broke(bug)
        finally:
            for hand in (*self.idle, *self.busy):
                source.leave(hand)
            if self.lane is None and not self.pickled:
                close_run(self.run_id)

    def _is_wanted(self) -> bool:
        """Whether this thread has been given to others that want it."""
        worker = self.worker
        return worker is not None and worker.wanted() and self.source.step_aside(self.idle[-1], worker)

    def _start(self) -> bool:
        """Start what may be started; whether the run is over."""
        while self.alone is not None or self.idle:
            if self.alone is not None:
                if self.busy:
                    return False
                hand, slot = self.alone
                self.alone = None
                self._submit(hand, slot)
                return False
            slot_next, over = self.source.ask(self.idle[-1])
            if slot_next is None:
                return over
            self._go_on(self.idle.pop(), slot_next)
        return self.source.is_over()

    def _go_on(self, hand: Hand, slot: Slot) -> None:
        """Submit a slot, or keep it until it can be tried alone."""
        if slot.index in self.source.suspects:
            self.alone = (hand, slot)
        else:
            self._submit(hand, slot)

    def _new_hand(self) -> Hand:
        kill = None if self.lane is None else self.lane.kill
        hand = Hand(self.gate, self.gate.ring, kill, leaves=False)
        self.source.enter(hand)
        return hand

    def _submit(self, hand: Hand, slot: Slot) -> None:
        source, token = self.source, slot.token
        self.busy.add(hand)
        troubles = slot.troubles
        first, memo = (0.0, None) if troubles is None else (troubles.first, troubles.memo)
        call = FarCall(slot.index, slot.item, slot.number, slot.charged, first, memo)
        future: Future[Any]
        try:
            if self.lane is not None:
                future = self._send(hand, slot, call)
            elif self.pickled:
                payload = dump(call, f"the item {slot.item!r:.100}")
                future = self.executor.submit(perform_pickled, self.run_id, source.blob(), payload)
            else:
                future = self.executor.submit(perform, self.run_id, source.program, source.context, call)
        except Exception as error:
            # A pool that is broken or shut down, or something that does not pickle.
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: self._answered(hand, slot, token, done))

    def _send(self, hand: Hand, slot: Slot, call: FarCall) -> Future[Any]:
        source, lane, token = self.source, self.lane, slot.token

        def begun(at: float) -> None:
            with source.lock:
                if slot.token == token:
                    slot.began = at

        payload, blob = dump(call, f"the item {slot.item!r:.100}"), source.blob()
        if source.program.timeout is not None:
            begun(OPENING)  # until it says otherwise
        future: Future[Any] = lane.submit(blob, payload, begun)
        hand.replace = lambda: lane.cancel(future)
        return future

    def _answered(self, hand: Hand, slot: Slot, token: int, future: Future[Any]) -> None:
        self.answers.append((hand, slot, token, future))
        self.gate.ring()

    def _take(self, hand: Hand, slot: Slot, token: int, future: Future[Any]) -> None:
        self.busy.discard(hand)
        gone = self.source.left(hand)
        following = self._outcome(hand, slot, token, future)
        if following is not None:
            if self.alone is None:
                self._go_on(hand, following)
                return
            self._give_back(following)
        # The place of an attempt that timed out is free again now: a new hand takes it.
        self.idle.append(self._new_hand() if gone else hand)

    def _give_back(self, slot: Slot) -> None:
        with self.source.lock:
            self.source.schedule.give_back([slot])
            self.source.wake_one()

    def _outcome(self, hand: Hand, slot: Slot, token: int, future: Future[Any]) -> Slot | None:
        source = self.source
        try:
            answer = future.result()
        except CancelledError as error:
            return source.failed(hand, slot, token, error)
        except BaseException as error:
            return self._failed(hand, slot, token, error)
        if self.lane is None and not self.pickled:
            return source.done(hand, slot, token, answer)
        try:
            fine, value, verdict = load(answer) if self.lane is None else load(*answer[1:])
            if not fine:
                value = load_error(value)
        except BaseException as error:
            refused = Unpicklable(
                f"the value came back, but cannot be loaded here: {type(error).__name__}: {error}"
            )
            fine, value, verdict = False, refused, Verdict("permanent", "unpicklable")
        if fine:
            return source.done(hand, slot, token, value)
        return source.failed(hand, slot, token, value, verdict)

    def _failed(self, hand: Hand, slot: Slot, token: int, error: BaseException) -> Slot | None:
        source = self.source
        if self.lane is not None and isinstance(error, WorkerCrashed):
            again = source.program.judge.idempotent
            if again and slot.index not in source.suspects and (self.busy or self.crowd):
                # Several were in flight: which of them did it is found out by trying each alone.
                self.crowd = bool(self.busy)
                source.suspects.add(slot.index)
                if slot.token == token:
                    self._give_back(slot)
                return None
            return source.failed(hand, slot, token, error, source.program.judge.crash())
        if _is_broken(error):
            crash = WorkerCrashed(f"the executor lost the worker: {type(error).__name__}: {error}")
            crash.__cause__ = error
            return source.failed(hand, slot, token, crash, source.program.judge.crash())
        return source.failed(hand, slot, token, error)


def _is_broken(error: BaseException) -> bool:
    """Whether a pool says that it lost a worker: concurrent.futures', loky's, and those like them."""
    return any("Broken" in kind.__name__ for kind in type(error).__mro__)
