"""One item on its way: what its slot says of it, at every stop."""

from __future__ import annotations

from typing import Any

from fetchline.core.limits import NEVER, Limits
from fetchline.core.schedule import Schedule
from fetchline.core.slots import DONE, FAILED, HELD, READY, RUNNING, Slot
from fetchline.interfaces import Verdict

AGAIN = Verdict("retry", "error", 1.0)


def _leased(schedule: Schedule, now: float = 0.0) -> Slot:
    slot = schedule.lease(now)
    assert slot is not None
    return slot


def _schedule(items: Any = "abc", **limits: Any) -> Schedule:
    schedule = Schedule(Limits(**{"concurrency": 3, **limits}), ordered=True)
    schedule.feed(items, 0.0)
    return schedule


# -- a slot's own story ------------------------------------------------------------------------------------


def test_a_slot_goes_from_ready_over_running_and_held_to_done() -> None:
    schedule = _schedule("a", retry=2)
    assert schedule.head is not None
    seen = [schedule.head.state]
    slot = _leased(schedule)
    seen.append(slot.state)
    schedule.fail(slot, slot.token, "error", AGAIN, 0.0)
    seen.append(slot.state)
    slot = _leased(schedule, 1.0)
    seen.append(slot.state)
    schedule.succeed(slot, slot.token, "value", 1.0)
    seen.append(slot.state)
    assert seen == [READY, RUNNING, HELD, RUNNING, DONE]


def test_an_item_that_succeeds_at_once_carries_no_troubles() -> None:
    schedule = _schedule("a")
    slot = _leased(schedule)
    assert (slot.number, slot.charged, slot.attempts, slot.verdict) == (1, 0, 1, None)
    schedule.succeed(slot, slot.token, "value", 2.0)
    assert (slot.troubles, slot.attempts, slot.value, slot.began, slot.ended) == (None, 1, "value", 0.0, 2.0)


def test_attempts_count_every_call_and_charges_only_what_the_policy_pays_for() -> None:
    schedule = _schedule("a", retry=3)
    slot = _leased(schedule)
    schedule.fail(slot, slot.token, "wait", Verdict("not_ready", delay=1.0, memo="task 7"), 0.0)
    slot = _leased(schedule, 1.0)
    assert slot.troubles is not None
    assert (slot.number, slot.charged, slot.troubles.memo) == (2, 0, "task 7")
    schedule.fail(slot, slot.token, "error", AGAIN, 1.0)
    slot = _leased(schedule, 2.0)
    assert (slot.number, slot.charged, slot.troubles.memo) == (3, 1, "task 7")
    schedule.succeed(slot, slot.token, "value", 2.0)
    assert (slot.attempts, slot.verdict, slot.value) == (3, None, "value")


def test_an_item_that_never_started_has_made_no_attempt_and_has_no_value() -> None:
    schedule = _schedule("a")
    schedule.stop("deadline")
    (slot,) = schedule.drain(0.0)
    assert slot.verdict is not None
    assert (slot.state, slot.attempts, slot.value, slot.verdict.code) == (FAILED, 0, None, "deadline")


def test_an_item_cancelled_while_held_keeps_the_error_it_had() -> None:
    schedule = _schedule("a", retry=3)
    slot = _leased(schedule)
    schedule.fail(slot, slot.token, "the error", AGAIN, 0.0)
    schedule.stop()
    (slot,) = schedule.drain(0.0)
    assert slot.verdict is not None
    assert (slot.attempts, slot.value, slot.verdict.code) == (1, "the error", "cancelled")


# -- tokens ------------------------------------------------------------------------------------------------


def test_tokens_grow_with_every_start_and_are_never_used_again() -> None:
    schedule = _schedule("ab", retry=9)
    tokens, now = [], 0.0
    for _ in range(6):
        slot = _leased(schedule, now)
        tokens.append(slot.token)
        schedule.fail(slot, slot.token, "error", AGAIN, now)
        now += 1.0
    assert tokens == sorted(set(tokens))


def test_the_answer_of_an_attempt_that_was_given_up_is_not_taken_for_the_next_ones() -> None:
    schedule = _schedule("a", retry=2)
    slot = _leased(schedule)
    stuck = slot.token
    schedule.fail(slot, stuck, "timeout", Verdict("retry", "timeout"), 0.0)
    slot = _leased(schedule)
    assert not schedule.succeed(slot, stuck, "late", 0.0)
    assert not schedule.fail(slot, stuck, "late", AGAIN, 0.0)
    assert not schedule.crashed(slot, stuck, "late", AGAIN, 0.0)
    assert schedule.running == 1
    assert schedule.succeed(slot, slot.token, "value", 0.0)
    assert slot.value == "value"


