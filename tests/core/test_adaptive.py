"""The adaptive limits, on a virtual clock against servers that count, queue or refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchline.core.adaptive import Level, Tempo
from fetchline.core.limits import Limits
from fetchline.core.schedule import Schedule
from fetchline.interfaces import Verdict

REFUSED, DOWN, OK = "refused", "down", "ok"


@dataclass
class Bucket:
    """nginx's limit_req: so many requests a second, a burst that is delayed or not, the rest refused."""

    rate: float
    burst: int
    delays: bool
    excess: float = 0.0
    last: float | None = None

    def arrives(self, now: float, in_flight: int) -> tuple[float, str]:
        excess = 0.0 if self.last is None else max(0.0, self.excess - self.rate * (now - self.last) + 1)
        if excess > self.burst:
            return 0.001, REFUSED
        self.last, self.excess = now, excess
        return 0.002 + (excess / self.rate if self.delays else 0.0), OK


@dataclass
class Bears:
    """A server that bears so many requests at once and turns the others away."""

    most: int
    seconds: float = 0.05
    busiest: dict[int, int] = field(default_factory=dict)

    def arrives(self, now: float, in_flight: int) -> tuple[float, str]:
        second = int(now)
        self.busiest[second] = max(self.busiest.get(second, 0), in_flight)
        return (0.001, DOWN) if in_flight > self.most else (self.seconds, OK)


def drive(
    server: Bucket | Bears, limits: Limits, items: int, pause: float = 1.0
) -> tuple[float, dict[str, int], Schedule]:
    """Run the items against the server; seconds it took, how many of each answer, and the schedule."""
    schedule = Schedule(limits)
    schedule.feed_from(range(items))
    now, number = 0.0, 0
    flying: list[tuple[float, int, object, int, str]] = []
    answers = {OK: 0, REFUSED: 0, DOWN: 0}
    while not schedule.finished:
        while (slot := schedule.lease(now)) is not None:
            number += 1
            took, answer = server.arrives(now, schedule.running)
            heappush(flying, (now + took, number, slot, slot.token, answer))
        due = schedule.timer(now)
        now = min(due, flying[0][0]) if flying else due
        assert now < 1e6, "nothing would ever happen"
        while flying and flying[0][0] <= now:
            _, _, done, token, answer = heappop(flying)
            answers[answer] += 1
            if answer is OK:
                schedule.succeed(done, token, 1, now)  # type: ignore[arg-type]
            elif answer is REFUSED:
                schedule.fail(done, token, "429", Verdict("throttled", "throttled", pause), now)  # type: ignore[arg-type]
            else:
                schedule.fail(done, token, "503", Verdict("retry", "unavailable", 0.0), now)  # type: ignore[arg-type]
        schedule.release(len(schedule.drain(now)))
    return now, answers, schedule


@pytest.mark.parametrize("delays", [True, False])
@pytest.mark.parametrize("concurrency", [4, 10, 32])
def test_a_server_that_counts_is_asked_at_nearly_its_rate_with_few_refusals(
    concurrency: int, delays: bool
) -> None:
    took, answers, _ = drive(Bucket(20.0, 5, delays), Limits(concurrency, adaptive=True), 500)
    assert answers[OK] == 500
    assert answers[REFUSED] <= 0.03 * 500
    assert 500 / took >= 0.85 * 20


def test_over_a_long_run_refusals_become_rare() -> None:
    took, answers, _ = drive(Bucket(20.0, 5, True), Limits(10, adaptive=True), 5000)
    assert answers[REFUSED] <= 0.005 * 5000
    assert 5000 / took >= 0.92 * 20


def test_a_fast_server_that_counts_is_found_out_too() -> None:
    _, answers, schedule = drive(Bucket(200.0, 5, True), Limits(10, adaptive=True), 20_000, pause=0.1)
    assert answers[REFUSED] <= 0.005 * 20_000
    assert schedule.traffic is not None
    _, rate = schedule.traffic.found
    assert rate is not None
    assert 150 <= rate <= 220


@pytest.mark.parametrize("most", [1, 4, 7])
def test_a_server_that_bears_few_at_once_is_asked_by_no_more_within_a_second(most: int) -> None:
    server = Bears(most)
    _, answers, schedule = drive(server, Limits(32, retry=1 << 30, adaptive=True), 2000)
    assert answers[OK] == 2000
    assert answers[DOWN] <= 0.01 * 2000 + 32
    settled = [busiest for second, busiest in server.busiest.items() if second >= 1]
    assert max(settled) <= most + 1  # it asks again now and then, by one more
    assert sum(busiest > most for busiest in settled) <= len(settled) / 4
    assert schedule.traffic is not None
    assert schedule.traffic.found[0] in (most, most + 1)


