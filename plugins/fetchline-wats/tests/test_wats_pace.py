"""The limit of the server, kept by those who share it.

The server here enforces the rate of 500 a minute over windows of 3 s instead of 60, so that a few seconds are enough:
25 requests, and 10 more for those that a busy machine holds up on their way. Sixty at once are refused by it, as the
control shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fetchline_wats import fetchline_register_fetchers
from fetchline_wats.policies import PACE
from support import at, product
from wats_server import WatsServer

import fetchline as fl

PARTS = [f"PN-{n}" for n in range(60)]


def is_ours(member: object) -> bool:
    return isinstance(member, fl.Fetcher)


@pytest.fixture
def strict() -> Iterator[WatsServer]:
    with WatsServer(limit=(35, 3.0)) as server:
        server.products = {part.casefold(): product(part) for part in PARTS}
        yield server


def test_two_programs_that_run_at_once_with_the_defaults_are_never_refused(strict: WatsServer) -> None:
    fetch = at(strict, "wats.product", pace=PACE)
    jobs = [fl.submit(fetch, half) for half in (PARTS[:30], PARTS[30:])]
    assert [job.result().n_failed for job in jobs] == [0, 0]
    assert (strict.refused, len(strict.asked)) == (0, 60)


def test_without_the_pace_the_server_refuses_some_and_they_come_through_all_the_same(
    strict: WatsServer,
) -> None:
    batch = fl.run(at(strict, "wats.product"), PARTS, concurrency=60, progress=None)
    assert batch.n_failed == 0, batch.failures
    assert strict.refused


def test_every_fetcher_keeps_to_one_pace_with_two_seconds_a_minute_to_spare() -> None:
    fetchers = [
        one for module in fetchline_register_fetchers() for one in vars(module).values() if is_ours(one)
    ]
    assert len(fetchers) == 14
    assert {one.policies.pace for one in fetchers} == {PACE}
    (starts, seconds), allowed = PACE.windows
    assert allowed == (500, 60.0)
    assert 500 * seconds / starts - 60 >= 2


def test_a_bulk_call_is_one_start(strict: WatsServer) -> None:
    """A thousand products are 20 requests, and take as long as those."""
    items = [product(f"NEW-{n}") for n in range(1000)]
    batch = fl.run(at(strict, "wats.save_products", pace="20/s"), items, progress=None)
    assert batch.n_failed == 0, batch.failures
    assert (len(strict.asked), strict.refused) == (20, 0)
    assert batch.summary.wall_s < 25


def test_a_fetcher_may_have_another_pace(strict: WatsServer) -> None:
    fetch = at(strict, "wats.product", pace="20/s")
    fl.run(fetch, PARTS[:10], progress=None)
    assert strict.asked[-1].at - strict.asked[0].at >= 0.3
