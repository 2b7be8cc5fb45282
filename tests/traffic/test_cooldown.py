"""A server that asks for a pause gets one, from everybody; nobody's retries pay, and nobody rushes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clients import getting
from lanes import lane_of
from servers import Answer, Seen, Server

Serving = Callable[..., Server]

SERVICE_S = 0.2
WIDTHS = {"serial": 1, "thread": 8, "process": 4, "asyncio": 8}


def refusing(paths: set[str]) -> Callable[[Seen], Answer]:
    """Refuse each of these paths once, and ask for a second; what came at the same time is refused with it."""
    left = set(paths)

    def behave(seen: Seen) -> Answer:
        if seen.path in left:
            left.discard(seen.path)
            return Answer(429, headers=(("Retry-After", "1"),), after=0.1)
        return Answer(after=SERVICE_S)

    return behave


@pytest.mark.parametrize("name", WIDTHS)
def test_a_429_pauses_every_start_and_charges_no_retry(name: str, serving: Serving) -> None:
    width = WIDTHS[name]
    n = 6 * width
    server = serving(refusing({f"/{3 * width}"}))
    with lane_of(name, width) as lane:
        batch = lane.run(lane.fetcher(getting(server.url)), range(n))  # one call an item: retry=1
    assert batch.values == list(range(n)), batch
    [refused] = server.answered(429)
    # What was on its way when the refusal arrived is served; a busy machine takes its time to tell everybody.
    paused = [seen.at - refused.ended for seen in server.seen if 0.15 < seen.at - refused.ended < 0.98]
    assert paused == []
    after = [seen for seen in server.seen if seen.at >= refused.ended + 0.98]
    assert after[0].at - refused.ended < 2
    assert batch.summary.cooled_s == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("name", [name for name in WIDTHS if name != "serial"])
def test_after_a_pause_the_workers_come_back_one_after_the_other(name: str, serving: Serving) -> None:
    """In the end all are at work again, but not in the first moments after the pause."""
    width = WIDTHS[name]
    n = 20 * width
    server = serving(refusing({f"/{3 * width}"}))
    with lane_of(name, width) as lane:
        batch = lane.run(lane.fetcher(getting(server.url)), range(n))
    assert batch.values == list(range(n)), batch
    [refused] = server.answered(429)
    after = [seen for seen in server.seen if seen.at >= refused.ended + 0.98]
    first = after[0].at
    soon = max(seen.in_flight for seen in after if seen.at < first + 0.9 * SERVICE_S)
    assert soon <= width // 2
    assert max(seen.in_flight for seen in after) == width


@pytest.mark.parametrize("name", ["thread", "asyncio"])
def test_refusals_that_come_together_are_one_pause_and_not_a_row_of_them(name: str, serving: Serving) -> None:
    server = serving(refusing({f"/{n}" for n in range(4)}))
    with lane_of(name, 4) as lane:
        batch = lane.run(lane.fetcher(getting(server.url)), range(10))
    assert batch.values == list(range(10)), batch
    assert len(server.answered(429)) == 4
    assert batch.summary.cooled_s < 1.6
