"""A server that is away for a while costs time and few calls, and no item; one that stays away ends the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import pytest
from clients import getting
from lanes import Lane
from servers import Answer, Server
from timing import lasting

import fetchline as fl

Serving = Callable[..., Server]
Kind = Literal["503", "refused"]

EXTRA_CALLS = 100
BACK_S = 2.0


def slowly(seen: object) -> Answer:
    return Answer(after=0.02)


def outlives(server: Server, batch: Any, n: int) -> None:
    """What an outage may cost: ``EXTRA_CALLS`` calls, ``BACK_S`` seconds after its end, and no item."""
    assert server.came_back, "the batch was over before the outage"
    assert batch.values == list(range(n)), batch
    assert batch.summary.attempts <= n + EXTRA_CALLS
    first = min(seen.ended for seen in server.answered() if seen.at >= server.came_back)
    assert first - server.came_back <= BACK_S
    assert sum(seen.at > server.came_back for seen in server.seen) > n // 2


@pytest.mark.parametrize("kind", ["503", "refused"])
@lasting(68)
def test_a_minute_away_costs_a_hundred_calls_at_the_most_and_no_item(serving: Serving, kind: Kind) -> None:
    server = serving(slowly)
    server.plan_outage(kind, after=100, lasting=60)
    fetcher = fl.Fetcher.of(getting(server.url), retry=fl.Try(retry=3))
    batch = fl.run(fetcher, range(1000), executor="thread", workers=10, progress=None)
    outlives(server, batch, 1000)


@lasting(14)
def test_seconds_away_cost_no_item_on_any_executor(lane: Lane, serving: Serving) -> None:
    """Both kinds at the same time, a run each."""
    runs = []
    for kind in ("503", "refused"):
        server = serving(slowly)
        server.plan_outage(kind, after=30, lasting=8)
        runs.append(
            (server, lane.submit(lane.fetcher(getting(server.url), retry=fl.Try(retry=3)), range(150)))
        )
    for server, job in runs:
        outlives(server, job.result(timeout=60), 150)


@pytest.mark.parametrize("kind", ["503", "refused"])
def test_after_patience_the_rest_are_unavailable_and_the_run_returns(
    lane: Lane, serving: Serving, kind: Kind
) -> None:
    server = serving(slowly)
    server.plan_outage(kind, after=20, lasting=None)
    fetcher = lane.fetcher(getting(server.url), retry=fl.Try(retry=3), patience=3)
    began = time.monotonic()
    batch = lane.run(fetcher, range(80))
    took = time.monotonic() - began
    served = len(server.answered())
    assert served <= 20
    assert batch.n_succeeded == served
    assert dict(batch.summary.codes) == {"unavailable": 80 - served}
    assert 2.5 <= took < 8
    assert batch.summary.attempts <= 80 + EXTRA_CALLS