def test_a_server_that_bears_all_is_asked_by_all() -> None:
    _, answers, schedule = drive(Bears(100), Limits(32, adaptive=True), 2000)
    assert answers == {OK: 2000, REFUSED: 0, DOWN: 0}
    assert schedule.traffic is not None
    assert schedule.traffic.allowed == 32
    assert schedule.traffic.found == (None, None)


def test_an_attempt_that_failed_alone_says_nothing_of_too_many() -> None:
    level = Level(8)
    level.started(1, 1)
    level.overloaded(1, 0.0)
    assert level.allowed == 1
    level.started(2, 1)
    level.succeeded(2, 0.0)
    assert level.allowed == 2


def test_refusals_of_what_was_on_its_way_already_do_not_slow_down_twice() -> None:
    tempo = Tempo()
    tempo.started(0.0)
    for number in range(20):
        tempo.answered(number / 20)
    tempo.refused(0.9, 1.0, 2.0)
    rate = tempo.rate
    tempo.refused(0.95, 1.1, 2.1)
    assert tempo.rate == rate
    assert tempo.due(1.5) == 2.0


_EVENTS: tuple[Callable[[Level, int, float], None], ...] = (
    lambda level, token, now: level.succeeded(token, now),
    lambda level, token, now: level.overloaded(token, now),
    lambda level, token, now: level.forget(token),
)


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.floats(0, 30)), max_size=200),
)
def test_the_level_stays_within_its_bounds_and_never_rises_after_an_error(
    most: int, events: list[tuple[int, int, float]]
) -> None:
    level, now = Level(most), 0.0
    for token, (event, running, passed) in enumerate(events):
        now += passed
        before = level.allowed
        level.started(token, min(running, most))
        _EVENTS[event](level, token, now)
        assert 1 <= level.allowed <= most
        assert level.allowed <= before + (event == 0)


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 30)), max_size=200))
def test_the_tempo_never_rises_by_a_refusal_and_always_goes_on(events: list[tuple[int, float]]) -> None:
    tempo, now = Tempo(), 0.0
    for event, passed in events:
        now += passed
        due = tempo.due(now)
        assert due - now <= 10.0 + 1.0
        if event == 0 and due <= now:
            tempo.started(now)
        elif event == 1:
            tempo.answered(now)
        elif event == 2:
            before = tempo.rate
            tempo.refused(now, now, now + 1.0)
            assert tempo.rate is not None
            assert before is None or tempo.rate <= before


def test_a_long_gap_between_starts_says_no_more_than_a_short_one() -> None:
    tempo = Tempo()
    tempo.started(0.0)
    tempo.answered(0.5)
    tempo.refused(0.0, 1.0, 2.0)
    tempo.started(2.0)
    tempo.started(1e9)
    assert tempo.rate is None or tempo.rate < 1e7


def test_a_server_that_refuses_for_a_while_and_then_no_more_is_soon_asked_at_full_speed() -> None:
    """A refusal before anything was answered is no news about the rate."""
    tempo, now = Tempo(), 0.0
    for _ in range(60):
        now = max(now, tempo.due(now))
        tempo.started(now)
        tempo.refused(now, now + 0.01, now + 1.0)
        now += 1.0
    began = now
    answered = 0
    while now < began + 120:
        now = max(now + 0.001, tempo.due(now))
        tempo.started(now)
        tempo.answered(now)
        answered += 1
    assert answered > 10_000


def test_the_search_becomes_faster_again_when_nothing_was_refused_for_a_long_time() -> None:
    bucket = Bucket(20.0, 5, True)
    _, _, schedule = drive(bucket, Limits(10, adaptive=True), 4000)
    assert schedule.traffic is not None and schedule.traffic.tempo is not None
    tempo = schedule.traffic.tempo
    before, now = tempo.rate, 1000.0
    assert before is not None
    for _ in range(40_000):
        now = max(now, tempo.due(now))
        tempo.started(now)
        tempo.answered(now)
        if tempo.rate is None or now > 1900:
            break
    assert tempo.rate is None or tempo.rate > 2 * before
