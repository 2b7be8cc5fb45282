"""The servers of these tests do what the tests take them for."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from clients import Login, ask
from lanes import until
from manners import BEASTS, Bears, Desk, Tasks, Unlucky, Zoo
from nginx import Nginx
from servers import LOST, Answer, Server
from timing import most_within

from fetchline.demo.session import HttpSession, HttpStatusError

Serving = Callable[..., Server]


def status_of(url: str, method: str = "GET") -> int:
    try:
        return ask(url, method).status_code
    except HttpStatusError as error:
        return error.response.status_code


def is_refused(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_server_notes_time_path_and_status_of_every_request(serving: Serving) -> None:
    server = serving()
    before = time.monotonic()
    assert ask(f"{server.url}/a").content == b"ok\n"
    assert status_of(f"{server.url}/b", "POST") == 200
    assert [(seen.method, seen.path, seen.status) for seen in server.seen] == [
        ("GET", "/a", 200),
        ("POST", "/b", 200),
    ]
    assert before <= server.seen[0].at <= server.seen[0].ended <= server.seen[1].at <= time.monotonic()


def test_a_connection_carries_many_requests(serving: Serving) -> None:
    server = serving()
    with HttpSession() as session:
        for n in range(3):
            session.get(f"{server.url}/{n}")
    assert len(server.answered()) == 3


def test_a_lost_answer_is_a_closed_connection(serving: Serving) -> None:
    server = serving(lambda seen: LOST)
    with pytest.raises(ConnectionError):
        ask(f"{server.url}/a")
    assert len(server.seen) == 1


def test_an_outage_answers_503_without_a_retry_after_and_ends_by_itself(serving: Serving) -> None:
    server = serving()
    server.plan_outage("503", after=1, lasting=0.2)
    assert status_of(f"{server.url}/a") == 200
    with pytest.raises(HttpStatusError) as caught:
        ask(f"{server.url}/b")
    assert caught.value.response.headers["Retry-After"] is None
    until(lambda: server.came_back, "the end of the outage")
    assert status_of(f"{server.url}/b") == 200
    assert server.came_back - server.went_down == pytest.approx(0.2, abs=0.1)


def test_an_outage_that_refuses_drops_connections_too_and_keeps_its_port(serving: Serving) -> None:
    server = serving(lambda seen: Answer(after=5.0 if seen.path == "/slow" else 0.0))
    server.plan_outage("refused", after=2, lasting=0.3)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, f"{server.url}/slow")
        until(lambda: server.seen, "the slow request")
        ask(f"{server.url}/a")
        with pytest.raises(ConnectionError):
            ask(f"{server.url}/b")
        assert isinstance(slow.exception(timeout=5), ConnectionError)
    assert is_refused(server)
    until(lambda: server.came_back, "the end of the outage")
    assert status_of(f"{server.url}/b") == 200


def test_it_bears_so_many_requests_at_once(serving: Serving) -> None:
    server = serving(Bears(4, service=0.2))
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(status_of, [f"{server.url}/{n}" for n in range(6)]))
    assert sorted(found) == [200] * 4 + [503] * 2
    assert max(seen.in_flight for seen in server.seen) == 5


def test_bad_luck_has_its_share_and_is_the_same_every_time(serving: Serving) -> None:
    def found() -> list[int]:
        server = serving(Unlucky(0.4))
        return [status_of(f"{server.url}/{n}") for n in range(200)]

    first = found()
    assert 0.3 < first.count(503) / 200 < 0.5
    assert found() == first


@pytest.mark.parametrize("beast", BEASTS)
def test_the_zoo_shows_each_header_once(serving: Serving, beast: str) -> None:
    server = serving(Zoo())
    with pytest.raises(HttpStatusError) as caught:
        ask(f"{server.url}/429/{beast}")
    shown = caught.value.response.headers.get_all("Retry-After")
    assert len(shown or ()) == (2 if beast == "doubled" else 1)
    assert status_of(f"{server.url}/429/{beast}") == 200


def test_tokens_expire_in_the_middle_and_open_nothing_that_is_forbidden(serving: Serving) -> None:
    desk = Desk(uses=2, forbidden=frozenset({"/secret"}))
    server = serving(desk)
    with Login(server.url) as login:
        login.get(1), login.get(2)
        with pytest.raises(HttpStatusError, match="401"):
            login.get(3)
    with Login(server.url) as login:
        login.get(3)
        with pytest.raises(HttpStatusError, match="401"):
            login.get("secret")
    assert (desk.logins, desk.logouts, desk.most, desk.valid) == (2, 2, 1, set())


def test_a_task_is_ready_when_it_was_asked_often_enough(serving: Serving) -> None:
    tasks = Tasks(polls=2)
    server = serving(tasks)
    interval = int(ask(f"{server.url}/submit/1").content)
    assert interval == 87
    assert [status_of(f"{server.url}/poll/1") for _ in range(2)] == [202, 200]
    assert tasks.early == ["1", "1"]


@pytest.mark.parametrize("nodelay", [False, True])
def test_nginx_refuses_what_is_too_fast_and_asks_for_a_second(
    nginx_limiting: Callable[[bool], Nginx], nodelay: bool
) -> None:
    server = nginx_limiting(nodelay)

    def pause_of(n: int) -> str | None:
        try:
            ask(f"{server.url}/{n}")
        except HttpStatusError as error:
            assert error.response.status_code == 429
            return str(error.response.headers["Retry-After"])
        return None

    began = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(pause_of, range(12)))
    took = time.monotonic() - began
    assert 6 <= found.count(None) <= 8
    assert set(found) == {None, "1"}
    assert took > 0.2 or nodelay
    until(lambda: server.accepted + server.refused == 12, "the log")
    assert server.accepted == found.count(None)


def test_the_densest_period_is_found_wherever_it_is() -> None:
    assert most_within([], 1.0) == 0
    assert most_within([0.0, 2.0, 2.5, 2.9, 3.0, 9.0], 1.0) == 3
    assert most_within([0.0, 2.0, 2.5, 2.9, 2.99, 9.0], 1.0) == 4
