"""The host: the thread or task that feeds the input, keeps the results, shows progress and hands out.

Everything of the user's that is not a fetch function runs here: keys, hooks, progress, stores. ``Host`` is
the thread that iterates a run, ``LoopHost`` the same for a coroutine; what they decide is one piece of code,
what they wait on differs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from fetchline.core.slots import Slot
from fetchline.drive.feed import Intake
from fetchline.drive.gates import Gate, LoopGate, ThreadGate
from fetchline.drive.hands import Hand
from fetchline.drive.interrupts import Interrupts
from fetchline.drive.source import Source
from fetchline.interfaces import Worker
from fetchline.worker.attempt import open_sync
from fetchline.worker.context import current

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["Host", "Interrupted", "Keeps", "LoopHost"]

_TICK_S = 0.1
# A signal that comes just before a lock is waited for does not end the wait: nobody would look at it.
_LOOK_S = 0.25
_BURST_S = 0.02  # attempts made here between two looks at what they came to
_LONG_S = 0.1
_END_S = 0.5  # for coroutines to unwind and killed processes to be noticed


class Interrupted(Exception):  # not an error: it never leaves the run
    """Ctrl-C reached the host."""


class Keeps(Protocol):
    """What writes results to a store."""

    def flush(self, *, awaited: bool = True, eager: bool = False) -> None:
        """Write what it is time to write, and report it: the three below in one."""

    def gather(self, *, awaited: bool = True, eager: bool = False) -> Any:
        """Take what it is time to write; None if there is nothing.

        ``awaited``: somebody waits for it; ``eager``: nobody may look again for long.
        """

    def write(self, gathered: Any) -> Any:
        """Write it, on whatever thread."""

    def settle(self, gathered: Any, written: Any) -> bool:
        """Report what was written; whether there is something to write because of that."""


class _Desk:
    """What both hosts decide.

    Args:
        sink: takes settled slots, in completion order.
        book: what the sink gathers and writes from time to time; nothing is handed out that it has not written.
        tick: called a few times a second; None where nobody looks.
        ordered: results leave in the order of the input; else as they are completed.
        emits: results are handed out, and count against the window until they have been.
        deadline: the time at which the run is stopped.
        grace: seconds running attempts get after a stop.
    """

    def __init__(
        self,
        source: Source,
        intake: Intake | None,
        *,
        sink: Callable[[list[Slot]], None],
        book: Keeps | None = None,
        tick: Callable[[], None] | None = None,
        ordered: bool = False,
        emits: bool = False,
        deadline: float | None = None,
        grace: float = 1.0,
    ) -> None:
        self.source = source
        self.intake = intake
        self.sink = sink
        self.book = book
        self.tick = tick
        self.ordered = ordered
        self.emits = emits
        self.deadline = deadline
        self.grace = grace
        window = source.schedule.limits.window
        self._limit = max(1, min(256, window // 8))
        if emits:
            self._alarm = 1 << 62 if ordered else 1
        else:
            self._alarm = max(1, min(4096, window // 2))
        self._handed_out = 0
        self._was_long = False
        self._stop_at: float | None = None
        self._end_at: float | None = None

    def take(self) -> tuple[list[Slot], bool]:
        """Keep what is finished; ``(slots to hand out once they are written, whether that was all)``.

        What was to be handed out the last time has left by now, or nobody wants it any more.
        """
        source = self.source
        if self._handed_out:
            source.release(self._handed_out)
            self._handed_out = 0
        settled, heads, over = source.collect(ordered=self.ordered, limit=self._limit)
        if not self.ordered and self.emits:
            heads = settled
        self._handed_out = len(heads)
        if settled:
            self.sink(settled)
            if not self.emits:
                source.release(len(settled))
        return heads, over

    def mind(self) -> bool:
        """Show progress, and see to stops; whether the run can only be left."""
        if self.tick is not None:
            self.tick()
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.source.stop("deadline")
        if self.source.schedule.stopping is not None:
            self._wind_down(hasty=False)
        return self._is_broken()

    def _is_broken(self) -> bool:
        """Whether a bug has left the run with nobody at work; not before its stuck threads have been replaced."""
        if self.source.bug is None or self.source.hands or self._stop_at is None:
            return False
        idle = not self.source.schedule.running and time.monotonic() >= self._stop_at
        return idle or self._end_at is not None

    def grace_left(self) -> float:
        """Seconds that are left of what a stop gives those at work; none before there is one."""
        return 0.0 if self._stop_at is None else max(0.0, self._stop_at - time.monotonic())

    def nap(self) -> float:
        """How long to wait at most, in seconds."""
        nap = _LOOK_S if self.tick is None else _TICK_S
        now = time.monotonic()
        if self.deadline is not None:
            nap = min(nap, self.deadline - now)
        for at in (self._stop_at, self._end_at):
            if at is not None:
                nap = min(nap, at - now)
        return max(nap, 0.001)

    def expect(self, gate: Gate) -> bool:
        return self.source.expect(gate, alarm=self._alarm, ordered=self.ordered)

    def _wind_down(self, hasty: bool) -> None:
        """After a stop: give what runs its grace, then end it, then do without it."""
        source = self.source
        now = time.monotonic()
        if self._stop_at is None:
            self._stop_at = now + self.grace
        if hasty:
            self._stop_at = now
        if source.schedule.running and now >= self._stop_at:
            if self._end_at is None:
                self._end_at = now + (_END_S if source.interrupt() else 0.0)
            if now >= self._end_at or hasty:
                source.give_up()


class Host(_Desk):
    """A run's host on the thread that called it.

    Args:
        inline: make the attempts here too (the serial executor).
    """

    def __init__(self, source: Source, intake: Intake | None, *, inline: bool = False, **desk: Any) -> None:
        super().__init__(source, intake, **desk)
        self._gate = ThreadGate()
        self.signals = Interrupts(self._gate)
        self._inline = inline
        self._make: Callable[[Any], Any] | None = None
        self._next: Slot | None = None
        self._hand = Hand(self._gate, leaves=False)
        self._stack = ExitStack()

    def run(self) -> None:
        """Feed and collect until everything is finished; results go to the sink.

        Raises:
            Interrupted: Ctrl-C; what was finished is in the sink, the rest is cancelled.
        """
        with self._closing():
            for _ in self._results():
                raise AssertionError("a run hands nothing out")

    def stream(self) -> Generator[list[Slot], None, None]:
        """Hand out slots, some at a time; they count against the window until the next ones are asked for."""
        with self._closing():
            try:
                yield from self._results()
            finally:
                # The consumer may have left early.
                if not self.source.schedule.finished:
                    self.source.stop()
                while not self._settle_once():
                    pass

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """Close what attempts here have kept; Ctrl-C ends a logout that hangs."""
        try:
            yield
        finally:
            with self.signals:
                self.signals.raising = True
                try:
                    self._stack.close()
                except KeyboardInterrupt:
                    self.signals.count += 1
                finally:
                    self.signals.raising = False

    def step(self) -> tuple[list[Slot], bool]:
        """Keep and write what is finished; ``(slots to hand out, whether that was all)``."""
        heads, over = self.take()
        if self.book is not None:
            self.book.flush(awaited=bool(heads), eager=self._was_long)
        return heads, self.mind() or over

    def _settle_once(self) -> bool:
        with self.signals:
            heads, over = self.step()
            if not heads and not over:
                self._wait()
        return over

    def _results(self) -> Iterator[list[Slot]]:
        interrupted = 0
        while True:
            with self.signals:
                heads, over = self.step()
                if not heads and not over:
                    if self._wants_input():
                        self._feed()
                    else:
                        self._wait()
                if self.signals.count > interrupted:
                    interrupted = self.signals.count
                    self.source.stop()
                    self._wind_down(hasty=interrupted > 1)
            if heads:
                # Whoever pressed Ctrl-C does not want to hear of each item that was not fetched.
                yield [slot for slot in heads if not _was_stopped(slot)] if interrupted else heads
            elif over:
                break
        if interrupted:
            raise Interrupted

    def _wants_input(self) -> bool:
        source, intake = self.source, self.intake
        if self._inline and (self._next is not None or source.schedule.startable):
            return False  # what is at hand goes first: nobody else attempts it meanwhile
        return (
            intake is not None and not intake.ended and source.schedule.stopping is None and source.room() > 0
        )

    def _feed(self) -> None:
        assert self.intake is not None
        try:
            self.intake.some(self.signals, *((1,) if self._inline else ()))
        except KeyboardInterrupt:
            self.signals.count += 1
            self.intake.end(None)
        finally:
            self.signals.raising = False

    def _wait(self) -> None:
        if self._inline:
            began = time.monotonic()
            until = began + _BURST_S
            self._attempt()
            while self._next is not None and not self.emits and self._next.began < until:
                self._attempt()
            # The next one may be as long, and nobody writes meanwhile what has come of these.
            self._was_long = time.monotonic() - began > _LONG_S
        elif self.expect(self._gate):
            self._gate.wait(self.nap())

    def _attempt(self) -> None:
        source, hand = self.source, self._hand
        if self._make is None:
            source.enter(hand)
            worker = self._stack.enter_context(Worker())
            token = current.set(current.get())  # put back as it was
            self._stack.callback(current.reset, token)
            self._make = open_sync(source.program, worker, self._stack)
        slot = self._next
        if slot is not None and source.schedule.stopping is not None:
            self._put_back()
            return
        if slot is None:
            slot, over = source.ask(hand)
            if slot is None:
                if not over and source.schedule.running == 0 and self.expect(self._gate):
                    self._gate.wait(self.nap())
                return
        self._next = None
        attempt = slot.token
        self.signals.raising = True
        try:
            value = self._make(slot)
        except KeyboardInterrupt:
            self.signals.raising = False
            self.signals.count += 1
            source.stop()
            source.give_up()
            source.abandoned -= 1
            source.enter(hand)
        except BaseException as error:  # SystemExit in a fetch function is its item's
            self.signals.raising = False
            exile = source.exile.sentence(hand, error)
            self._next = source.failed(hand, slot, attempt, error)
            if exile:
                self._gate.wait(exile)
        else:
            self.signals.raising = False
            hand.shut_out = 0
            self._next = source.done(hand, slot, attempt, value)
        if self.emits and self._next is not None:
            self._put_back()  # it is not begun before the consumer has asked for it

    def _put_back(self) -> None:
        assert self._next is not None
        with self.source.lock:
            self.source.schedule.give_back([self._next])
        self._next = None


def _was_stopped(slot: Slot) -> bool:
    return slot.verdict is not None and slot.verdict.kind == "stop"


class LoopHost(_Desk):
    """A run's host as a coroutine of the caller's loop, which must not wait for a disk or a network.

    Args:
        clerk: the one thread that writes, if there is a book.
    """

    def __init__(
        self,
        source: Source,
        intake: Intake | None,
        *,
        gate: LoopGate,
        clerk: ThreadPoolExecutor | None,
        **desk: Any,
    ) -> None:
        super().__init__(source, intake, **desk)
        self._gate = gate
        self._clerk = clerk
        self._writing: tuple[Any, asyncio.Future[Any]] | None = None

    async def run(self) -> None:
        """Collect until everything is finished; results go to the sink."""
        async for _ in self.stream():
            raise AssertionError("a run hands nothing out")

    async def stream(self) -> AsyncGenerator[list[Slot], None]:
        """Hand out slots, some at a time; they count against the window until the next ones are asked for."""
        while True:
            heads, over = await self.step()
            if heads:
                yield heads
            elif over:
                return
            elif self.expect(self._gate):
                await self._gate.wait(self.nap())

    async def step(self) -> tuple[list[Slot], bool]:
        """Keep and write what is finished; ``(slots to hand out, whether that was all)``."""
        heads, over = self.take()
        await self.write(awaited=bool(heads))
        return heads, self.mind() or over

    async def write(self, *, awaited: bool = True) -> None:
        """Write what it is time to write, and report it; first what was being written when a task was cancelled."""
        book = self.book
        while book is not None:
            was_writing = self._writing is not None
            if self._writing is None:
                gathered = book.gather(awaited=awaited)
                if gathered is None:
                    return
                loop = asyncio.get_running_loop()
                self._writing = gathered, loop.run_in_executor(self._clerk, book.write, gathered)
            gathered, writing = self._writing
            try:
                written = await asyncio.shield(writing)
            except asyncio.CancelledError:
                raise  # the thread goes on writing; ``end`` comes back to it
            except BaseException:
                self._writing = None
                raise
            self._writing = None
            if not (book.settle(gathered, written) or was_writing):
                return

    async def end(self, *, at_once: bool) -> None:
        """Stop: the caller's task was cancelled, or it left the stream."""
        if at_once:
            self.grace = 0.0
        if not self.source.schedule.finished:
            self.source.stop()
        while True:
            heads, over = await self.step()
            if heads:
                continue
            if over:
                break
            if self.expect(self._gate):
                await self._gate.wait(self.nap())
        await self.write()
