"""Drive the schedule through made-up runs on a virtual clock, watched by an oracle: thousands a second.

A run is decided by bytes alone: ``simulate(seed)`` makes them of a seed, ``play(choices)`` takes any, and
either can be played again, step for step. A zero is always the plainest choice, and the bytes are followed
by zeros without end: so every run winds down.

>>> simulate(1) is None
True

``python -m fetchline.testing.simulator --seconds 10`` counts the runs of a minute and prints what broke.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import shake_128
from itertools import chain, repeat
from typing import Any, Final

from fetchline.core.limits import Limits
from fetchline.core.schedule import Schedule
from fetchline.core.slots import Slot
from fetchline.interfaces import Verdict
from fetchline.results import ErrorCode
from fetchline.testing.oracle import Broken, Oracle
from fetchline.testing.pages import Item
from fetchline.testing.trace import Recorder, Trace

__all__ = ["Trace", "play", "simulate"]

_BYTES = 80
_STEPS_AN_ITEM = 60

# What a run is drawn from; a choice is a byte modulo the length, so lengths are powers of two or nearly.
_ITEMS: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9)
_WINDOWS: Final = (1024, 1024, 8, 4, 3, 2, 2, 1)
_TIMEOUTS: Final = (None, None, 1.0, 3.0)
_HOLDS: Final = (*(float("inf"),) * 6, 5.0, float("inf"))
# All times are eighths of a second, so that sums are exact and every comparison can be strict.
_RATES: Final[tuple[tuple[tuple[int, float], ...], ...]] = (
    *((),) * 5,
    ((1, 1.0),),
    ((2, 1.0), (3, 4.0)),
    ((4, 1.0), (6, 4.0)),
)
_RETRY: Final = Verdict("retry", "error", 0.0)
_LATE: Final = Verdict("retry", "timeout", 0.5)
_CRASH: Final = Verdict("retry", "crashed")
_LOST: Final = Verdict("permanent", "unknown_outcome")
_VERDICTS: Final = (
    _RETRY,
    Verdict("retry", "unavailable", 1.5),
    Verdict("retry", "error", 1.5),
    _RETRY,
    Verdict("throttled", "throttled", 2.0),
    Verdict("not_ready", "not_ready", 1.0, memo="task 1"),
    Verdict("not_ready", "not_ready", 2.0, memo="task 2", patience=8.0, timeout=0.5),
    Verdict("expired", "session", 0.0),
    Verdict("expired", "session", 1.0),
    Verdict("permanent", "permanent"),
    Verdict("no_data"),
    Verdict("throttled", "unavailable", 0.25),
    Verdict("retry", "error", 0.25),
    Verdict("not_ready", "not_ready", 0.0),
    Verdict("retry", "error", 3.0),
    Verdict("stop", "banned"),
)
_DOWN: Final = tuple(
    Verdict("retry", "unavailable", verdict.delay) if verdict.code == "error" else verdict
    for verdict in _VERDICTS
)


def simulate(seed: int, schedule: Callable[..., Any] = Schedule) -> Trace | None:
    """Make one run of a seed; None if every promise was kept.

    Args:
        seed: any number from 0 to 2**64 - 1; the same one gives the same run on every machine.
        schedule: what to drive, called as ``Schedule`` is.
    """
    # A hash is a fifth of the cost of seeding random.Random, and as good at this.
    return _replay(shake_128(seed.to_bytes(8, "little")).digest(_BYTES), schedule, seed)


def play(choices: bytes, schedule: Callable[..., Any] = Schedule) -> Trace | None:
    """Make one run of the bytes that decide it; None if every promise was kept."""
    return _replay(choices, schedule, None)


def _replay(choices: bytes, schedule: Callable[..., Any], seed: int | None) -> Trace | None:
    try:
        _Run(choices, schedule).play()
    except Exception:  # a schedule that raises is broken, too
        events: list[str] = []
        try:
            _Run(choices, lambda limits, ordered: Recorder(schedule(limits, ordered=ordered), events)).play()
        except Broken as broken:
            return Trace(choices, broken.promise, str(broken), tuple(events), seed)
        except Exception as error:
            return Trace(choices, "raises", f"raises: {error!r}", tuple(events), seed)
        raise AssertionError("a run did not go the same way twice") from None
    return None


@cache
def _limits(concurrency: int, choice: int, further: int) -> Limits:
    return Limits(
        concurrency,
        _WINDOWS[choice & 7],
        retry=1 + ((choice >> 3) & 3),
        max_crashes=1 + (choice >> 7),
        patience=1.0 if further & 64 else 4.0,
        timeout=_TIMEOUTS[(choice >> 5) & 3],
        timed=(choice >> 5) & 3 != 0,
        fail_fast=further & 0xF8 == 0xF8,
        rates=_RATES[further & 7],
        breaker=2 if further & 64 else 0,
        hold=_HOLDS[(further >> 3) & 7],
        # Not where there are chunks: no write is in one.
        write_ahead=further & 0xC0 == 0x80 and choice & 32 != 0,
    )


class _Run:
    """One run: a driver that does what drivers do, as the bytes say."""

    def __init__(self, choices: bytes, schedule: Callable[..., Any]) -> None:
        self.draw = draw = chain(choices, repeat(0)).__next__
        shape = draw()
        count = (
            _ITEMS[shape & 15] if shape != 255 else 64 + (draw() & 15)
        )  # more than are made of a backlog at once
        self.ordered = shape & 16 == 0
        backlog = shape & 32 != 0
        self.most_steps = len(choices) + _STEPS_AN_ITEM * (count + 1)
        self.limits = limits = _limits(1 + (shape >> 6), draw(), draw())
        self.inputs: Sequence[int] = range(100, 100 + count)
        self.schedule = schedule(limits, ordered=self.ordered)
        self.oracle = Oracle(limits, self.inputs, backlog, self.ordered)
        self.now = 0.0
        self.live: list[Item] = []
        self.late: list[tuple[Slot, int]] = []
        self.unreleased = 0
        self.writing: list[Slot] = []
        self.closed = backlog
        self.over = False
        if backlog:
            self.schedule.feed_from(self.inputs)

    def play(self) -> None:
        draw, steps = self.draw, self.most_steps
        while not self.over:
            _STEPS[draw()](self)
            steps -= 1
            if not steps:
                raise Broken("everything_ends", f"the run goes on for ever; it is {self.now}")
        schedule = self.schedule
        rest = (schedule.running, schedule.held, schedule.waiting, schedule.drain(self.now))
        if rest != (0, 0, 0, []):
            raise Broken("one_outcome", f"running, held, waiting, finished are {rest} at the end")

    # -- the steps ------------------------------------------------------------------------------------------

    def plain(self) -> None:
        """Do the first of these that can be done: start, answer, collect, sleep."""
        if self.oracle.units < self.oracle.concurrency and (self.lease() or self.write()):
            return
        if self.live:
            self.answer()
        elif not self.collect():
            self.rest()

    def lease(self) -> bool:
        slot = self.schedule.lease(self.now)
        if slot is None:
            if self.oracle.hopeless(self.now) and self.schedule.stopping == "unavailable":
                self.oracle.stopped("unavailable", self.oracle.unanswered)
            self.oracle.refused(self.now)
            return False
        self.live.append(self.oracle.started(slot, self.now))
        return True

    def lease_chunk(self) -> None:
        # Process lanes keep their timeouts themselves.
        if not self.limits.timed and self.lease():
            more = self.schedule.lease_more(self.now, 1 + (self.draw() & 3))
            self.live += self.oracle.rode(more, self.now, self.live[-1])

    def answer(self) -> None:
        """An attempt in flight comes back, with a value or in one of the other ways."""
        live = self.live
        if not live:
            return
        choice = self.draw()
        if choice & 3 == 3 and self.oracle.stop_code is not None:
            self.give_up()
            return
        item = live.pop(choice % len(live))
        choice >>= 2
        if choice < 32:
            self.succeed(item)
        elif choice < 58:
            self.fail(item, (_DOWN if self.limits.breaker else _VERDICTS)[self.draw() & 15])
        else:
            self.crash(item, _LOST if choice == 58 else _CRASH)

    def succeed(self, item: Item) -> None:
        slot, token, now = item.slot, item.token, self.now
        weight = float(item.index & 3)
        taken = self.schedule.succeed(slot, token, token, now, _units(item), weight)
        self.oracle.answered(item, taken, now)
        self.oracle.succeeded(item, token, weight)
        self.late.append((slot, token))

    def fail(self, item: Item, verdict: Verdict) -> None:
        slot, token, now = item.slot, item.token, self.now
        taken = self.schedule.fail(slot, token, -token, verdict, now, _units(item))
        self.oracle.answered(item, taken, now)
        self.oracle.failed(item, -token, verdict, now)
        self.late.append((slot, token))

    def crash(self, item: Item, verdict: Verdict) -> None:
        slot, token, now = item.slot, item.token, self.now
        taken = self.schedule.crashed(slot, token, -token, verdict, now, _units(item))
        self.oracle.answered(item, taken, now)
        self.oracle.crashed(item, -token, verdict, now)
        self.late.append((slot, token))

    def collect(self) -> bool:
        """Take what is finished, hand it out, feed; whether that changed anything."""
        schedule, oracle = self.schedule, self.oracle
        released, self.unreleased = self.unreleased, 0
        if released:
            schedule.release(released)
            oracle.released += released
        settled = schedule.drain(self.now)
        oracle.drained(settled, schedule.running)
        leaving = settled
        if self.ordered:
            limit = 4 - (self.draw() & 3)
            leaving = schedule.heads(limit)
            oracle.left(leaving, limit)
        self.unreleased = len(leaving)
        oracle.handed += [slot.index for slot in leaving]
        finished = schedule.finished
        oracle.finished(finished, self.closed)
        self.over = finished and (not self.ordered or oracle.left_count == oracle.drained_count)
        return self.over or self.feed() or bool(released or settled or leaving)

    def feed(self) -> bool:
        """Feed as much as is welcome, or a part of it; close when that was all."""
        if self.closed:
            return False
        schedule, oracle = self.schedule, self.oracle
        room = schedule.room()
        oracle.room(room)
        bite = min(room, len(self.inputs) - oracle.fed, 4 - (self.draw() & 3))
        if bite > 0:
            schedule.feed(self.inputs[oracle.fed : oracle.fed + bite], self.now)
            oracle.took(bite)
        elif oracle.fed == len(self.inputs):
            schedule.close_input()
            self.closed = True
        else:
            return False
        return True

    def sleep(self) -> None:
        if not self.lease() and not self.write():
            self.rest()

    def write(self) -> bool:
        """Write down what starts next, where nothing starts before; whether there was anything."""
        if not self.limits.write_ahead:
            return False
        slots, self.writing = self.writing, []
        if not slots:
            slots = self.schedule.to_write()
            self.oracle.wrote(slots, self.now)
            if slots and self.draw() & 1:  # other things happen while that is written
                self.writing = slots
                self.answer()
                return True
        self.schedule.admit(slots)
        self.oracle.admitted(slots)
        return bool(slots)

    def rest(self) -> None:
        """Where nothing may start: let time pass until the schedule's timer rings, or somewhat longer."""
        if self.limits.timed and self.time_out():
            return
        due = self.schedule.timer(self.now)
        self.oracle.timer(due, self.now, self.live)
        if due < 1e9:
            choice = self.draw()
            self.now = due + (choice & 7) / 4 if choice > 192 else due

    def pass_time(self) -> None:
        self.now += (self.draw() & 7) / 4

    def time_out(self) -> bool:
        late = self.schedule.expired(self.now)
        self.oracle.expired(late, self.live, self.now)
        for slot, _ in late:
            item = self.oracle.items[slot.index]
            self.live.remove(item)
            self.fail(item, _LATE)
        return bool(late)

    def log_in(self) -> None:
        """An attempt opens a session, or has opened it: its timeout begins anew."""
        if self.live and self.limits.timed:
            item = self.live[self.draw() % len(self.live)]
            item.slot.began = item.began = self.now if item.began > self.now else float("inf")

    def answer_late(self) -> None:
        """An attempt that is no longer in flight comes back."""
        if not self.late:
            return
        choice = self.draw()
        slot, token = self.late[choice % len(self.late)]
        schedule, now = self.schedule, self.now
        match choice >> 6:
            case 0:
                taken = schedule.succeed(slot, token, "late", now)
            case 1:
                taken = schedule.fail(slot, token, "late", _VERDICTS[choice & 15], now)
            case 2:
                taken = schedule.crashed(slot, token, "late", _CRASH, now)
            case _:
                taken = schedule.give_up(slot, token, now)
        self.oracle.ignored(taken)

    def give_back(self) -> None:
        """Attempts that never started come back: one, or all that are left of its chunk."""
        if self.live:
            choice = self.draw()
            first = self.live[choice % len(self.live)]
            back = [item for item in self.live if item.chunk is first.chunk] if choice & 64 else [first]
            back.sort(key=lambda item: item.index)
            units = int(len(back) == first.chunk[0])
            alone = choice >= 128
            self.schedule.give_back([item.slot for item in back], units, alone=alone)
            for item in back:
                self.live.remove(item)
                self.late.append((item.slot, item.token))
                self.oracle.gave_back(item, alone)

    def give_up(self) -> None:
        """Try to do without an answer: refused, unless the run was stopped."""
        if self.live:
            item = self.live[self.draw() % len(self.live)]
            stopped = self.oracle.stop_code is not None
            taken = self.schedule.give_up(item.slot, item.token, self.now, _units(item))
            self.oracle.gave_up(item, taken, self.now)
            if stopped:
                self.live.remove(item)
                self.late.append((item.slot, item.token))

    def stop(self) -> None:
        code: ErrorCode = "deadline" if self.draw() & 1 else "cancelled"
        self.schedule.stop(code)
        self.oracle.stopped(code)

    def cool_down(self) -> None:
        until = self.now + (self.draw() & 7) / 2
        self.schedule.cool_down(self.now, until)
        self.oracle.cooled(self.now, until)

    def set_concurrency(self) -> None:
        self.schedule.concurrency = self.oracle.concurrency = 1 + self.draw() % 4


