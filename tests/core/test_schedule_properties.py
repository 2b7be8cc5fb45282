"""Hypothesis looks for runs that break a promise, and shrinks what it finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from planted import BUGS

from fetchline.core.limits import NEVER, Limits
from fetchline.core.schedule import Schedule
from fetchline.interfaces import Verdict
from fetchline.testing.simulator import play

_KINDS: tuple[Any, ...] = ("retry", "throttled", "not_ready", "expired", "permanent", "no_data", "stop")


# A fixed number of bytes: drawn lengths are mostly short, and a short run shows little.
_RUN = st.binary(min_size=120, max_size=120)


@settings(max_examples=8_000, deadline=None, database=None)
@given(_RUN)
def test_no_choice_of_events_breaks_a_promise(choices: bytes) -> None:
    trace = play(choices)
    assert trace is None, str(trace)


@settings(max_examples=2_000, deadline=None, database=None)
@given(st.binary(min_size=600, max_size=600))
def test_no_long_choice_of_events_breaks_a_promise(choices: bytes) -> None:
    trace = play(choices)
    assert trace is None, str(trace)


@pytest.mark.parametrize(
    "name",
    [
        "LeavesOutOfOrder",
        "LosesWhatIsHeldAtAStop",
        "RunsOneMoreAtOnce",
        "StartsInACooldown",
        "TakesALateError",
    ],
)
def test_such_choices_do_show_a_planted_bug(name: str) -> None:
    @settings(max_examples=1_000, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(_RUN)
    def look(choices: bytes) -> None:
        assert play(choices, BUGS[name]) is None

    with pytest.raises(AssertionError):
        look()


@settings(max_examples=1_000, deadline=None)
@given(
    items=st.lists(st.integers(), max_size=30),
    concurrency=st.integers(1, 5),
    ordered=st.booleans(),
    ends=st.lists(st.integers(0, 4), max_size=60),
)
def test_every_item_leaves_once_with_its_own_value(
    items: list[int], concurrency: int, ordered: bool, ends: list[int]
) -> None:
    schedule = Schedule(Limits(concurrency, window=7), ordered=ordered)
    schedule.feed_from(items)
    flying, out = [], []
    while not schedule.finished or schedule.running:
        while (slot := schedule.lease(0.0)) is not None:
            flying.append(slot)
        slot = flying.pop((ends.pop() if ends else 0) % len(flying))
        assert schedule.succeed(slot, slot.token, ("value of", slot.item), 0.0)
        left = schedule.drain(0.0)
        left = schedule.heads(99) if ordered else left
        schedule.release(len(left))
        out += left
    assert [slot.value for slot in sorted(out, key=lambda slot: slot.index)] == [
        ("value of", i) for i in items
    ]
    assert not ordered or [slot.item for slot in out] == items


@settings(max_examples=1_000, deadline=None)
@given(
    retry=st.integers(1, 4),
    patience=st.integers(0, 6),
    answers=st.lists(st.tuples(st.sampled_from(_KINDS), st.integers(1, 3)), min_size=1, max_size=30),
)
def test_an_item_is_charged_by_the_rules_and_ends(
    retry: int, patience: int, answers: list[tuple[Any, int]]
) -> None:
    schedule = Schedule(Limits(1, retry=retry, patience=patience))
    schedule.feed(["x"], 0.0)
    schedule.close_input()
    now, charged, held_since, pending_since = 0.0, 0, NEVER, NEVER
    for kind, delay in answers:
        slot = schedule.lease(now)
        assert slot is not None
        assert slot.charged == charged
        assert schedule.fail(slot, slot.token, "error", Verdict(kind, delay=delay), now)
        charged += kind == "retry"
        over = kind in ("permanent", "no_data", "stop") or charged >= retry
        if kind == "not_ready":
            held_since, pending_since = NEVER, min(pending_since, now)
            over = now + delay - pending_since > patience
        elif kind in ("throttled", "expired"):
            held_since = min(held_since, now)
            over = now + delay - held_since > patience
        else:
            held_since = NEVER
        assert schedule.finished is over
        if over:
            return
        assert schedule.timer(now) == now + delay
        now += delay
