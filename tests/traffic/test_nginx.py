"""Traffic against a limit that is real: nginx, 20 requests a second and 5 more, as its documentation has it.

It holds those 5 back until it is their turn, or answers them at once (``nodelay``). Both are tried at the same
time, each by a run of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lanes import until
from nginx import Nginx
from timing import lasting

import fetchline as fl
from fetchline.demo.session import HttpSession

N = 500
PER_S = 20

Limiting = Callable[[bool], Nginx]


def getting_all(server: Nginx, pace: Any) -> fl.Job[Any]:
    url = server.url

    def get(n: int, *, session: HttpSession = fl.injected) -> int:
        session.get(f"{url}/{n}")
        return n

    return fl.submit(fl.Fetcher.of(get, session=HttpSession, pace=pace), range(N), progress=None)


def delivers(job: fl.Job[Any], server: Nginx, refusals: float, use: float) -> None:
    """Everything, with so many refusals (a part of the items) and that part of what nginx allows."""
    batch = job.result(timeout=110)
    assert batch.values == list(range(N)), batch
    until(lambda: server.accepted >= N, "the access log")
    rate = N / batch.summary.wall_s
    print(f"{server.log}: {server.refused} refused, {rate:.1f}/s; {batch.summary}")
    assert server.accepted == N
    assert server.refused <= refusals * N
    assert rate >= use * PER_S


@lasting(26)
def test_a_declared_pace_uses_what_nginx_allows_and_is_hardly_ever_refused(nginx_limiting: Limiting) -> None:
    servers = [nginx_limiting(nodelay) for nodelay in (False, True)]
    jobs = [getting_all(server, f"{PER_S}/s") for server in servers]
    for job, server in zip(jobs, servers, strict=True):
        delivers(job, server, refusals=0.01, use=0.85)


@lasting(30)
def test_an_adaptive_pace_finds_what_nginx_allows(nginx_limiting: Limiting) -> None:
    """Nobody has told it the limit: at most one item in ten is refused, and 85 % of the limit is used."""
    servers = [nginx_limiting(nodelay) for nodelay in (False, True)]
    jobs = [getting_all(server, fl.Pace(adaptive=True)) for server in servers]
    for job, server in zip(jobs, servers, strict=True):
        delivers(job, server, refusals=0.10, use=0.85)
