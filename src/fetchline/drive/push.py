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
from fetchline.interfaces import Verdict
from fetchline.worker.crash import WorkerCrashed
from fetchline.worker.remote import FarCall, close_run, perform, perform_pickled
from fetchline.worker.transport import dump, load, load_error

__all__ = ["push"]

_Answer = tuple[Hand, Slot, int, "Future[Any]"]


def push(source: Source, executor: Any, concurrency: int, *, run_id: str, pickled: bool) -> None:
    """Submit to ``executor`` from a thread of the run's own, until the run is over.

    A timeout counts from the submission. An answer that comes after it is ignored, but the executor's place
    is taken until then.
    """
    pusher = _Pusher(source, executor, run_id, pickled)
    thread = threading.Thread(target=pusher.work, args=(concurrency,), name="fetchline-push", daemon=True)
    thread.start()


class _Pusher:
    def __init__(self, source: Source, executor: Any, run_id: str, pickled: bool) -> None:
        self.source = source
        self.executor = executor
        self.run_id = run_id
        self.pickled = pickled
        self.gate = ThreadGate()
        self.answers: deque[_Answer] = deque()

    def work(self, concurrency: int) -> None:
        source = self.source
        idle = [self._new_hand() for _ in range(concurrency)]
        busy: set[Hand] = set()
        try:
            while True:
                while self.answers:
                    hand, slot, token, future = self.answers.popleft()
                    busy.discard(hand)
                    gone = source.left(hand)
                    following = self._take(hand, slot, token, future)
                    if following is not None:
                        busy.add(hand)
                        self._submit(hand, following)
                    else:
                        # The place of an attempt that timed out is free again now: a new hand takes it.
                        idle.append(self._new_hand() if gone else hand)
                over = False
                while idle and not over:
                    slot_next, over = source.ask(idle[-1])
                    if slot_next is None:
                        break
                    hand = idle.pop()
                    busy.add(hand)
                    self._submit(hand, slot_next)
                if over and all(source.left(hand) for hand in busy):
                    return
                self.gate.wait()
        except BaseException as bug:  # a pusher that dies silently would hang the run
            source.broke(bug)
        finally:
            for hand in (*idle, *busy):
                source.leave(hand)
            if not self.pickled:
                close_run(self.run_id)

    def _new_hand(self) -> Hand:
        hand = Hand(self.gate, replace=self.gate.ring)
        self.source.enter(hand)
        return hand

    def _submit(self, hand: Hand, slot: Slot) -> None:
        source, token = self.source, slot.token
        troubles = slot.troubles
        first, memo = (0.0, None) if troubles is None else (troubles.first, troubles.memo)
        call = FarCall(slot.index, slot.item, slot.number, slot.charged, first, memo)
        future: Future[Any]
        try:
            if self.pickled:
                payload = dump(call, f"the item {slot.item!r:.100}")
                future = self.executor.submit(perform_pickled, self.run_id, source.blob(), payload)
            else:
                future = self.executor.submit(perform, self.run_id, source.program, source.context, call)
        except Exception as error:
            # A pool that is broken or shut down, or something that does not pickle.
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: self._answered(hand, slot, token, done))

    def _answered(self, hand: Hand, slot: Slot, token: int, future: Future[Any]) -> None:
        self.answers.append((hand, slot, token, future))
        self.gate.ring()

    def _take(self, hand: Hand, slot: Slot, token: int, future: Future[Any]) -> Slot | None:
        source = self.source
        try:
            answer = future.result()
        except CancelledError as error:
            return source.failed(hand, slot, token, error)
        except BaseException as error:
            return self._failed(hand, slot, token, error)
        if not self.pickled:
            return source.done(hand, slot, token, answer)
        try:
            fine, value, verdict = load(answer)
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
        if _is_broken(error):
            crash = WorkerCrashed(f"the executor lost the worker: {type(error).__name__}: {error}")
            crash.__cause__ = error
            return source.failed(hand, slot, token, crash, source.program.judge.crash())
        return source.failed(hand, slot, token, error)


def _is_broken(error: BaseException) -> bool:
    """Whether a pool says that it lost a worker: concurrent.futures', loky's, and those like them."""
    return any("Broken" in kind.__name__ for kind in type(error).__mro__)
