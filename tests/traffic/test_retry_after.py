"""Retry-After as servers really send it: never a negative wait, never one beyond the cap, none on a success."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from clients import getting
from lanes import Lane, until
from manners import BEASTS, Zoo
from servers import Answer, Server

import fetchline as fl
from fetchline.interfaces import AttemptInfo, RunInfo
from fetchline.testing import no_waiting

Serving = Callable[..., Server]
CAP_S = 300.0
ENDLESS = ("huge", "infinite", "far")


class Witness:
    """Tells of the first attempt's verdict, as soon as it is known."""

    def __init__(self) -> None:
        self.verdict: Any = None
        self.told = threading.Event()

    @fl.hookimpl
    def fetchline_attempt_finished(self, run: RunInfo, attempt: AttemptInfo) -> None:
        if not self.told.is_set():
            self.verdict = attempt.verdict
            self.told.set()


def by_httpx(url: str) -> Callable[[str], str]:
    def get(path: str) -> str:
        httpx.get(f"{url}/{path}").raise_for_status()
        return path

    return get


@pytest.mark.parametrize("client", [getting, by_httpx], ids=["http.client", "httpx"])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("beast", BEASTS)
def test_no_header_asks_for_less_than_nothing_or_more_than_the_cap(
    serving: Serving, client: Any, status: int, beast: str
) -> None:
    """The wait is read off the verdict that observers are told; the run is cancelled instead of waited for."""
    witness = Witness()
    server = serving(Zoo())
    fetcher = fl.Fetcher.of(client(server.url), retry=3)
    job = fl.submit(fetcher, [f"{status}/{beast}"], plugins=[witness], progress=None)
    until(lambda: server.answered(status), "the refusal")
    job.cancel()
    assert witness.told.wait(20)
    delay = witness.verdict.delay
    assert 0 <= delay <= CAP_S
    if beast in ENDLESS:
        assert delay == CAP_S or (
            beast == "infinite" and delay < 5
        )  # "inf" is no number of seconds in RFC 9110
    else:
        assert delay < 5


@pytest.mark.parametrize("beast", [beast for beast in BEASTS if beast not in ENDLESS])
def test_after_the_wait_the_item_is_delivered_soon(serving: Serving, beast: str) -> None:
    fetcher = fl.Fetcher.of(getting(serving(Zoo()).url), retry=fl.Try(retry=3, sleep=0.05))
    began = time.monotonic()
    batch = fl.run(fetcher, [f"{status}/{beast}" for status in (429, 503)], progress=None)
    assert batch.n_succeeded == 2, batch
    assert time.monotonic() - began < 5


def test_without_waiting_the_whole_zoo_is_delivered(lane: Lane, serving: Serving) -> None:
    server = serving(Zoo())
    items = [f"{status}/{beast}" for status in (429, 503) for beast in BEASTS]
    with no_waiting():
        batch = lane.run(lane.fetcher(getting(server.url), retry=3), items)
    assert batch.values == items, batch


def test_on_a_success_the_header_means_nothing(lane: Lane, serving: Serving) -> None:
    server = serving(lambda seen: Answer(headers=(("Retry-After", "60"),)))
    batch = lane.run(lane.fetcher(getting(server.url)), range(20))
    assert batch.n_succeeded == 20
    assert batch.summary.cooled_s == 0
    assert batch.summary.wall_s < 10


def test_a_cap_longer_than_patience_is_a_failure_and_not_a_wait(serving: Serving) -> None:
    fetcher = fl.Fetcher.of(getting(serving(Zoo()).url), retry=3, patience=1)
    for item in ("429/huge", "429/far"):  # what has not started has lost no patience, and would wait
        batch = fl.run(fetcher, [item], progress=None)
        assert set(batch.summary.codes) == {"throttled"}
        assert batch.summary.wall_s < 5
