"""A server that is away for a while costs time and few calls, and no item; one that stays away ends the run.

It is away in two ways: it answers 503, or nobody listens. Both are tried at the same time, each by a run of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from clients import getting, login
from lanes import Lane, lane_of
from manners import Desk
from servers import Answer, Server
from timing import lasting

import fetchline as fl

Serving = Callable[..., Server]
KINDS: tuple[Literal["503", "refused"], ...] = ("503", "refused")

EXTRA_CALLS = 100
BACK_S = 2.0


def slowly(seen: object) -> Answer:
    return Answer(after=0.02)


def outlives(server: Server, batch: Any, n: int) -> None:
    """What an outage may cost: ``EXTRA_CALLS`` calls, ``BACK_S`` seconds after its end, and no item."""
    assert server.came_back, f"the batch was over before the outage: {batch}"
    assert batch.values == list(range(n)), batch
    assert batch.summary.attempts <= n + EXTRA_CALLS
    first = min(seen.ended for seen in server.answered() if seen.at >= server.came_back)
    assert first - server.came_back <= BACK_S
    assert sum(seen.at > server.came_back for seen in server.seen) > n // 2


def survives(lane: Lane, serving: Serving, after: int, seconds: float, n: int) -> None:
    servers = [serving(slowly) for _ in KINDS]
    jobs = []
    for server, kind in zip(servers, KINDS, strict=True):
        server.plan_outage(kind, after, seconds)
        jobs.append(lane.submit(lane.fetcher(getting(server.url), retry=fl.Try(retry=3)), range(n)))
    for server, job in zip(servers, jobs, strict=True):
        outlives(server, job.result(timeout=110), n)


@lasting(68)
def test_a_minute_away_costs_a_hundred_calls_at_the_most_and_no_item(serving: Serving) -> None:
    with lane_of("thread", 10) as lane:
        survives(lane, serving, after=100, seconds=60, n=1000)


@lasting(12)
def test_seconds_away_cost_no_item_on_any_executor(lane: Lane, serving: Serving) -> None:
    survives(lane, serving, after=30, seconds=8, n=150)


def test_after_patience_the_rest_are_unavailable_and_the_run_returns(lane: Lane, serving: Serving) -> None:
    servers = [serving(slowly) for _ in KINDS]
    jobs = []
    for server, kind in zip(servers, KINDS, strict=True):
        server.plan_outage(kind, after=20, lasting=None)
        fetcher = lane.fetcher(getting(server.url), retry=fl.Try(retry=3), patience=3)
        jobs.append(lane.submit(fetcher, range(80)))
    for server, job in zip(servers, jobs, strict=True):
        batch = job.result(timeout=60)
        served = len(server.answered())
        assert served <= 20
        assert batch.n_succeeded == served
        assert dict(batch.summary.codes) == {"unavailable": 80 - served}
        assert 2.5 <= batch.summary.wall_s < 8
        assert batch.summary.attempts <= 80 + EXTRA_CALLS


@lasting(8)
def test_an_outage_that_begins_before_the_first_login_costs_no_item_either(
    lane: Lane, serving: Serving
) -> None:
    n = 150
    servers = [serving(Desk(service=0.02)) for _ in KINDS]
    jobs = []
    for server, kind in zip(servers, KINDS, strict=True):
        server.plan_outage(kind, after=0, lasting=5)
        fetcher = lane.fetcher(use_session, session=login(server.url), retry=fl.Try(retry=3))
        jobs.append(lane.submit(fetcher, range(n)))
    for server, job in zip(servers, jobs, strict=True):
        batch = job.result(timeout=60)
        outlives(server, batch, n)
        assert batch.summary.outage_s > 0


def test_nobody_answers_at_the_desk_and_nothing_is_tried_again_so_the_run_is_stopped(
    lane: Lane, serving: Serving
) -> None:
    server = serving(Desk())
    server.plan_outage("refused", after=0, lasting=None)
    batch = lane.run(lane.fetcher(use_session, session=login(server.url)), range(2000))
    codes = dict(batch.summary.codes)
    assert codes["unavailable"] + codes["session"] == 2000
    assert codes["unavailable"] < 100
    assert batch[0].message.startswith("SessionFailed: session 'desk' could not be opened: ")
    assert "nobody was let in any more" in batch[1999].message


def use_session(n: int, *, session: Any = fl.injected) -> int:
    session.get(n)
    return n
