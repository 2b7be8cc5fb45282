"""When the next start is allowed: even spacing, sliding counts, cooldowns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchline.core.limits import NEVER, Limits, Rate, StartGate
from fetchline.core.schedule import Schedule
from fetchline.interfaces import Verdict


def _starts(gate: StartGate, count: int, now: float = 0.0) -> list[float]:
    """Start as soon as it is allowed, so often."""
    starts = []
    for _ in range(count):
        now = gate.due(now)
        gate.started(now)
        starts.append(now)
    return starts


# -- one rate ----------------------------------------------------------------------------------------------


def test_a_rate_allows_its_count_at_once_and_then_waits_for_the_period() -> None:
    rate = Rate(2, 1.0)
    for _ in range(2):
        assert rate.due(5.0) == 5.0
        rate.started(5.0)
    assert rate.due(5.0) == 6.0


def test_a_rate_slides_it_does_not_tumble() -> None:
    rate = Rate(2, 1.0)
    rate.started(0.0)
    rate.started(0.9)
    # A window that began anew at 1.0 would allow two more then.
    rate.started(rate.due(1.0))
    assert rate.due(1.0) == 1.9


# -- spacing -----------------------------------------------------------------------------------------------


def test_a_gate_without_rates_always_allows_a_start() -> None:
    assert _starts(StartGate(), 3, 7.0) == [7.0, 7.0, 7.0]


def test_the_first_start_is_allowed_at_once() -> None:
    assert StartGate([(1, 60.0)]).due(1234.5) == 1234.5


def test_starts_are_evenly_spaced_never_in_bursts() -> None:
    assert _starts(StartGate([(4, 1.0)]), 6) == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_the_shortest_rate_is_spaced_and_a_longer_one_counted() -> None:
    gate = StartGate([(4, 8.0), (2, 1.0)])
    assert _starts(gate, 6) == [0.0, 0.5, 1.0, 1.5, 8.0, 8.5]


def test_the_order_in_which_rates_are_given_means_nothing() -> None:
    one, two = StartGate([(2, 1.0), (3, 5.0)]), StartGate([(3, 5.0), (2, 1.0)])
    assert _starts(one, 9) == _starts(two, 9)


def test_a_late_timer_is_made_up_for_by_one_start() -> None:
    gate = StartGate([(4, 4.0)])
    gate.started(0.0)
    gate.started(1.75)  # due at 1.0: its place is kept
    assert _starts(gate, 2, 1.75) == [2.0, 3.0]


def test_a_timer_late_by_a_whole_interval_makes_up_for_nothing() -> None:
    gate = StartGate([(4, 4.0)])
    gate.started(0.0)
    gate.started(2.0)  # due at 1.0: its place is lost
    assert _starts(gate, 2, 2.0) == [3.0, 4.0]


def test_late_timers_do_not_make_the_rate_drift() -> None:
    gate, now = StartGate([(10, 1.0)]), 0.0
    for _ in range(1000):
        now = gate.due(now) + 0.0004  # what an operating system's timer is late
        gate.started(now)
    # The count is strict, so each period begins with a start that was late: 0.4 ms a second, not ten times that.
    assert now == pytest.approx(99.9 + 100 * 0.0004, abs=0.002)


def test_an_idle_time_is_not_saved_up() -> None:
    gate = StartGate([(10, 1.0)])
    gate.started(0.0)
    starts = _starts(gate, 4, 60.0)
    assert starts == pytest.approx([60.0, 60.1, 60.2, 60.3])


@settings(max_examples=300)
@given(
    rates=st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from([0.3, 1.0, 2.5, 7.0])), min_size=1, max_size=3
    ),
    lateness=st.lists(st.floats(0, 2), max_size=60),
)
def test_no_period_ever_holds_more_starts_than_its_count(
    rates: list[tuple[int, float]], lateness: list[float]
) -> None:
    gate, now, starts = StartGate(rates), 0.0, []
    for late in lateness:
        now = gate.due(now) + late
        gate.started(now)
        starts.append(now)
    for count, period in rates:
        for first, beyond in zip(starts, starts[count:], strict=False):
            assert beyond - first >= period - 1e-9


@settings(max_examples=300)
@given(count=st.integers(1, 7), lateness=st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_so_many_starts_take_all_but_one_of_their_intervals(count: int, lateness: list[float]) -> None:
    gate, now, starts = StartGate([(count, 1.0)]), 0.0, []
    for late in lateness:
        now = gate.due(now) + late
        gate.started(now)
        starts.append(now)
    for first in range(len(starts)):
        for last in range(first + 1, len(starts)):
            assert starts[last] - starts[first] >= (last - first - 1) / count - 1e-9


@given(st.lists(st.floats(0, 3), max_size=30), st.floats(0, 5))
def test_a_start_is_allowed_when_the_gate_said_it_would_be(lateness: list[float], ahead: float) -> None:
    gate, now = StartGate([(3, 1.0), (5, 4.0)]), 0.0
    for late in lateness:
        now = gate.due(now) + late
        gate.started(now)
    due = gate.due(now)
    assert gate.due(due) == due
    assert gate.due(due + ahead) == due + ahead


# -- cooldown ----------------------------------------------------------------------------------------------


def test_nothing_starts_before_a_cooldown_is_over() -> None:
    gate = StartGate()
    gate.cool_down(3.0)
    assert (gate.due(0.0), gate.due(2.999), gate.due(3.0), gate.due(4.0)) == (3.0, 3.0, 3.0, 4.0)


def test_a_shorter_cooldown_never_ends_a_longer_one() -> None:
    gate = StartGate()
    gate.cool_down(9.0)
    gate.cool_down(4.0)
    assert gate.due(0.0) == 9.0


def test_after_a_cooldown_starts_are_spaced_again() -> None:
    gate = StartGate([(2, 1.0)])
    gate.started(0.0)
    gate.cool_down(10.0)
    assert _starts(gate, 3) == [10.0, 10.5, 11.0]


def test_a_throttled_item_holds_everybody_back_and_the_seconds_are_counted_once() -> None:
    schedule = Schedule(Limits(3))
    schedule.feed("abc", 0.0)
    one, two = schedule.lease(0.0), schedule.lease(0.0)
    assert one is not None
    assert two is not None
    schedule.fail(one, one.token, "429", Verdict("throttled", "throttled", 4.0), 0.0)
    schedule.fail(two, two.token, "429", Verdict("throttled", "throttled", 4.0), 1.0)
    assert schedule.lease(4.9) is None
    assert schedule.timer(1.0) == 5.0
    assert schedule.lease(5.0) is not None
    assert schedule.traffic is not None
    assert schedule.traffic.cooled_s == 5.0


def test_chunks_travel_again_once_a_cooldown_is_over() -> None:
    schedule = Schedule(Limits(1))
    schedule.feed(range(8), 0.0)
    schedule.cool_down(0.0, 1.0)
    assert schedule.lease(0.5) is None
    assert schedule.lease(1.0) is not None
    assert [slot.index for slot in schedule.lease_more(1.0, 3)] == [1, 2, 3]


def _failed(schedule: Schedule, verdict: Verdict, now: float) -> None:
    slot = schedule.lease(now)
    assert slot is not None
    assert schedule.fail(slot, slot.token, "error", verdict, now)


def test_a_task_that_has_long_been_not_ready_has_its_patience_for_a_pause() -> None:
    schedule = Schedule(Limits(1, patience=300.0))
    schedule.feed(["x"], 0.0)
    for now in range(0, 3000, 100):
        _failed(schedule, Verdict("not_ready", "not_ready", 100.0, patience=3600.0), float(now))
    _failed(schedule, Verdict("throttled", "throttled", 1.0), 3000.0)
    assert schedule.held == 1
    _failed(schedule, Verdict("expired", "session"), 3001.0)
    assert schedule.held == 1


def test_patience_is_for_being_held_back_without_a_break() -> None:
    schedule = Schedule(Limits(1, retry=5, patience=300.0))
    schedule.feed(["x"], 0.0)
    _failed(schedule, Verdict("throttled", "throttled", 200.0), 0.0)
    _failed(schedule, Verdict("retry", "error"), 200.0)
    _failed(schedule, Verdict("throttled", "throttled", 200.0), 201.0)
    assert schedule.held == 1


def test_an_answer_of_an_attempt_that_was_never_made_changes_nothing() -> None:
    schedule = Schedule(Limits(1))
    schedule.feed(["x"], 0.0)
    slot = schedule.lease(0.0)
    assert slot is not None
    assert schedule.fail(slot, slot.token, "late", Verdict("permanent", "timeout"), 1.0)
    assert not schedule.succeed(slot, slot.token, "value", 2.0)
    assert not schedule.fail(slot, 0, "again", Verdict("retry"), 2.0)
    assert schedule.running == 0


def test_lost_writes_are_a_sign_of_an_outage_too() -> None:
    schedule = Schedule(Limits(1, retry=3, breaker=2))
    schedule.feed(range(5), 0.0)
    lost = Verdict("permanent", "unknown_outcome")
    _failed(schedule, lost, 0.0)
    _failed(schedule, lost, 0.0)
    assert schedule.lease(0.0) is None
    assert schedule.timer(0.0) == 0.125


def test_what_is_no_items_fault_is_an_outage_after_ten_attempts_of_a_single_one() -> None:
    for alike in (False, True):
        schedule = Schedule(Limits(1, retry=100, breaker=10))
        schedule.feed(["x"], 0.0)
        for _ in range(10):
            _failed(schedule, Verdict("retry", "unavailable", alike=alike), 0.0)
        assert (schedule.lease(0.0) is None) == alike


class _Refused(Exception):
    def __init__(self, login: int) -> None:
        self.login = login


@pytest.mark.parametrize(
    ("waiters", "logins", "stops"), [(100, 1, False), (100, 4, False), (4, 5, True), (1, 10, True)]
)
def test_items_that_waited_for_one_login_do_not_stop_a_run(waiters: int, logins: int, stops: bool) -> None:
    schedule = Schedule(Limits(waiters))
    schedule.feed(range(1000), 0.0)
    for login in range(logins):
        slots = [slot for _ in range(waiters) if (slot := schedule.lease(0.0)) is not None]
        for slot in slots:
            schedule.fail(slot, slot.token, _Refused(login), Verdict("permanent", "session"), 0.0)
    assert (schedule.stopping == "session") == stops


def test_whatever_else_is_heard_begins_the_count_of_logins_anew() -> None:
    schedule = Schedule(Limits(1))
    schedule.feed(range(1000), 0.0)
    for login in range(50):
        slot = schedule.lease(0.0)
        assert slot is not None
        if login % 9 == 8:
            schedule.succeed(slot, slot.token, "value", 0.0)
        else:
            schedule.fail(slot, slot.token, _Refused(login), Verdict("permanent", "session"), 0.0)
    assert schedule.stopping is None


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("opening", [True, False])
def test_a_write_whose_session_was_still_opening_at_a_stop_has_not_been_sent(
    idempotent: bool, opening: bool
) -> None:
    for ended in ("given up", "cancelled"):
        schedule = Schedule(Limits(1, idempotent=idempotent))
        schedule.feed(["x"], 0.0)
        slot = schedule.lease(0.0)
        assert slot is not None
        token, slot.began = slot.token, NEVER if opening else 0.0
        schedule.stop("deadline")
        if ended == "given up":
            assert schedule.give_up(slot, token, 3.0)
        else:
            assert schedule.fail(slot, token, "cancelled", Verdict("permanent", "unknown_outcome"), 3.0)
        assert slot.troubles is not None and slot.troubles.verdict is not None
        code = "deadline" if idempotent or opening else "unknown_outcome"
        assert (slot.troubles.verdict.code, slot.ended - slot.began) == (code, 0.0 if opening else 3.0)


def test_a_server_that_refuses_everybody_for_longer_than_patience_ends_the_run() -> None:
    """Not each item in turn: its quota may be used up for the day."""
    schedule = Schedule(Limits(1, patience=300.0))
    schedule.feed(range(1000), 0.0)
    now = 0.0
    while schedule.stopping is None and now < 2000:
        _failed(schedule, Verdict("throttled", "throttled", 100.0), now)
        now += 100.0
    assert (schedule.stopping, now) == ("throttled", 500.0)
    assert schedule.finished


def test_an_answer_between_refusals_keeps_a_run_going() -> None:
    schedule = Schedule(Limits(1, patience=300.0))
    schedule.feed(range(100), 0.0)
    for now in range(0, 5000, 100):
        if now % 300 == 200:
            slot = schedule.lease(float(now))
            assert slot is not None and schedule.succeed(slot, slot.token, "value", float(now))
        else:
            _failed(schedule, Verdict("throttled", "throttled", 100.0), float(now))
    assert schedule.stopping is None


def test_whoever_is_being_served_meanwhile_is_not_cut_off() -> None:
    schedule = Schedule(Limits(3, patience=300.0))
    schedule.feed(range(100), 0.0)
    served, *refused = [slot for _ in range(3) if (slot := schedule.lease(0.0)) is not None]
    for slot, now in zip(refused, (0.0, 400.0), strict=True):
        schedule.fail(slot, slot.token, "busy", Verdict("throttled", "throttled", 100.0), now)
    assert schedule.stopping is None
    assert schedule.succeed(served, served.token, "value", 500.0)
