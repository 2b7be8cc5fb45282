"""What a run says of its pace when it is over."""

from __future__ import annotations

from collections.abc import Callable

from clients import getting
from lanes import Lane
from servers import Answer, Seen, Server

import fetchline as fl

Serving = Callable[..., Server]


def is_advice(advice: object) -> bool:
    return isinstance(advice, tuple) and all(isinstance(line, str) and line.strip() for line in advice)


def test_the_summary_tells_the_seconds_spent_waiting_for_the_pace(lane: Lane, serving: Serving) -> None:
    """Twenty items at 20 a second take 0.95 s, nearly all of it waiting."""
    server = serving()
    batch = lane.run(lane.fetcher(getting(server.url), pace="20/s"), range(20))
    assert batch.n_succeeded == 20
    assert 0.5 <= batch.summary.limited_s <= batch.summary.wall_s
    assert is_advice(batch.summary.advice)
    assert all(line in str(batch.summary) for line in batch.summary.advice)


def test_a_run_without_a_pace_waited_for_none(lane: Lane, serving: Serving) -> None:
    batch = lane.run(lane.fetcher(getting(serving().url)), range(20))
    assert batch.summary.limited_s == 0
    assert is_advice(batch.summary.advice)


def test_a_pace_that_does_not_bind_costs_nothing(serving: Serving) -> None:
    """The work itself is slower than the pace."""
    server = serving(lambda seen: Answer(after=0.05))
    batch = fl.run(fl.Fetcher.of(getting(server.url), pace="1000/s"), range(20), workers=2, progress=None)
    assert batch.summary.limited_s < 0.1


def test_a_run_that_a_server_held_back_is_advised_to_keep_a_pace(serving: Serving) -> None:
    left = {"/3"}

    def behave(seen: Seen) -> Answer:
        if seen.path in left:
            left.discard(seen.path)
            return Answer(429, headers=(("Retry-After", "2"),))
        return Answer()

    batch = fl.run(fl.Fetcher.of(getting(serving(behave).url)), range(20), workers=2, progress=None)
    assert batch.n_succeeded == 20
    assert is_advice(batch.summary.advice)
    assert any("pace" in line for line in batch.summary.advice)
