"""Traffic against a limit that is real: nginx, 20 requests a second and 5 more, as its documentation has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from lanes import until
from nginx import Nginx
from timing import lasting

import fetchline as fl
from fetchline.demo.session import HttpSession

N = 500
PER_S = 20

Limiting = Callable[[bool], Nginx]
both = pytest.mark.parametrize("nodelay", [False, True], ids=["delay", "nodelay"])


def fetch_all(server: Nginx, pace: Any) -> float:
    """Fetch 500 items at that pace; all must be delivered. The seconds it took."""
    url = server.url

    def get(n: int, *, session: HttpSession = fl.injected) -> int:
        session.get(f"{url}/{n}")
        return n

    fetcher = fl.Fetcher.of(get, session=HttpSession, pace=pace)
    began = time.monotonic()
    batch = fl.run(fetcher, range(N), progress=None)
    took = time.monotonic() - began
    assert batch.values == list(range(N)), batch
    until(lambda: server.accepted >= N, "the access log")
    print(f"\n{took:.1f} s, {server.refused} refused, {N / took / PER_S:.0%} of the limit, {batch.summary}")
    return took


@both
@lasting(25)
def test_a_declared_pace_uses_what_nginx_allows_and_is_hardly_ever_refused(
    nginx_limiting: Limiting, nodelay: bool
) -> None:
    server = nginx_limiting(nodelay)
    took = fetch_all(server, "20/s")
    assert server.accepted == N
    assert server.refused <= 0.01 * N
    assert N / took >= 0.85 * PER_S


@both
@lasting(28)
def test_an_adaptive_pace_finds_what_nginx_allows(nginx_limiting: Limiting, nodelay: bool) -> None:
    """Nobody has told it the limit: at most one request in ten is refused, and 85 % of the limit is used."""
    server = nginx_limiting(nodelay)
    took = fetch_all(server, fl.Pace(adaptive=True))
    assert server.accepted == N
    assert server.refused <= 0.10 * N
    assert N / took >= 0.85 * PER_S
