"""The public doubles do what they say, and their examples run."""

from __future__ import annotations

import doctest
import importlib
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

import fetchline as fl
from fetchline.testing import FakeSession, Log, LoggedSession, flaky, gone, until

MODULES = [
    "fetchline.testing",
    *(
        f"fetchline.testing.{name}"
        for name in ("calls", "doubles", "evidence", "executors", "lane", "progress")
    ),
    *("fetchline.testing.sessions", "fetchline.waiting"),
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


# -- FakeSession -------------------------------------------------------------------------------------------


def price(symbol: str, *, session: Any = fl.injected) -> float:
    return float(session.get(f"/{symbol}"))


def test_answers_come_in_order_and_errors_are_raised() -> None:
    client = FakeSession("1", ValueError("no"), "3")
    assert client.get("/a") == "1"
    with pytest.raises(ValueError, match="no"):
        client.post("/b", json={})
    assert client.get("/c") == "3"
    assert client.calls == [("get", ("/a",), {}), ("post", ("/b",), {"json": {}}), ("get", ("/c",), {})]


def test_a_call_for_which_nothing_was_prepared_is_named() -> None:
    with pytest.raises(AssertionError, match=r"no answer is left for get\('/a'\), call number 1"):
        FakeSession().get("/a")
    with pytest.raises(AssertionError, match=r"no answer was prepared for get\('/b'\), only for \['/a'\]"):
        FakeSession({"/a": "1"}).get("/b")
    with pytest.raises(AssertionError, match=r"no answer was prepared for close\(\)"):
        FakeSession({"/a": "1"}).close()


@pytest.mark.parametrize("executor", ["serial", "thread"])
def test_answers_by_argument_serve_a_run_and_the_last_of_several_is_repeated(executor: str) -> None:
    client = FakeSession({"/A": "1", "/B": [ConnectionError("reset"), "2"], "/C": ["x", "y"]})
    fetcher = fl.Fetcher.of(price, session=lambda: client, retry=fl.Try(retry=2, sleep=0))
    batch = fl.run(fetcher, ["A", "B", "C", "A"], executor=executor, progress=None)
    assert [result.status for result in batch] == ["success", "success", "failure", "success"]
    assert batch[1].attempts == 2
    assert len(client.calls) == 6
    assert client.opened == client.closed >= 1
    assert client.get("/C") == "y"


def test_an_answer_may_be_a_mapping_where_several_are_given() -> None:
    assert FakeSession({"json": 1}, "x").get("/") == {"json": 1}


def test_it_serves_coroutine_functions_too() -> None:
    async def price_async(symbol: str, *, session: Any = fl.injected) -> float:
        return float(await session.get(f"/{symbol}"))

    client = FakeSession({"/A": "1", "/B": "2"})
    batch = fl.run(fl.Fetcher.of(price_async, session=lambda: client), ["A", "B"], progress=None)
    assert batch.values == [1.0, 2.0]
    assert (client.opened, client.closed) == (1, 1)


def test_it_says_that_it_does_not_go_to_other_processes() -> None:
    client = FakeSession("1")
    fetcher = fl.Fetcher.of(price, session=lambda: client)
    result = fl.run(fetcher, ["A"], executor="process", workers=1, progress=None)[0]
    assert result.error_code == "unpicklable"
    assert "belongs to the process of the test: run on threads, asyncio or serial" in result.message


def test_it_is_no_mock_of_private_names() -> None:
    client = FakeSession("1")
    assert not hasattr(client, "_repr_html_")
    assert repr(client) == "<FakeSession, 0 calls>"


# -- flaky -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def test_flaky_fails_the_first_attempts_of_each_item_on_any_executor(executor: str) -> None:
    fetcher = fl.Fetcher.of(flaky(lambda n: 2 * n, failures=2), retry=fl.Try(retry=3, sleep=0))
    batch = fl.run(fetcher, range(5), executor=executor, progress=None)
    assert batch.values == [0, 2, 4, 6, 8]
    assert {result.attempts for result in batch} == {3}


def test_flaky_keeps_the_policies_and_the_signature_of_a_fetcher() -> None:
    client = FakeSession({"/A": "1"})
    original = fl.Fetcher.of(price, "app.price", session=lambda: client, retry=fl.Try(retry=2, sleep=0))
    failing = flaky(original)
    assert (failing.name, failing.policies) == (original.name, original.policies)
    assert failing("A") == 1.0
    assert fl.run(failing, ["A"], progress=None)[0].attempts == 2


@pytest.mark.parametrize(("error", "text"), [(OSError, "failure 1 of 1"), (OSError("mine"), "mine")])
def test_flaky_raises_what_it_is_told_to(error: Any, text: str) -> None:
    with pytest.raises(OSError, match=text):
        fl.Fetcher.of(flaky(error=error))(1)


# -- evidence ----------------------------------------------------------------------------------------------


def test_a_log_is_written_by_many_at_once_and_no_line_is_lost(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    assert log.lines() == []

    def call(n: int) -> None:
        log.note("in", n)
        log.note("out", n)

    fl.run(call, range(200), workers=8, progress=None)
    fl.run(call, range(50), executor="process", workers=2, progress=None)
    assert (log.count("in"), log.count("out"), log.count("in", 3)) == (250, 250, 2)
    assert 1 <= log.most_at_once() <= 8
    assert pickle.loads(pickle.dumps(log)).count("in") == 250


def test_waiting_in_vain_says_for_what(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"waited 0.01 s in vain for rain"):
        until(lambda: False, "rain", patience=0.01)
    with pytest.raises(AssertionError, match=r"2 x \('call', 7\) in log"):
        Log(tmp_path / "log").wait_for("call", 7, times=2, patience=0.01)


def test_a_logged_session_notes_where_it_was_opened_and_refuses_to_travel(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    with LoggedSession(log) as first, LoggedSession(log) as second:
        assert (first.number, second.number) == (1, 2)
        with pytest.raises(AssertionError, match="a session was pickled"):
            pickle.dumps(first)
    assert log.lines()[0] == ["open", os.getpid(), threading.get_ident()]
    assert log.count("close") == 2


def test_a_process_is_gone_once_it_has_ended() -> None:
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not gone(child.pid)
    child.communicate(b"\n")
    assert gone(child.pid)
