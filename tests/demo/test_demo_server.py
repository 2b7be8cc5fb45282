"""The demonstration's web service, in its own process and over real sockets."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, IncompleteRead
from urllib.parse import urlsplit

import pytest

from fetchline.demo.server import DemoServer
from fetchline.demo.service import Manners, TokenBucket
from fetchline.demo.session import HttpSession, HttpStatusError, Reply

POLITE = Manners(latency=(0, 0), failures=0, rate=100_000, burst=100_000)


@pytest.fixture(scope="module")
def polite() -> Iterator[DemoServer]:
    with DemoServer(POLITE) as server:
        yield server


@pytest.fixture
def session() -> Iterator[HttpSession]:
    with HttpSession(raise_for_status=False) as session:
        yield session


def is_open(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    except ConnectionError:
        return False
    return True


def closes(url: str, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while is_open(url):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# -- what it serves ------------------------------------------------------------------------------------------


def test_a_month_of_a_ticker_is_its_trading_days(polite: DemoServer, session: HttpSession) -> None:
    reply = session.get(f"{polite.url}/daily/AAPL.csv", params={"start": "2012-01-01", "end": "2012-01-31"})
    header, first, *rest = reply.content.decode().splitlines()
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "text/csv"
    assert header == "date,open,high,low,close,volume,adj_close"
    assert first.startswith("2012-01-03,409.4,412.5,409.0,411.23,10793600,")
    assert len(rest) == 19


def test_an_unknown_ticker_is_not_found_and_named(polite: DemoServer, session: HttpSession) -> None:
    reply = session.get(f"{polite.url}/daily/ACME.csv")
    assert (reply.status_code, reply.content) == (404, b"no ticker is named ACME\n")


def test_a_month_without_trading_is_only_the_header(polite: DemoServer, session: HttpSession) -> None:
    reply = session.get(f"{polite.url}/daily/FB.csv", params={"start": "2001-01-01", "end": "2001-01-31"})
    assert (reply.status_code, reply.content.count(b"\n")) == (200, 1)


def test_without_a_span_everything_is_served(polite: DemoServer, session: HttpSession) -> None:
    assert session.get(f"{polite.url}/daily/FB.csv").content.count(b"\n") == 1 + 196


@pytest.mark.parametrize("query", ["start=yesterday", "end=2012-13-01", "from=2012-01-01"])
def test_a_query_it_does_not_understand_is_refused(
    polite: DemoServer, session: HttpSession, query: str
) -> None:
    assert session.get(f"{polite.url}/daily/FB.csv?{query}").status_code == 400


def test_an_address_it_does_not_have_is_not_found(polite: DemoServer, session: HttpSession) -> None:
    assert session.get(f"{polite.url}/weekly/FB.csv").status_code == 404


def test_a_connection_is_kept_whatever_the_answer(polite: DemoServer) -> None:
    connection = HTTPConnection(urlsplit(polite.url).netloc, timeout=5)
    connection.connect()
    kept = connection.sock
    for path, status in [("/daily/FB.csv", 200), ("/daily/ACME.csv", 404), ("/stats", 200)] * 2:
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        assert (reply.status, reply.version) == (status, 11)
        assert connection.sock is kept
    connection.close()


def test_the_counters_add_up(session: HttpSession) -> None:
    with DemoServer(POLITE) as server:
        for ticker in ("FB", "IBM", "ACME"):
            session.get(f"{server.url}/daily/{ticker}.csv")
        assert server.stats() == {"requests": 3, "by_status": {"200": 2, "404": 1}}
        assert json.loads(session.get(f"{server.url}/stats").content) == server.stats()


# -- its manners ---------------------------------------------------------------------------------------------


def months(server: DemoServer, ticker: str = "IBM") -> list[str]:
    days = [(year, month) for year in range(2001, 2011) for month in range(1, 13)]
    return [f"{server.url}/daily/{ticker}.csv?start={y}-{m:02}-01&end={y}-{m:02}-28" for y, m in days]


def test_some_first_requests_are_unavailable_and_every_second_one_is_not(session: HttpSession) -> None:
    with DemoServer(Manners(latency=(0, 0), failures=0.2, rate=100_000, burst=100_000)) as server:
        first = [session.get(url) for url in months(server)]
        again = [session.get(url) for url in months(server)]
    unavailable = [reply for reply in first if reply.status_code == 503]
    assert 10 <= len(unavailable) <= 40  # about 24 of 120
    assert {reply.status_code for reply in first} == {200, 503}
    assert not any("Retry-After" in reply.headers for reply in unavailable)
    assert {reply.status_code for reply in again} == {200}


def test_two_servers_fail_on_the_same_paths(session: HttpSession) -> None:
    def statuses() -> list[int]:
        with DemoServer(Manners(latency=(0, 0), failures=0.2, rate=100_000, burst=100_000)) as server:
            return [session.get(url).status_code for url in months(server)]

    assert statuses() == statuses()


def test_past_the_rate_it_says_when_to_come_back(session: HttpSession) -> None:
    manners = Manners(latency=(0, 0), failures=0, rate=0.4, burst=5)
    with DemoServer(manners) as server:
        began = time.monotonic()
        replies = [session.get(url) for url in months(server)[:30]]
        refilled = (time.monotonic() - began) * manners.rate
        counts = server.stats()["by_status"]
    refused = [reply for reply in replies if reply.status_code == 429]
    assert 5 <= 30 - len(refused) <= 5 + refilled
    assert counts == {"200": 30 - len(refused), "429": len(refused)}
    waits = [reply.headers["Retry-After"] for reply in refused]
    assert all(re.fullmatch(r"[1-3]", wait) for wait in waits)  # a token takes 2.5 s


def test_a_refused_request_is_answered_after_the_pause_it_was_told(session: HttpSession) -> None:
    with DemoServer(Manners(latency=(0, 0), failures=0, rate=2, burst=1)) as server:
        statuses: list[int] = []
        while 429 not in statuses:
            reply = session.get(f"{server.url}/daily/IBM.csv")
            statuses.append(reply.status_code)
        time.sleep(int(reply.headers["Retry-After"]))
        assert session.get(f"{server.url}/daily/IBM.csv").status_code == 200


def test_a_bucket_never_gives_more_than_its_burst_and_its_rate() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    taken = [now / 100 for now in range(500) if bucket.take(now / 100) == 0]
    assert taken[:3] == [0.0, 0.01, 0.02]
    for n, start in enumerate(taken):
        for m, end in enumerate(taken[n:], start=1):
            assert m <= 3 + 10 * (end - start) + 1e-6
    assert len(taken) in (52, 53)


def test_a_full_bucket_does_not_grow() -> None:
    bucket = TokenBucket(rate=1000, burst=2)
    assert [bucket.take(now=1000.0) == 0 for _ in range(3)] == [True, True, False]


def test_an_answer_takes_its_time(session: HttpSession) -> None:
    with DemoServer(Manners(latency=(0.05, 0.06), failures=0)) as server:
        began = time.perf_counter()
        for url in months(server)[:4]:
            session.get(url)
        assert time.perf_counter() - began >= 4 * 0.05


# -- its life ------------------------------------------------------------------------------------------------


def test_leaving_the_block_ends_the_process_and_closes_the_port() -> None:
    with DemoServer(POLITE) as server:
        url, pid = server.url, server.pid
        assert is_open(url)
    assert not is_open(url)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_error_in_the_block_ends_it_too() -> None:
    with pytest.raises(ZeroDivisionError), DemoServer(POLITE) as server:
        raise ZeroDivisionError
    assert not is_open(server.url)


def test_it_ends_though_a_client_is_still_connected() -> None:
    with HttpSession() as session:
        with DemoServer(POLITE) as server:
            session.get(f"{server.url}/daily/FB.csv")
            began = time.monotonic()
        assert time.monotonic() - began < 3
        assert not is_open(server.url)


def test_options_it_cannot_read_are_an_error_that_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="exit code 2"), DemoServer(Manners(rate="many")):  # type: ignore[arg-type]
        raise AssertionError("it started")
    assert "invalid float value: 'many'" in capfd.readouterr().err


def test_by_hand_its_first_line_is_its_port_and_the_end_of_input_its_end() -> None:
    command = [sys.executable, "-m", "fetchline.demo.server", "--port", "0", "--latency", "0", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        assert is_open(url)
        process.stdin.write("anything typed is ignored\n")
        process.stdin.flush()
        assert is_open(url)
        process.stdin.close()
        assert process.wait(timeout=10) == 0
    assert not is_open(url)


PARENT = """
    import os, time
    from fetchline.demo.server import DemoServer
    with DemoServer() as server:
        {fork}
        print(server.url, {child}, flush=True)
        time.sleep(600)
