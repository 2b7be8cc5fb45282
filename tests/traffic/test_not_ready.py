"""Remote tasks that take their time hold no worker, cost no retry, and are given up when they take too long."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from clients import ask
from lanes import Lane
from manners import Tasks
from servers import Answer, Server
from timing import lasting

import fetchline as fl
from fetchline.demo.session import HttpSession

Serving = Callable[..., Server]


@lasting(12)
def test_two_thousand_tasks_are_polled_by_eight_workers_each_at_its_own_interval(serving: Serving) -> None:
    """Two polls of up to half a second each: waited for in a worker, they would take more than a minute."""
    tasks = Tasks(polls=2)
    server = serving(tasks)
    url = server.url

    def remote(n: int, *, session: HttpSession = fl.injected) -> int:
        what = "poll" if fl.attempt().memo else "submit"
        reply = session.get(f"{url}/{what}/{n}")
        if reply.status_code == 202:
            raise fl.NotReady(int(reply.content) / 1000, memo={"task": n})
        return n

    fetcher = fl.Fetcher.of(remote, session=HttpSession)  # one call an item: no poll is charged
    batch = fl.run(fetcher, range(2000), executor="thread", workers=8, progress=None)
    assert batch.values == list(range(2000)), batch
    assert set(tasks.submitted.values()) == {1}
    assert set(tasks.polled.values()) == {2}
    assert tasks.early == []
    assert max(seen.in_flight for seen in server.seen) <= 8
    assert batch.summary.wall_s < 40
    assert batch[0].attempts == 3


@pytest.mark.parametrize("after", [0.05, 30.0], ids=["often", "seldom"])
def test_an_item_that_stays_not_ready_beyond_its_limit_is_a_failure(
    lane: Lane, serving: Serving, after: float
) -> None:
    """The limit is for all its waits together, and one that asks for more is not waited for."""
    server = serving(lambda seen: Answer(202 if seen.path == "/never" else 200))
    url = server.url

    def poll(item: str) -> str:
        if ask(f"{url}/{item}").status_code == 202:
            raise fl.NotReady(after, memo="task", limit=0.6)
        return item

    batch = lane.run(lane.fetcher(poll), ["a", "never", "b"])
    assert [result.is_success for result in batch] == [True, False, True]
    assert batch[1].error_code == "not_ready"
    polled = [seen.at for seen in server.seen if seen.path == "/never"]
    assert polled[-1] - polled[0] <= 0.6 + 0.2
    assert polled[-1] - polled[0] >= 0.3 or after > 1
    assert batch.summary.wall_s < 8


def test_a_limit_counts_from_the_first_time_the_item_was_not_ready(serving: Serving) -> None:
    """An item that becomes ready within its limit is delivered, however often it was asked."""
    tasks = Tasks(polls=3)
    server = serving(tasks)
    url = server.url

    def remote(n: int, *, session: HttpSession = fl.injected) -> int:
        what = "poll" if fl.attempt().memo else "submit"
        reply = session.get(f"{url}/{what}/{n}")
        if reply.status_code == 202:
            raise fl.NotReady(int(reply.content) / 1000, memo=n + 1, limit=10)
        return n

    batch = fl.run(fl.Fetcher.of(remote, session=HttpSession), range(10), workers=2, progress=None)
    assert batch.values == list(range(10)), batch
    assert tasks.early == []


def test_submitting_asking_and_downloading_have_timeouts_of_their_own(wide: Lane) -> None:
    """One phase that takes too long is a timeout, though the same time would do in another."""

    def remote(item: str) -> float:
        attempt = fl.attempt()
        if attempt.memo is None:
            raise fl.NotReady(0.01, memo="asked", timeout=0.3)
        if attempt.memo == "asked":
            time.sleep(0.9 if item == "stuck" else 0)
            raise fl.NotReady(0, memo="ready", timeout=30)
        time.sleep(0.5)
        assert attempt.deadline is not None
        return attempt.deadline - time.monotonic()

    batch = wide.run(wide.fetcher(remote, timeout=20), ["a", "stuck", "b"])
    assert [result.is_success for result in batch] == [True, False, True], batch
    assert batch[1].error_code == "timeout"
    assert "0.3 s" in str(batch[1].error)
    assert all(25 < left <= 29.6 for left in batch.values), batch.values


def test_a_timeout_of_its_own_holds_where_the_fetcher_has_none(wide: Lane) -> None:
    def remote(item: str) -> str:
        if fl.attempt().memo is None:
            raise fl.NotReady(0.01, memo="asked", timeout=0.3)
        time.sleep(0.9 if item == "stuck" else 0)
        return item

    batch = wide.run(wide.fetcher(remote), ["a", "stuck", "b"])
    assert [result.is_success for result in batch] == [True, False, True], batch
    assert batch[1].error_code == "timeout"


@pytest.mark.parametrize("usual", [None, 20.0])
def test_a_plain_call_keeps_the_timeout_of_its_next_attempt(usual: float | None) -> None:
    def remote(item: str) -> str:
        if fl.attempt().memo is None:
            raise fl.NotReady(0.01, memo="asked", timeout=0.3)
        time.sleep(0.9 if item == "stuck" else 0)
        return item

    fetcher = fl.Fetcher.of(remote, timeout=usual)
    assert fetcher("a") == "a"
    with pytest.raises(fl.AttemptTimeout, match=r"0\.3 s"):
        fetcher("stuck")
