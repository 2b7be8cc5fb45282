"""Attempts on somebody else's executor: submitted one by one, as many as may be in flight."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

from fetchline.core.slots import Slot
from fetchline.drive.gates import ThreadGate
from fetchline.drive.hands import Hand
from fetchline.drive.source import Source
from fetchline.errors import FetchlineError, SessionFailed, Unpicklable, text_of
from fetchline.interfaces import Verdict, Worker
from fetchline.worker.context import Past
from fetchline.worker.crash import WorkerCrashed
from fetchline.worker.remote import FarCall, close_run, perform, perform_pickled, rest, rouse
from fetchline.worker.sessions import OPENING
from fetchline.worker.transport import dump, load, load_error, show

__all__ = ["Pusher", "push"]

_TURN_S = 0.002  # what a future may carry of cheap attempts, before others in the pool have their turn

_Answer = tuple["_PushHand", Slot, int, "Future[Any]", Any]


class Lost(Exception):  # not an error: it never leaves the run
    """An attempt was lost through no fault of its own."""


def push(
    source: Source,
    executor: Any,
    concurrency: int,
    *,
    run_id: str,
    pickled: bool,
    renew: Callable[[], Any] | None = None,
) -> Pusher:
    """Submit to ``executor`` from a thread of the run's own, which ends after the run does.

    A timeout counts from the submission. An answer that comes after it is ignored, but the executor's place
    is taken until then.

    Args:
        renew: gives another executor in the place of one that is broken; None where it is the caller's.
    """
    pusher = Pusher(source, executor=executor, run_id=run_id, pickled=pickled, renew=renew)
    pusher.thread = threading.Thread(
        target=pusher.work, args=(concurrency,), name="fetchline-push", daemon=True
    )
    pusher.thread.start()
    return pusher


class _PushHand(Hand):
    """An attempt elsewhere: it can be ended in a process of ours, its ``lane``, and not with anybody else."""

    __slots__ = ("future", "lane")

    def __init__(self, gate: ThreadGate, lane: Any) -> None:
        super().__init__(gate, leaves=False)
        self.lane = lane
        self.future: Future[Any] | None = None

    def replace(self) -> None:
        if self.future is not None:
            self.lane.cancel(self.future)
        self.gate.ring()

    def interrupt(self) -> bool:
        if self.lane is None:
            return False
        self.lane.kill()
        return True


class Pusher:
    """Submits attempts and takes their answers, on one thread.

    Where workers can be replaced and die with several attempts in flight, nobody is charged before each of them
    has been tried alone.

    Args:
        executor: whose they are; ``pickled`` says that its workers are not in this process.
        renew: as for ``push``.
        lane: a process of ours instead: its attempts say when they begin and can be cancelled.
        worker: the worker whose thread this is, if it may be wanted elsewhere.
    """

    def __init__(
        self,
        source: Source,
        *,
        executor: Any = None,
        run_id: str = "",
        pickled: bool = False,
        renew: Callable[[], Any] | None = None,
        lane: Any = None,
        worker: Worker | None = None,
    ) -> None:
        self.source = source
        self.executor = executor
        self.run_id = run_id
        self.pickled = pickled
        self.renew = renew
        self.lane = lane
        self.thread: threading.Thread | None = None
        self.worker = worker
        self.gate = ThreadGate()
        self.answers: deque[_Answer] = deque()
        self.idle: list[_PushHand] = []
        self.busy: set[_PushHand] = set()
        self.until = 0.0  # the lane rests, for it could not log in
        self.alone: tuple[_PushHand, Slot] | None = None
        self.crowd = False  # the last of several that went down together must not be taken for a lone one

    def work(self, concurrency: int) -> None:
        """Push until the run is over."""
        source = self.source
        source.watchers.add(self.gate)
        if self.worker is not None:
            self.worker.call = self.gate.ring
        self.idle = [self._new_hand() for _ in range(concurrency)]
        try:
            while True:
                while self.answers:
                    self._take(*self.answers.popleft())
                nap = self.until - source.clock()
                if source.is_over() if nap > 0 else self._start():
                    rouse(self.run_id)
                    if all(source.left(hand) for hand in self.busy):
                        return
                # While the lane rests, one that is to be tried alone may still be in hand.
                if not self.busy and self.alone is None and self._is_wanted():
                    return
                self.gate.wait(nap if nap > 0 else -1)
        except BaseException as bug:  # a pusher that dies silently would hang the run
            source.broke(bug)
        finally:
            source.watchers.discard(self.gate)
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

    def _go_on(self, hand: _PushHand, slot: Slot) -> None:
        """Submit a slot, or keep it until it can be tried alone."""
        if slot.index in self.source.suspects:
            self.alone = (hand, slot)
        else:
            self._submit(hand, slot)

    def _new_hand(self) -> _PushHand:
        hand = _PushHand(self.gate, self.lane)
        self.source.enter(hand)
        return hand

    def _submit(self, hand: _PushHand, slot: Slot) -> None:
        source, token = self.source, slot.token
        self.busy.add(hand)
        future: Future[Any]
        try:
            if self.lane is not None:
                future = self._send(hand, slot)
            elif self.pickled:
                future = self.executor.submit(
                    perform_pickled, self.run_id, source.program.blob(), _pack(slot)
                )
            else:
                future = self.executor.submit(_attempt_some, self.run_id, source, hand, slot, token)
        except Unpicklable as error:
            future = Future()
            future.set_exception(error)
        except Exception as error:
            self._refused(hand, slot, token, error)
            return
        executor = self.executor
        future.add_done_callback(lambda done: self._answered((hand, slot, token, done, executor)))

    def _refused(self, hand: _PushHand, slot: Slot, token: int, error: Exception) -> None:
        """The executor is broken or has been shut down: another takes its place, or nothing more is attempted."""
        source = self.source
        self.busy.discard(hand)
        if self.renew is not None and _is_broken(error):
            self._replace(self.executor)
            self.source.put_back(slot)
        else:
            crash = WorkerCrashed(
                f"the executor takes no more calls: {type(error).__name__}: {text_of(error)}"
            )
            crash.__cause__ = error
            verdict = Verdict("permanent", "crashed")
            with source.lock:
                if source.schedule.refuse(slot, token, crash, verdict, source.clock()):
                    source.ring_host()
        self.idle.append(hand)
        self.gate.ring()

    def _replace(self, broken: Any) -> None:
        if self.renew is not None and self.executor is broken:
            broken.shutdown(wait=False)
            self.executor = self.renew()

    def _send(self, hand: _PushHand, slot: Slot) -> Future[Any]:
        source, lane, token = self.source, self.lane, slot.token

        def begun(at: float) -> None:
            with source.lock:
                if slot.token == token:
                    slot.began = at

        payload, blob = _pack(slot), source.program.blob()
        if source.program.tells_when(slot):
            begun(OPENING)  # until it says otherwise
        future: Future[Any] = lane.submit(blob, payload, begun)
        hand.future = future
        return future

    def _answered(self, answer: _Answer) -> None:
        self.answers.append(answer)
        self.gate.ring()

    def _take(self, hand: _PushHand, slot: Slot, token: int, future: Future[Any], executor: Any) -> None:
        source = self.source
        self.busy.discard(hand)
        gone = source.left(hand)
        if hand.slot is not None:
            slot, token = hand.slot, hand.token  # it may have gone on to others
        if _is_broken(future.exception() if not future.cancelled() else None):
            self._replace(executor)
        following = self._outcome(hand, slot, token, future)
        if following is not None:
            if self.alone is None:
                self._go_on(hand, following)
                return
            source.put_back(following)
        # The place of an attempt that timed out is free again now: a new hand takes it.
        self.idle.append(self._new_hand() if gone else hand)

    def _outcome(self, hand: Hand, slot: Slot, token: int, future: Future[Any]) -> Slot | None:
        source = self.source
        try:
            answer = future.result()
        except CancelledError as error:
            return source.failed(hand, slot, token, error)
        except BaseException as error:
            return self._failed(hand, slot, token, error)
        if self.lane is None and not self.pickled:
            if hand.slot is not answer and not source.left(hand):
                lost = FetchlineError(f"the executor gave {answer!r} for a call that did not return that")
                return source.failed(hand, slot, token, lost)
            following: Slot | None = answer
            return following
        try:
            fine, value, verdict = load(answer) if self.lane is None else load(*answer[1:])
            if not fine:
                value = load_error(value)
        except BaseException as error:
            refused = Unpicklable(
                f"the value came back, but cannot be loaded here: {type(error).__name__}: {text_of(error)}"
            )
            refused.__cause__ = error
            fine, value, verdict = False, refused, source.program.judge.lost_value()
        if fine:
            hand.shut_out = 0
            return source.done(hand, slot, token, value)
        if self.lane is not None:
            self.until = max(self.until, source.clock() + source.exile.sentence(hand, value))
        return source.failed(hand, slot, token, value, verdict)

    def _failed(self, hand: Hand, slot: Slot, token: int, error: BaseException) -> Slot | None:
        source = self.source
        judge = source.program.judge
        if isinstance(error, Lost) and judge.idempotent:
            self._acquit(slot, token)
            return None
        if not (_is_broken(error) or isinstance(error, Lost)):
            return source.failed(hand, slot, token, error)
        if self.lane is not None or self.renew is not None:
            is_over = source.schedule.stopping is not None  # what was in flight then has been attempted
            again = judge.idempotent and slot.index not in source.suspects and not is_over
            if again and (self.busy or self.crowd):
                # Several were in flight: which of them did it is found out by trying each alone.
                self.crowd = bool(self.busy)
                source.suspects.add(slot.index)
                self._acquit(slot, token)
                return None
        if not isinstance(error, WorkerCrashed):
            crash = WorkerCrashed(f"the executor lost the worker: {type(error).__name__}: {text_of(error)}")
            crash.__cause__ = error
            error = crash
        return source.failed(hand, slot, token, error, judge.crash(begun=slot.began != OPENING))

    def _acquit(self, slot: Slot, token: int) -> None:
        """Give back an attempt that ended through no fault of its own, as far as is known."""
        if slot.token == token:
            self.source.put_back(slot)


def _pack(slot: Slot) -> bytes:
    """The item of a slot, as a worker elsewhere is told of it."""
    call = FarCall(slot.index, slot.item, slot.number, Past.of(slot))
    return dump(call, lambda: f"the item {show(slot.item)}")


def _attempt_some(run_id: str, source: Source, hand: Hand, slot: Slot, token: int) -> Slot | None:
    """Make an attempt on a thread of somebody's pool, and further ones while they are cheap.

    Waking two threads for each item would cost many times what a cheap one takes. An error ends the turn, so that
    the future tells the pool of it; not of a login that failed, for others are to have the item before this thread.

    Returns:
        The slot that was taken when the turn was over.
    """
    program, context = source.program, source.context
    if slot.token != token:
        source.came_back()  # it waited in the pool for too long, and is not wanted any more
        return None
    following: Slot | None = slot
    abandon = None if program.session is None else partial(source.abandon, hand)
    until = source.clock() + _TURN_S
    while following is not None:
        try:
            value = perform(run_id, program, context, following, abandon)
        except SessionFailed as error:
            hand.shut_out = 1  # it gets no other slot for it
            source.failed(hand, following, token, error)
            hand.shut_out = 0
            rest(run_id, error)
            return None
        following = source.done(hand, following, token, value)
        if following is not None:
            token = following.token
            if following.began > until:
                break
    return following


def _is_broken(error: BaseException | None) -> bool:
    """Whether a pool says that it lost a worker: concurrent.futures', loky's, and those like them."""
    return any("Broken" in kind.__name__ for kind in type(error).__mro__)
