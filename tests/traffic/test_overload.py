"""Servers that can bear only so much, and servers that fail at random: everything is delivered."""

from __future__ import annotations

from collections.abc import Callable

from clients import getting
from lanes import Lane
from manners import Bears, Unlucky
from servers import Server
from timing import lasting

import fetchline as fl

Serving = Callable[..., Server]


@lasting(11)
def test_an_adaptive_concurrency_settles_at_what_the_server_bears(serving: Serving) -> None:
    """Within 5 s it keeps to the 4 that the server bears; now and then it may look whether a fifth is borne."""
    server = serving(Bears(4, service=0.05))
    fetcher = fl.Fetcher.of(
        getting(server.url), pace=fl.Pace(adaptive=True), retry=fl.Try(retry=5, sleep=0.05)
    )
    batch = fl.run(fetcher, range(650), executor="thread", concurrency=32, progress=None)
    assert batch.values == list(range(650)), batch
    began = server.seen[0].at
    settled = [seen.in_flight for seen in server.seen if seen.at >= began + 5]
    assert len(settled) > 50
    assert max(settled) <= 5
    assert sum(level <= 4 for level in settled) >= 0.95 * len(settled)


def test_what_fails_at_random_is_delivered_all_the_same(lane: Lane, serving: Serving) -> None:
    server = serving(Unlucky(0.4))
    fetcher = lane.fetcher(getting(server.url), retry=fl.Try(retry=12, sleep=0.01))
    batch = lane.run(fetcher, range(300))
    assert batch.values == list(range(300)), batch
    assert len(server.answered(503)) > 100
    assert batch.summary.attempts == len(server.seen)
