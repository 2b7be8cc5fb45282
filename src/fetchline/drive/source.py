"""One run, as its workers see it: a schedule under one lock, an inbox, and whoever is parked.

Workers of every kind come here for their next attempt and bring back the last one's outcome in the same
step, so the lock is taken once for each item. No user code runs under the lock, and no thread is started
under it. A worker that finds nothing parks on its gate and is rung by whoever makes something startable;
one ring wakes one worker, and that one wakes the next.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from fetchline.core.limits import NEVER
from fetchline.core.schedule import Schedule
from fetchline.core.slots import DONE, Slot
from fetchline.drive.exile import Exile
from fetchline.drive.gates import Gate, ring, take
from fetchline.drive.hands import Attempted, Errand, Hand, nobody
from fetchline.drive.keeper import Keeper
from fetchline.drive.named import Pacer
from fetchline.interfaces import LoopWorker, Verdict, Worker
from fetchline.pace import Pace
from fetchline.results import ErrorCode
from fetchline.sizes import size_of
from fetchline.worker.attempt import Program, make_portable

__all__ = ["Source"]


class Source:
    """The driver's side of one run; ``interfaces.Source`` for pulling workers.

    Args:
        schedule: the run's schedule; only touched under ``lock`` from here on.
        program: what the workers make attempts of.
        context: the caller's context variables; each worker runs in a copy.
        width: attempts at once on each worker; more than 1 for coroutines in processes.
        pace: a pace that is shared with other runs, which grants every start.
        max_abandoned: attempts that may be stuck past their timeout before the run is stopped.
    """

    def __init__(
        self,
        schedule: Schedule,
        program: Program,
        *,
        context: Context | None = None,
        width: int = 1,
        max_abandoned: int = 1 << 30,
        trace: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self.lock = threading.Lock()
        self.schedule = schedule
        self.program = program
        self.context = context
        self.inbox: deque[Any] = deque()
        self.attempts: deque[Attempted] | None = deque() if trace else None
        self.abandoned = 0
        self.gave_up = False
        self.suspects: set[int] = set()
        self.trials: Counter[ErrorCode] = Counter()  # failed attempts that were not the last, by code
        self.bug: BaseException | None = None
        self.clock = time.monotonic
        self.width = width
        self.weigh: Callable[[Any], float] | None = size_of if schedule.limits.hold < NEVER else None
        self.max_abandoned = max_abandoned
        self.hands: set[Hand] = set()
        self.exile = Exile(self)
        self.parked: deque[Hand] = deque()
        self.watchers: set[Gate] = set()  # rung at the end, parked or not
        self.host: Gate | None = None
        self._alarm = 0
        self.awaited: Slot | None = None
        self.keeper = Keeper(self)
        self.pacer = None if pace is None else Pacer(self, pace)
        self._feeder: Gate | None = None
        self.closed = False

    # -- threads that make attempts themselves --------------------------------------------------------------

    def serve(self, worker: Worker) -> None:
        """Take and make attempts on this thread until the run is over."""
        from fetchline.drive.serving import serve

        serve(self, worker)

    def aserve(self, worker: LoopWorker, tasks: int) -> None:
        """Start that many tasks that take and make attempts on this loop."""
        from fetchline.drive.loop import start_tasks

        start_tasks(self, worker, tasks)

    # -- what every kind of worker calls --------------------------------------------------------------------

    def enter(self, hand: Hand) -> None:
        with self.lock:
            self.hands.add(hand)

    def join(self, hand: Hand) -> Slot | None:
        """Enter, and take the next slot if there is one now."""
        now = self.clock()
        with self.lock:
            self.hands.add(hand)
            return None if self._over() else self.lease(hand, now)

    def leave(self, hand: Hand) -> None:
        with self.lock:
            self.hands.discard(hand)
            self._unpark(hand)
            if self.host is not None and not self.hands:
                self.host.ring()

    def step_aside(self, hand: Hand, worker: Worker) -> bool:
        """Let a worker that has nothing to do go where it is wanted; False: it has something to do after all.

        In its place stands an errand: whoever would ring the hand has a worker sent here instead.
        """
        with self.lock:
            if not self._retire(hand):
                return False
            errand = Hand(Errand(lambda: worker.queue(self.serve)))
            errand.parked = True
            self.parked.append(errand)
            return True

    def retire(self, hand: Hand) -> bool:
        """Let a parked hand go for good; False: it has been rung, and must look again."""
        with self.lock:
            return self._retire(hand)

    def _retire(self, hand: Hand) -> bool:
        if not hand.parked:
            return False
        self._unpark(hand)
        self.hands.discard(hand)
        return True

    def abandon(self, hand: Hand) -> None:
        """A worker is stuck in something that is no attempt's: others get what it has in hand, and it a successor."""
        with self.lock:
            if hand not in self.hands:
                return
            self.hands.discard(hand)
            self.abandoned += 1
            if hand.slot is not None and hand.slot.token == hand.token:
                self.schedule.give_back([hand.slot])
                self.wake_one()
        hand.replace()

    def came_back(self) -> None:
        """An attempt that had been given up has ended after all."""
        with self.lock:
            self.abandoned -= 1

    def is_over(self) -> bool:
        """Whether there is nothing more to start."""
        with self.lock:
            return self._over()

    def left(self, hand: Hand) -> bool:
        """Whether the hand has been given up: its attempt timed out, or the run did not wait for it."""
        return hand not in self.hands

    def ask(self, hand: Hand) -> tuple[Slot | None, bool]:
        """Take the next slot, or park: ``(slot, over)``. A parked hand is rung when it should ask again."""
        now = self.clock()
        with self.lock:
            if hand not in self.hands:
                return None, True
            # Parked before it looks: the feeder appends before it looks for somebody parked.
            if not hand.parked:
                hand.parked = True
                self.parked.append(hand)
            slot = self.lease(hand, now)
            if slot is not None:
                return slot, False
            over = self._over() or (hand.leaves and self._spare())
            if over:
                self._unpark(hand)
                self.hands.discard(hand)
            start = self.keeper.arm(now)
        start()
        return None, over

    def done(self, hand: Hand, slot: Slot, token: int, value: Any) -> Slot | None:
        """Bring a value, take the next slot; None if there is none now or the hand was given up."""
        now = self.clock()
        weight = 0.0 if self.weigh is None else self.weigh(value)
        lock = self.lock
        if not lock.acquire(False):
            take(lock)
        try:
            if not self.schedule.succeed(slot, token, value, now, 1, weight):
                self.abandoned -= 1
                return None
            if self.pacer is not None and slot.members:
                self.pacer.hear(value.misses.values(), now)
            if self.attempts is not None:
                self.trace(slot, None)
            if self.host is not None:
                self.ring_host()
            following = self.lease(hand, now)
            # An answer may have made room for what waits; whoever brought it may leave.
            start = nobody if following is not None else self.keeper.arm(now)
        finally:
            lock.release()
        if following is None:
            start()
        return following

    def failed(
        self, hand: Hand, slot: Slot, token: int, error: BaseException, verdict: Verdict | None = None
    ) -> Slot | None:
        """Bring an error, take the next slot; the error is judged here, on the worker, if it was not yet."""
        if verdict is None:
            verdict = self.program.verdict(error, slot)
            error = make_portable(self.program, error)
        now = self.clock()
        with self.lock:
            if not self.fail_here(slot, token, error, verdict, now):
                self.abandoned -= 1
                return None
            slot_next = None if hand.shut_out else self.lease(hand, now)
            if slot_next is None:
                hand.slot = None
                self.wake_one()
            start = self.keeper.arm(now)
        start()
        return slot_next

    def put_back(self, slot: Slot | None) -> None:
        """Return a slot that was taken and not begun: somebody else may have it."""
        if slot is not None:
            with self.lock:
                self.schedule.give_back([slot])
                self.wake_one()

    def fail_here(
        self, slot: Slot, token: int, error: BaseException, verdict: Verdict, now: float, units: int = 1
    ) -> bool:
        """Finish a failed attempt; call with the lock held."""
        end = self.schedule.crashed if verdict.code == "crashed" else self.schedule.fail
        if not end(slot, token, error, verdict, now, units):
            return False
        if slot.state < DONE:
            self.trials[verdict.code] += 1
        if self.pacer is not None and verdict.kind == "throttled":
            self.pacer.cool_down(now + verdict.delay)
        if self.attempts is not None:
            self.trace(slot, verdict)
        if self.host is not None:
            self.ring_host()
        return True

    def lease(self, hand: Hand, now: float) -> Slot | None:
        schedule = self.schedule
        if self.inbox:
            self._drain_inbox(now)
        slot = schedule.lease(now)
        if slot is None:
            hand.slot = None
            if schedule.done or schedule.unwritten:
                self.ring_host()  # what came of others may be that of items just taken
            if self.pacer is not None and schedule.wants_grant:
                self.pacer.want()
            return None
        hand.slot = slot
        hand.token = slot.token
        if schedule.unwritten:
            self.ring_host()
        if self.parked:
            if hand.parked:
                self._unpark(hand)
            if self.parked and schedule.running < schedule.concurrency and schedule.startable:
                self.wake_one()
            elif schedule.lingers and self.keeper.gate is not None:
                self.keeper.arm(now)  # for what was too little to go along
        return slot

    def _drain_inbox(self, now: float) -> None:
        items = [self.inbox.popleft() for _ in range(len(self.inbox))]
        if self.schedule.limits.dedupe is None:
            self.schedule.feed(items, now)
        else:
            self.schedule.feed([item for _, item in items], now, [key for key, _ in items])

    def _over(self) -> bool:
        if self.closed or self.schedule.stopping is not None:
            return True
        if self.schedule.finished and not self.inbox:
            self._wake_all()
            return True
        return False

    def _unpark(self, hand: Hand) -> None:
        if hand.parked:
            hand.parked = False
            self.parked.remove(hand)

    def _spare(self) -> bool:
        """Whether there are more hands than items that may still want one: the input has ended."""
        schedule = self.schedule
        if not schedule.closed or self.inbox or len(self.hands) <= schedule.unsettled:
            return False
        # The last items are not left to those that could not log in.
        return len(self.hands) - self.exile.count() > schedule.unsettled

    def wake_one(self) -> None:
        """Ring a parked worker, if there is one; call with the lock held."""
        if self.parked:
            hand = self.parked.popleft()
            hand.parked = False
            hand.gate.ring()

    def _wake_all(self) -> None:
        ring(*(hand.gate for hand in self.parked), *self.watchers)

    def trace(self, slot: Slot, verdict: Verdict | None) -> None:
        assert self.attempts is not None
        number = 1 if slot.troubles is None else slot.troubles.attempts
        self.attempts.append((slot, number, verdict, slot.ended - slot.began))

    def broke(self, bug: BaseException) -> None:
        """A worker met an error that is no item's: stop the run with it."""
        with self.lock:
            if self.bug is None:
                self.bug = bug
            self.stop_here("cancelled")

    # -- the input ------------------------------------------------------------------------------------------

    def room(self) -> int:
        """How many items are welcome; a close guess while workers are busy, never too low for ever."""
        return self.schedule.room() - len(self.inbox)

    def put(self, item: Any) -> None:
        """Hand in one item, from any thread."""
        self.inbox.append(item)
        if self.parked:
            self.poke()

    def poke(self) -> None:
        """Look whether a parked worker has something to do."""
        with self.lock:
            now = self.clock()
            if self.inbox:
                self._drain_inbox(now)
            if self.parked and self.schedule.startable and self.schedule.running < self.schedule.concurrency:
                self.wake_one()
            if self.schedule.unwritten:
                self.ring_host()
            # What came may be too little for a call, and nobody looks again before there is more.
            start = self.keeper.arm(now)
        start()

    def close_input(self) -> None:
        with self.lock:
            if self.inbox:
                self._drain_inbox(self.clock())
            self.schedule.close_input()
            if self.schedule.finished:
                self._wake_all()
            elif self.schedule.startable:
                self.wake_one()
            ring(self.host)

    def room_or_ring(self, gate: Gate) -> int | None:
        """How much room there is; 0: the gate is rung when there is some; None: the run has stopped."""
        with self.lock:
            if self.schedule.stopping is not None or self.closed:
                return None
            room = max(self.room(), 0)
            if room == 0:
                self._feeder = gate
            return room

    # -- the host -------------------------------------------------------------------------------------------

    def collect(self, *, ordered: bool, limit: int) -> tuple[list[Slot], list[Slot], bool]:
        """Take what is finished: ``(settled, heads, over)``; heads only where the run is ordered."""
        with self.lock:
            self.host = None
            schedule = self.schedule
            now = self.clock()
            if self.inbox:
                self._drain_inbox(now)
            settled = schedule.drain(now)
            heads = schedule.heads(limit) if ordered else []
            over = schedule.finished and not self.inbox and not schedule.done
            return settled, heads, over and (not ordered or schedule.head is None)

    def release(self, count: int) -> None:
        """So many results have been handed out: the feeder may go on."""
        with self.lock:
            self.schedule.release(count)
            feeder, self._feeder = self._feeder, None
            if self.parked and self.schedule.startable:
                self.wake_one()
        ring(feeder)

    def expect(self, gate: Gate, *, alarm: int, ordered: bool) -> bool:
        """Have ``gate`` rung when the head of the line is finished, or ``alarm`` results are; False: they are."""
        with self.lock:
            schedule = self.schedule
            head = schedule.head if ordered else None
            ready = len(schedule.done) >= alarm or (head is not None and head.state >= DONE)
            if schedule.stopping is not None and schedule.backlog and schedule.room() > 0:
                ready = True  # what is left of the input is cancelled as it is collected
            over = self.bug is not None or (schedule.finished and not self.inbox)
            if ready or over or schedule.wants_writing:
                return False
            # With nothing in the line, whatever is finished first is its head.
            self.host, self._alarm, self.awaited = gate, 1 if ordered and head is None else alarm, head
            return True

    def ring_host(self) -> None:
        """Ring the host if what it waits for is there; with the lock held."""
        schedule = self.schedule
        awaited = self.awaited
        if self.host is not None and (
            (awaited is not None and awaited.state >= DONE)
            or len(schedule.done) >= self._alarm
            or schedule.stopping is not None
            or schedule.memos
            or schedule.wants_writing
            or (schedule.running == 0 and schedule.finished)
        ):
            self.host.ring()
            self.host = None

    def to_write(self) -> list[Slot]:
        """Which slots come next and wait for it to be written down."""
        if not self.schedule.unwritten:
            return []
        with self.lock:
            return self.schedule.to_write()

    def admit(self, slots: list[Slot]) -> None:
        """These may start."""
        with self.lock:
            self.schedule.admit(slots)
        self.poke()

    # -- stopping -------------------------------------------------------------------------------------------

    def stop(self, code: ErrorCode = "cancelled") -> None:
        """Start nothing more."""
        with self.lock:
            self.stop_here(code)

    def stop_here(self, code: ErrorCode, cause: BaseException | None = None) -> None:
        """The same with the lock held; ``cause`` is why, for what has no error of its own."""
        if self.inbox:
            self._drain_inbox(self.clock())
        self.schedule.stop(code, cause)
        self._wake_all()
        ring(self.host, self._feeder, self.keeper.gate)

    def interrupt(self) -> bool:
        """End the attempts in flight where that can be done: coroutines and processes; whether there were any."""
        with self.lock:
            busy = [hand for hand in self.hands if hand.slot is not None]
        return any([hand.interrupt() for hand in busy])  # noqa: C419  # each of them, not up to the first

    def give_up(self) -> None:
        """Finish the attempts still in flight without their answers; their threads are abandoned."""
        replace = []
        with self.lock:
            now = self.clock()
            for hand in list(self.hands):
                gave = False
                held = [] if hand.slot is None else [(hand.slot, hand.token), *hand.riders]
                for slot, token in held:
                    gave |= self.schedule.give_up(slot, token, now, 0 if gave else 1)
                if gave:
                    self.hands.discard(hand)
                    self.abandoned += 1
                    self.gave_up = True
                    replace.append(hand.replace)
        for call in replace:
            call()

    def close(self) -> None:
        """End of the run: nobody waits here any longer."""
        with self.lock:
            self.closed = True
            self._wake_all()
            ring(self.keeper.gate, self._feeder, None if self.pacer is None else self.pacer.gate)

    def watch(self) -> None:
        """Keep time: something may be due next."""
        with self.lock:
            start = self.keeper.arm(self.clock(), anyway=self.schedule.lingers)
        start()