def test_an_answer_is_taken_once() -> None:
    schedule = _schedule("a")
    slot = _leased(schedule)
    token = slot.token
    assert schedule.succeed(slot, token, "value", 0.0)
    assert not schedule.succeed(slot, token, "again", 0.0)
    assert [slot.value for slot in schedule.drain(0.0)] == ["value"]


# -- given back --------------------------------------------------------------------------------------------


def test_what_is_given_back_is_first_in_line_uncharged_and_in_its_order() -> None:
    schedule = _schedule("abcd", concurrency=1)
    chunk = [_leased(schedule), *schedule.lease_more(0.0, 2)]
    schedule.succeed(chunk[0], chunk[0].token, "value", 0.0, 0)
    schedule.give_back(chunk[1:])
    assert schedule.running == 0
    slot = _leased(schedule)
    assert (slot.item, slot.number, slot.charged) == ("b", 1, 0)
    assert [rider.item for rider in schedule.lease_more(0.0, 9)] == ["c", "d"]


def test_what_may_have_brought_a_worker_down_travels_alone() -> None:
    schedule = _schedule("abc", concurrency=2)
    chunk = [_leased(schedule), *schedule.lease_more(0.0, 1)]
    schedule.give_back(chunk, alone=True)
    assert _leased(schedule).item == "a"
    assert schedule.lease_more(0.0, 9) == []


def test_a_chunk_is_one_unit_of_concurrency() -> None:
    schedule = _schedule("abc", concurrency=1)
    chunk = [_leased(schedule), *schedule.lease_more(0.0, 2)]
    assert (schedule.running, schedule.lease(0.0)) == (1, None)
    for left, slot in zip((2, 1, 0), chunk, strict=True):
        schedule.succeed(slot, slot.token, "value", 0.0, 0 if left else 1)
    assert (schedule.running, schedule.waiting) == (0, 0)


# -- the window --------------------------------------------------------------------------------------------


def test_more_than_there_is_room_for_is_taken_and_counted() -> None:
    schedule = _schedule("abcde", window=3)
    assert schedule.room() == -2
    schedule.release(3)
    assert schedule.room() == 1


def test_a_backlog_is_made_into_slots_only_as_the_window_allows() -> None:
    schedule = Schedule(Limits(100, window=2))
    schedule.feed_from(range(1_000_000))
    assert [_leased(schedule).item, _leased(schedule).item] == [0, 1]
    assert schedule.lease(0.0) is None
    assert schedule.fed == 2
    schedule.release(1)
    assert _leased(schedule).item == 2


def test_a_stopped_backlog_ends_with_one_result_for_each_item() -> None:
    schedule = Schedule(Limits(1, window=10))
    schedule.feed_from(range(35))
    schedule.stop()
    sizes = []
    while not schedule.finished:
        slots = schedule.drain(0.0)
        sizes.append(len(slots))
        schedule.release(len(slots))
    assert sizes == [10, 10, 10, 5]


# -- time --------------------------------------------------------------------------------------------------


def test_an_attempt_is_late_exactly_at_its_timeout_and_only_once() -> None:
    schedule = _schedule("a", timeout=5.0)
    slot = _leased(schedule)
    assert schedule.timer(0.0) == 5.0
    assert schedule.expired(4.999) == []
    assert schedule.expired(5.0) == [(slot, slot.token)]
    assert schedule.expired(9.0) == []


def test_an_attempt_that_was_answered_is_never_late() -> None:
    schedule = _schedule("a", timeout=5.0)
    slot = _leased(schedule)
    schedule.succeed(slot, slot.token, "value", 1.0)
    assert schedule.expired(99.0) == []


def test_a_login_is_not_part_of_an_attempt() -> None:
    schedule = _schedule("a", timeout=5.0)
    slot = _leased(schedule)
    slot.began = NEVER  # the worker opens a session
    assert schedule.expired(50.0) == []
    slot.began = 50.0
    assert schedule.expired(54.9) == []


def test_an_attempt_that_logged_in_first_is_late_one_timeout_after_it_began() -> None:
    schedule = _schedule("a", timeout=10.0)
    slot = _leased(schedule)
    slot.began = 0.5  # the login took half a second
    assert schedule.expired(10.0) == []
    assert schedule.timer(10.0) == 10.5
    assert schedule.expired(10.5) == [(slot, slot.token)]


def test_an_item_that_is_never_ready_ends_when_patience_is_over_though_it_asks_for_no_delay() -> None:
    schedule = _schedule("a", patience=300.0)
    schedule.close_input()
    now = 0.0
    while not schedule.finished and now < 1_000.0:
        slot = _leased(schedule, now)
        now += 1.0  # the attempt takes a second, then says: again, at once
        schedule.fail(slot, slot.token, "not ready", Verdict("not_ready", "not_ready", 0.0), now)
    assert 300.0 <= now <= 310.0