def _units(item: Item) -> int:
    """A chunk gives its one unit back with its last answer."""
    return int(item.chunk[0] == 1)


_STEPS: Final = (
    *(_Run.plain,) * 91,
    *(_Run.answer,) * 40,
    *(_Run.collect,) * 20,
    *(_Run.sleep,) * 20,
    *(_Run.lease,) * 20,
    *(_Run.lease_chunk,) * 20,
    *(_Run.answer_late,) * 12,
    *(_Run.pass_time,) * 8,
    *(_Run.give_back,) * 8,
    *(_Run.log_in,) * 6,
    *(_Run.give_up,) * 4,
    *(_Run.set_concurrency,) * 3,
    *(_Run.cool_down,) * 2,
    *(_Run.stop,) * 2,
)
assert len(_STEPS) == 256  # one for every byte


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate for so many seconds; the exit status is 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m fetchline.testing.simulator", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of processor time (default: 10)")
    parser.add_argument("--seed", type=int, help="play this one seed only, and print what happens")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default: 0)")
    chosen = parser.parse_args(arguments)
    say = sys.stdout.write
    if chosen.seed is not None:
        trace = simulate(chosen.seed)
        say(f"{trace or f'seed {chosen.seed}: every promise was kept'}\n")
        return int(trace is not None)
    runs = broken = 0
    began = time.process_time()
    while (used := time.process_time() - began) < chosen.seconds and broken < 10:
        first = chosen.start + runs
        for seed in range(first, first + 500):
            trace = simulate(seed)
            if trace is not None:
                broken += 1
                say(f"{trace}\n")
        runs += 500
    say(
        f"{runs:,} runs in {used:.1f} s of processor time, {runs / used * 60:,.0f} a minute; broken: {broken}\n"
    )
    return int(broken > 0)


if __name__ == "__main__":
    raise SystemExit(main())
