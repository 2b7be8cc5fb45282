"""Slots that wait for a time leave in the order of their times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fetchline.core.waits import Waits

NEVER = float("inf")


def _filled(*times: float) -> Waits[str]:
    waits: Waits[str] = Waits()
    for number, when in enumerate(times):
        waits.add(when, f"{number}")
    return waits


def test_nothing_waits_at_first_and_nothing_is_ever_due() -> None:
    waits: Waits[str] = Waits()
    assert (len(waits), waits.when, waits.due(1e9), waits.clear()) == (0, NEVER, [], [])


def test_what_is_due_exactly_now_leaves_now() -> None:
    waits = _filled(2.0)
    assert waits.due(1.999) == []
    assert waits.due(2.0) == ["0"]


def test_the_earliest_leaves_first_whatever_the_order_it_came_in() -> None:
    assert _filled(3.0, 1.0, 2.0).due(9.0) == ["1", "2", "0"]


def test_equal_times_leave_in_the_order_they_came() -> None:
    assert _filled(1.0, 1.0, 0.5, 1.0).due(1.0) == ["2", "0", "1", "3"]


def test_slots_need_not_compare() -> None:
    waits: Waits[object] = Waits()
    one, two = object(), object()
    waits.add(1.0, one)
    waits.add(1.0, two)
    assert waits.due(1.0) == [one, two]


def test_when_is_always_the_earliest_time_left() -> None:
    waits = _filled(3.0, 1.0)
    assert waits.when == 1.0
    waits.due(2.0)
    assert waits.when == 3.0
    waits.due(3.0)
    assert waits.when == NEVER


def test_clearing_takes_everything_out_in_order() -> None:
    waits = _filled(3.0, 1.0, 1.0)
    assert waits.clear() == ["1", "2", "0"]
    assert (len(waits), waits.when) == (0, NEVER)


@given(st.lists(st.one_of(st.floats(0, 10), st.just(None))))
def test_it_agrees_with_a_sorted_list_at_every_step(steps: list[float | None]) -> None:
    """A number is added; None takes out what is due at the time of the last number."""
    waits: Waits[int] = Waits()
    model: list[tuple[float, int]] = []
    now = 5.0
    for number, step in enumerate(steps):
        if step is None:
            due = sorted(entry for entry in model if entry[0] <= now)
            model = [entry for entry in model if entry[0] > now]
            assert waits.due(now) == [number for _, number in due]
        else:
            now = step
            waits.add(step, number)
            model.append((step, number))
        assert len(waits) == len(model)
        assert waits.when == min((when for when, _ in model), default=NEVER)
