"""Several items in one attempt: who travels together, what becomes of each, and what the poison costs."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchline.core.groups import BulkSchedule, Group
from fetchline.core.limits import NEVER, Limits
from fetchline.core.slots import DONE, FAILED, Slot
from fetchline.interfaces import Verdict

PERMANENT = Verdict("permanent", "permanent")
MISSING = Verdict("permanent", "missing")
WRONG = Verdict("retry", "wrong_answer")
RETRY = Verdict("retry", "error", 1.0)
CRASH = Verdict("retry", "crashed")


@dataclass
class Told:
    """What a bulk call came to."""

    values: Sequence[Any]
    misses: Mapping[int, tuple[Any, Verdict]] = field(default_factory=dict)


def bulk(size: int, *, concurrency: int = 4, ordered: bool = False, **limits: Any) -> BulkSchedule:
    return BulkSchedule(Limits(concurrency, bulk=size, **limits), ordered=ordered)


def group_of(schedule: BulkSchedule, now: float = 0.0) -> Group:
    slot = schedule.lease(now)
    assert isinstance(slot, Group)
    return slot


def answer(schedule: BulkSchedule, group: Group, now: float = 0.0, **misses: tuple[Any, Verdict]) -> None:
    """Bring a value for each item, but for those that are named by their position."""
    told = Told([f"v{n}" for n in group.item], {int(at[1:]): miss for at, miss in misses.items()})
    assert schedule.succeed(group, group.token, told, now)


def fail(schedule: BulkSchedule, group: Group, verdict: Verdict, now: float = 0.0) -> None:
    assert schedule.fail(group, group.token, f"error of {group.item}", verdict, now)


def ended(schedule: BulkSchedule) -> dict[int, Slot]:
    return {slot.index: slot for slot in schedule.drain(0.0)}


# -- who travels together ----------------------------------------------------------------------------------


def test_a_call_is_for_as_many_items_as_there_are_up_to_its_size() -> None:
    schedule = bulk(3)
    schedule.feed_from(range(7))
    assert [group_of(schedule).item for _ in range(3)] == [(0, 1, 2), (3, 4, 5), (6,)]
    assert schedule.lease(0.0) is None and schedule.running == 3


def test_a_large_call_is_filled_from_a_whole_input_however_it_is_bitten() -> None:
    schedule = bulk(500, window=2000)
    schedule.feed_from(range(1200))
    assert [group_of(schedule).size for _ in range(3)] == [500, 500, 200]


def test_an_incomplete_call_waits_for_more_and_then_no_longer() -> None:
    schedule = bulk(3, linger=0.5)
    schedule.feed([1, 2], now=10.0)
    assert schedule.lease(10.4) is None
    assert not schedule.startable
    assert schedule.timer(10.4) == 10.5
    assert group_of(schedule, 10.5).item == (1, 2)


def test_the_end_of_the_input_ends_the_wait() -> None:
    schedule = bulk(3, linger=100.0)
    schedule.feed([1, 2], now=0.0)
    assert schedule.lease(0.0) is None
    schedule.close_input()
    assert group_of(schedule).item == (1, 2)


def test_a_full_window_does_not_hold_an_incomplete_call() -> None:
    """Nothing more can come before something has left: the call goes at once, or, beside others, after its time."""
    schedule = bulk(3, window=4, linger=0.5)
    schedule.feed_from(range(8))
    assert group_of(schedule).item == (0, 1, 2)
    assert schedule.lease(0.0) is None and schedule.timer(0.0) == 0.5
    assert group_of(schedule, 0.5).item == (3,)
    wide = bulk(10, window=4, linger=0.5)
    wide.feed_from(range(8))
    assert group_of(wide).item == (0, 1, 2, 3)


def test_each_item_has_its_own_result_in_input_order() -> None:
    schedule = bulk(2, ordered=True)
    schedule.feed_from(["a", "b", "c"])
    one, two = group_of(schedule), group_of(schedule)
    answer(schedule, two)
    assert schedule.heads(9) == []
    answer(schedule, one)
    schedule.drain(0.0)
    assert [(slot.item, slot.value, slot.attempts) for slot in schedule.heads(9)] == [
        ("a", "va", 1),
        ("b", "vb", 1),
        ("c", "vc", 1),
    ]
    assert schedule.finished and schedule.running == 0 and schedule.calls == 2


# -- what becomes of them ----------------------------------------------------------------------------------


def test_a_key_the_answer_left_out_is_missing_and_its_neighbours_are_not() -> None:
    schedule = bulk(3)
    schedule.feed_from(range(3))
    answer(schedule, group_of(schedule), _1=("nothing for 1", MISSING))
    slots = ended(schedule)
    assert [slots[n].state for n in range(3)] == [DONE, FAILED, DONE]
    assert (slots[1].value, slots[1].attempts) == ("nothing for 1", 1)
    assert slots[1].verdict == MISSING and slots[0].verdict is None
    assert schedule.finished


def test_wrong_answers_are_asked_again_together_and_the_right_ones_are_not() -> None:
    schedule = bulk(4, retry=2)
    schedule.feed_from(range(4))
    answer(schedule, group_of(schedule), _1=("rows of 7", WRONG), _3=("rows of 9", WRONG))
    assert sorted(ended(schedule)) == [0, 2]
    again = group_of(schedule)
    assert again.item == (1, 3) and again.number == 2
    answer(schedule, again, _0=("rows of 7", WRONG))
    slots = ended(schedule)
    assert (slots[1].state, slots[1].value, slots[1].attempts) == (FAILED, "rows of 7", 2)
    assert (slots[3].state, slots[3].value, slots[3].attempts) == (DONE, "v3", 2)


def test_a_call_that_failed_is_tried_again_as_it_was() -> None:
    schedule = bulk(3, retry=2)
    schedule.feed_from(range(5))
    first = group_of(schedule)
    fail(schedule, first, RETRY)
    assert group_of(schedule).item == (3, 4)
    assert schedule.held == 3
    again = group_of(schedule, 1.0)
    assert again is first and again.item == (0, 1, 2) and again.number == 2
    answer(schedule, again, 1.0)
    assert {slot.attempts for slot in ended(schedule).values()} == {2}


def test_a_memo_belongs_to_the_items_it_was_given_for() -> None:
    schedule = bulk(2)
    schedule.feed_from(range(4))
    one, two = group_of(schedule), group_of(schedule)
    fail(schedule, one, Verdict("not_ready", "not_ready", 2.0, memo="task 1", timeout=0.5))
    fail(schedule, two, Verdict("not_ready", "not_ready", 1.0, memo="task 2"))
    sooner, later = group_of(schedule, 2.0), group_of(schedule, 2.0)
    told = {group.item: group.troubles.memo for group in (sooner, later) if group.troubles}
    assert told == {(0, 1): "task 1", (2, 3): "task 2"}
    assert schedule.timer(2.0) == 2.5


def test_a_call_that_fails_for_good_is_halved_until_the_poison_stands_alone() -> None:
    schedule = bulk(8)
    schedule.feed_from(range(8))
    calls = 0
    while (slot := schedule.lease(0.0)) is not None:
        calls += 1
        assert isinstance(slot, Group)
        if 5 in slot.item:
            fail(schedule, slot, PERMANENT)
        else:
            answer(schedule, slot)
    slots = ended(schedule)
    assert [slots[n].state for n in range(8)] == [DONE] * 5 + [FAILED] + [DONE] * 2
    assert slots[5].value == "error of (5,)" and slots[5].attempts == 3
    # 0-7, 0-3, then without a call 4-7: 4-5, 4, 5, 6-7.
    assert calls == 6 == schedule.calls
    assert schedule.finished


def test_a_half_is_halved_at_once_where_the_whole_had_used_its_attempts_up_and_a_lone_item_has_all() -> None:
    schedule = bulk(2, retry=3)
    schedule.feed_from(range(2))
    now = 0.0
    items = []
    while not schedule.finished:
        slot = schedule.lease(now)
        if slot is None:
            now += 1.0
            continue
        items.append(slot.item)
        assert isinstance(slot, Group)
        fail(schedule, slot, RETRY, now)
    assert items == [(0, 1)] * 3 + [(0,)] * 3 + [(1,)] * 3


def test_what_the_network_does_to_a_half_costs_nobody_else() -> None:
    """A half that finds no connection is tried again, though the whole had used its attempts up on the poison."""
    down = Verdict("retry", "unavailable", 1.0)
    schedule = bulk(4, retry=2, breaker=0)
    schedule.feed_from(range(4))
    now, seen = 0.0, []
    while not schedule.finished:
        slot = schedule.lease(now)
        if slot is None:
            now += 1.0
            continue
        assert isinstance(slot, Group)
        seen.append(slot.item)
        if seen.count(slot.item) == 1 and len(slot.item) == 2:
            fail(schedule, slot, down, now)
        elif 3 in slot.item:
            fail(schedule, slot, RETRY, now)
        else:
            answer(schedule, slot, now)
    slots = ended(schedule)
    assert [slots[n].state for n in range(4)] == [DONE, DONE, DONE, FAILED]
    assert slots[3].verdict == RETRY


def test_a_group_whose_last_attempt_found_no_connection_is_halved_for_what_came_before() -> None:
    schedule = bulk(2, retry=2)
    schedule.feed_from(range(2))
    first = group_of(schedule)
    fail(schedule, first, RETRY)
    fail(schedule, group_of(schedule, 1.0), Verdict("retry", "unavailable"), 1.0)
    assert group_of(schedule, 1.0).item == (0,)


def test_a_refused_login_is_nobodys_poison() -> None:
    schedule = bulk(4)
    schedule.feed_from(range(4))
    fail(schedule, group_of(schedule), Verdict("permanent", "session"))
    assert {slot.state for slot in ended(schedule).values()} == {FAILED}
    assert schedule.calls == 1


def test_writes_that_must_not_be_sent_twice_are_not_halved() -> None:
    schedule = bulk(4, idempotent=False)
    schedule.feed_from(range(4))
    fail(schedule, group_of(schedule), PERMANENT)
    assert {slot.state for slot in ended(schedule).values()} == {FAILED}
    assert schedule.calls == 1


def test_a_crash_is_charged_to_a_lone_item_only() -> None:
    schedule = bulk(4, max_crashes=2)
    schedule.feed_from(range(4))
    seen = []
    while (slot := schedule.lease(0.0)) is not None:
        assert isinstance(slot, Group)
        seen.append(slot.item)
        if 2 in slot.item:
            assert schedule.crashed(slot, slot.token, "crash", CRASH, 0.0)
        else:
            answer(schedule, slot)
    assert seen == [(0, 1, 2, 3), (0, 1), (2,), (2,), (3,)]
    slots = ended(schedule)
    assert [slots[n].state for n in range(4)] == [DONE, DONE, FAILED, DONE]


def test_a_stop_ends_every_item_of_a_call_wherever_it_is() -> None:
    schedule = bulk(2, retry=5)
    schedule.feed_from(range(8))
    flying, held = group_of(schedule), group_of(schedule)
    fail(schedule, held, RETRY)
    schedule.give_back([group_of(schedule)])
    schedule.stop("deadline")
    assert schedule.give_up(flying, flying.token, 1.0)
    slots = ended(schedule)
    assert len(slots) == 8 and schedule.finished
    assert {slot.verdict.code for slot in slots.values() if slot.verdict} == {"deadline"}
    assert slots[2].value == "error of (2, 3)" and slots[2].attempts == 1
    assert slots[0].value is None and slots[0].attempts == 1
    assert slots[6].value is None and slots[6].attempts == 0


def test_a_late_answer_of_a_call_changes_nothing() -> None:
    schedule = bulk(2, retry=2)
    schedule.feed_from(range(2))
    first = group_of(schedule)
    token = first.token
    fail(schedule, first, RETRY)
    assert not schedule.succeed(first, token, Told(["late", "late"]), 0.0)
    assert not schedule.crashed(first, token, "late", CRASH, 0.0)
    assert schedule.held == 2


def test_a_call_is_late_as_a_whole() -> None:
    schedule = bulk(2, timeout=3.0)
    schedule.feed_from(range(2))
    group = group_of(schedule, 1.0)
    assert schedule.expired(3.9) == []
    assert schedule.expired(4.0) == [(group, group.token)]


def test_what_results_may_weigh_bounds_a_call() -> None:
    schedule = bulk(4, hold=10.0, ordered=True)
    schedule.feed_from(range(20))
    first = group_of(schedule)
    assert first.size == 4
    schedule.succeed(first, first.token, Told(["v"] * 4), 0.0, weight=8.0)
    assert group_of(schedule).size == 1
    assert schedule.lease(0.0) is None


def test_a_group_that_fails_after_a_stop_is_cancelled_since_nobody_finds_out_who_it_was() -> None:
    schedule = bulk(4)
    schedule.feed_from(range(4))
    group = group_of(schedule)
    schedule.stop()
    fail(schedule, group, PERMANENT)
    slots = ended(schedule)
    assert {slot.verdict.code for slot in slots.values() if slot.verdict} == {"cancelled"}
    assert slots[0].value == "error of (0, 1, 2, 3)"


def test_what_is_in_flight_weighs_the_same_however_often_it_started() -> None:
    schedule = bulk(4, hold=1e9, retry=9, ordered=True)
    schedule.feed_from(range(4))
    for attempt in range(5):
        group = group_of(schedule, 10.0 * attempt)
        assert schedule._weights is not None and schedule._weights.flying == 4
        fail(schedule, group, RETRY, 10.0 * attempt)
        assert schedule._weights.flying == 0


def test_siblings_and_what_waits_for_an_equal_one_are_waiting() -> None:
    schedule = bulk(4, dedupe="run", window=64)
    schedule.feed_from([*range(4), 0, 1], [*range(4), 0, 1])
    group = group_of(schedule)
    assert schedule.waiting == 2
    fail(schedule, group, PERMANENT)
    assert schedule.waiting == 6


# -- what the poison costs ---------------------------------------------------------------------------------


def calls_for(count: int, size: int, poison: set[int]) -> int:
    schedule = bulk(size, window=count)
    schedule.feed_from(range(count))
    while (slot := schedule.lease(0.0)) is not None:
        assert isinstance(slot, Group)
        if poison.intersection(slot.item):
            fail(schedule, slot, PERMANENT)
        else:
            answer(schedule, slot)
    bad = {slot.index for slot in schedule.drain(0.0) if slot.state == FAILED}
    assert bad == poison
    return schedule.calls


@pytest.mark.parametrize("seed", range(8))
def test_one_percent_of_poison_costs_at_most_1_6_of_the_ideal(seed: int) -> None:
    """No way of asking does with fewer calls than there are bits to learn: which keys are the bad ones."""
    count, size = 10_000, 50
    poison = set(random.Random(seed).sample(range(count), count // 100))
    bits = (math.lgamma(count + 1) - math.lgamma(101) - math.lgamma(count - 99)) / math.log(2)
    assert calls_for(count, size, poison) <= 1.6 * bits


@given(st.integers(1, 200), st.integers(1, 40), st.data())
def test_the_cost_of_poison_is_bounded(count: int, size: int, data: st.DataObject) -> None:
    poison = data.draw(st.sets(st.integers(0, count - 1), max_size=5))
    groups = -(-count // size)
    assert calls_for(count, size, poison) <= groups + 2 * len(poison) * math.ceil(
        math.log2(size) if size > 1 else 0
    )


# -- any order of events -----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", range(0, 20_000, 5_000))
def test_every_item_ends_once_whatever_becomes_of_its_calls(start: int) -> None:
    """Calls are answered, missed, failed, given back and crashed in any order."""
    for seed in range(start, start + 5_000):
        try:
            play(random.Random(seed))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def play(draw: random.Random) -> None:
    count, size = draw.randint(0, 12), draw.randint(1, 5)
    limits = Limits(
        draw.randint(1, 3),
        window=draw.choice([3, 8, 64]),
        retry=draw.randint(1, 3),
        bulk=size,
        linger=draw.choice([0.0, 2.0]),
        idempotent=draw.random() < 0.5,
        fail_fast=draw.random() < 0.25,
        timeout=draw.choice([None, 3.0]),
        hold=draw.choice([NEVER, NEVER, 4.0]),
        write_ahead=draw.random() < 0.3,
    )
    schedule = BulkSchedule(limits, ordered=True)
    written: set[int] = set()
    pending = list(range(count))
    whole = draw.random() < 0.5
    if whole:
        schedule.feed_from(pending)
        pending = []
    flying: list[Group] = []
    seen: dict[int, Slot] = {}
    left: list[int] = []
    now = 0.0
    verdicts = [
        PERMANENT,
        RETRY,
        Verdict("retry", "timeout"),
        Verdict("expired", "session"),
        Verdict("not_ready", "not_ready", 0.5, memo="task"),
        Verdict("no_data"),
        Verdict("throttled", "throttled", 0.5),
    ]
    for _ in range(1500):
        if not whole and not schedule.closed:
            if pending and schedule.room() > 0 and draw.random() < 0.5:
                schedule.feed([pending.pop(0)], now)
            elif not pending:
                schedule.close_input()
        slot = schedule.lease(now)
        if slot is not None:
            assert isinstance(slot, Group)
            assert 1 <= slot.size <= size
            flying.append(slot)
            assert len(flying) <= limits.concurrency
            indexes = [member.index for member in slot.members]
            assert indexes == sorted(indexes)
            assert written.issuperset(indexes) or not limits.write_ahead
        elif ahead := schedule.to_write():
            written.update(slot.index for slot in ahead)
            schedule.admit(ahead)
        elif flying:
            group = flying.pop(draw.randrange(len(flying)))
            match draw.randint(0, 5):
                case 0 | 1:
                    at = draw.randint(0, group.size)
                    kind = draw.choice([MISSING, WRONG, Verdict("no_data")])
                    misses = {at: ("miss", kind)} if at < group.size else {}
                    values = [f"v{n}" for n in group.item]
                    assert schedule.succeed(
                        group, group.token, Told(values, misses), now, weight=float(group.size)
                    )
                case 2 | 3:
                    fail(schedule, group, draw.choice(verdicts), now)
                case 4:
                    assert schedule.crashed(group, group.token, "crash", CRASH, now)
                case _:
                    schedule.give_back([group])
        else:
            due = schedule.timer(now)
            now = due if now < due < NEVER else now + 0.5
        for done in schedule.drain(now):
            assert done.index not in seen
            seen[done.index] = done
        heads = schedule.heads(4)
        left += [head.index for head in heads]
        schedule.release(len(heads))
        if schedule.finished and not schedule.done and not heads:
            break
    assert schedule.finished
    assert schedule.running == 0 and not flying
    assert left == list(range(schedule.fed)) and sorted(seen) == left
    assert whole or schedule.stopping or len(left) == count
    for slot in seen.values():
        assert slot.state in (DONE, FAILED)
        if slot.state == DONE and slot.verdict is None:
            assert slot.value == f"v{slot.item}"