"""


def start_parent(**parts: str) -> tuple[subprocess.Popen[str], str, int]:
    program = textwrap.dedent(PARENT.format(**parts))
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    url, child = parent.stdout.readline().split()
    return parent, url, int(child)


def test_it_dies_with_a_killed_parent() -> None:
    parent, url, _ = start_parent(fork="", child="0")
    with parent:
        assert is_open(url)
        parent.kill()
    assert closes(url)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform does not fork")
def test_it_dies_with_its_parent_though_a_forked_process_holds_its_input_open() -> None:
    fork = "child = os.fork() or time.sleep(600)"
    parent, url, child = start_parent(fork=fork, child="child")
    try:
        parent.kill()
        parent.wait()
        assert closes(url)
        os.kill(child, 0)  # still there, and still holding the pipe
    finally:
        os.kill(child, signal.SIGKILL)
        assert parent.stdout
        parent.stdout.close()


# -- the session that stands in for httpx --------------------------------------------------------------------


def test_an_error_status_raises_with_its_answer_and_keeps_the_connection(polite: DemoServer) -> None:
    with HttpSession() as session:
        with pytest.raises(HttpStatusError, match="404 Not Found: no ticker is named ACME") as caught:
            session.get(f"{polite.url}/daily/ACME.csv")
        assert caught.value.response.status_code == 404
        kept = session._connection
        assert session.get(f"{polite.url}/daily/FB.csv").status_code == 200
        assert session._connection is kept


def test_the_error_crosses_to_another_process_with_its_headers(session: HttpSession) -> None:
    with DemoServer(Manners(latency=(0, 0), rate=0.5, burst=0)) as server:
        reply = session.get(f"{server.url}/daily/FB.csv")
    error = pickle.loads(pickle.dumps(HttpStatusError(reply)))
    assert isinstance(error.response, Reply)
    assert (error.response.status_code, error.response.headers["retry-after"]) == (429, "2")
    assert str(error) == str(HttpStatusError(reply))


def test_a_session_keeps_its_connection_and_finds_another_after_a_loss(session: HttpSession) -> None:
    with DemoServer(POLITE) as server:
        session.get(f"{server.url}/daily/FB.csv")
        kept = session._connection
        session.get(f"{server.url}/daily/FB.csv")
        assert session._connection is kept
    with pytest.raises(OSError):
        session.get(f"{server.url}/daily/FB.csv")
    with DemoServer(POLITE) as server:
        assert session.get(f"{server.url}/daily/FB.csv").status_code == 200


def test_half_an_answer_is_an_error_and_the_next_one_is_whole(session: HttpSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(10)

        def serve() -> None:
            for body in (b"half", b"the whole!"):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + body)

        served = pool.submit(serve)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(IncompleteRead):
            session.get(url)
        assert session.get(url).content == b"the whole!"
        served.result()
