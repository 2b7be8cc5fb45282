"""Answers that are final are asked for once; writes are sent once, or can be told apart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clients import ask, getting, login
from lanes import Lane
from manners import Desk
from servers import LOST, Answer, Seen, Server

import fetchline as fl

Serving = Callable[..., Server]


def calls(server: Server) -> Counter[str]:
    return Counter(seen.path for seen in server.seen)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_permanent_answer_is_asked_for_once(lane: Lane, serving: Serving, status: int) -> None:
    server = serving(lambda seen: Answer(status if seen.path in ("/2", "/5") else 200))
    batch = lane.run(lane.fetcher(getting(server.url), retry=fl.Try(retry=5, sleep=0)), range(8))
    assert [failure.item for failure in batch.failures] == [2, 5]
    assert dict(batch.summary.codes) == {"permanent": 2}
    assert set(calls(server).values()) == {1}


def test_a_401_after_a_fresh_login_is_final(lane: Lane, serving: Serving) -> None:
    """It may meet the old login of each worker; one that was made for it is not doubted again."""
    server = serving(Desk(forbidden=frozenset({"/3"})))

    def get(n: int, *, session: Any = fl.injected) -> int:
        session.get(n)
        return n

    fetcher = lane.fetcher(get, session=login(server.url), retry=fl.Try(retry=5, sleep=0))
    batch = lane.run(fetcher, range(8))
    assert [failure.item for failure in batch.failures] == [3]
    assert batch.failures[0].error_code in ("permanent", "session")
    assert calls(server)["/3"] <= lane.width + 1
    renewed = [seen.at for seen in server.seen if seen.path == "/login"]
    late = [seen for seen in server.seen if seen.path == "/3" and seen.at > renewed[-1]]
    assert len(late) <= 1


def test_a_write_whose_answer_is_lost_is_not_sent_again(lane: Lane, serving: Serving) -> None:
    server = serving(lambda seen: LOST if seen.path == "/3" else Answer(201))
    url = server.url

    def post(n: int) -> int:
        ask(f"{url}/{n}", "POST")
        return n

    batch = lane.run(lane.fetcher(post, idempotent=False, retry=fl.Try(retry=5, sleep=0)), range(8))
    assert dict(batch.summary.codes) == {"unknown_outcome": 1}
    assert batch.failures[0].item == 3
    assert calls(server) == {f"/{n}": 1 for n in range(8)}


def test_a_write_that_was_refused_is_sent_again(lane: Lane, serving: Serving) -> None:
    """A 503 is an answer: it was not carried out."""
    refused: set[str] = set()

    def behave(seen: Seen) -> Answer:
        first = seen.path not in refused
        refused.add(seen.path)
        return Answer(503 if first else 201)

    server = serving(behave)
    url = server.url

    def post(n: int) -> int:
        ask(f"{url}/{n}", "POST")
        return n

    batch = lane.run(lane.fetcher(post, idempotent=False, retry=fl.Try(retry=5, sleep=0.01)), range(8))
    assert batch.n_succeeded == 8, batch


def posting(url: str) -> Callable[[int], int]:
    def post(n: int) -> int:
        ask(f"{url}/{n}", "POST", {"Idempotency-Key": fl.attempt().idempotency_key})
        return n

    return post


def keys(server: Server) -> dict[str, set[str]]:
    """The keys that came with each path."""
    found: dict[str, set[str]] = {}
    for seen in server.seen:
        found.setdefault(seen.path, set()).add(seen.headers["idempotency-key"])
    return found


def failing_twice(seen: Seen, asked: Counter[str]) -> Answer:
    asked[seen.path] += 1
    return Answer(500 if asked[seen.path] < 3 else 201)


def test_an_idempotency_key_is_one_for_all_attempts_of_an_item_and_every_run(
    lane: Lane, serving: Serving
) -> None:
    asked: Counter[str] = Counter()
    server = serving(lambda seen: failing_twice(seen, asked))
    fetcher = lane.fetcher(posting(server.url), retry=fl.Try(retry=4, sleep=0.01))
    for _ in range(2):
        assert lane.run(fetcher, range(6)).n_succeeded == 6
    found = keys(server)
    assert len(found) == 6
    assert calls(server)["/0"] == 4
    assert all(len(each) == 1 for each in found.values())
    assert len(set.union(*found.values())) == 6
    assert all(key and key.isascii() and key.isprintable() for each in found.values() for key in each)


AGAIN = """
import sys
import fetchline as fl
from test_answers import posting

batch = fl.run(fl.Fetcher.of(posting(sys.argv[1]), "orders"), range(4), progress=None)
assert batch.n_succeeded == 4, batch
"""


def test_an_idempotency_key_is_the_same_in_another_process(serving: Serving, tmp_path: Path) -> None:
    """A program that died and is started again tells the server what it has sent before."""
    server = serving()
    script = tmp_path / "again.py"
    script.write_text(AGAIN)
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, str(script), server.url], check=True, env=environment, timeout=60)
    found = keys(server)
    assert calls(server) == {f"/{n}": 2 for n in range(4)}
    assert all(len(each) == 1 for each in found.values())
    assert len(set.union(*found.values())) == 4
