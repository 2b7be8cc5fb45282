from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest
from baostock_server import (
    BAD_INDICATOR,
    BAD_PASSWORD,
    BANNED,
    END,
    LOST,
    NO_LOGIN,
    SYSTEM,
    BaostockServer,
    Question,
    Reply,
    Twist,
    instead,
    refusal,
    volume,
)
from fetchline_baostock import BaostockError, fetchline_register_sessions, judge, session
from fetchline_baostock.fetchers import ohlcv

import fetchline as fl
from fetchline.testing import SessionSuite

SPEC = fetchline_register_sessions()[0]
YEAR = fl.Period.from_year(2024)
NAMES = "date,code,volume"
SERVERS: list[BaostockServer] = []


@pytest.fixture
def server() -> Iterator[BaostockServer]:
    with BaostockServer() as server:
        yield server


def using(server: BaostockServer, fetcher: Any = ohlcv, *, retry: int = 5, **options: Any) -> Any:
    many = fl.use("baostock", **server.options, **options)
    return fetcher.replace(session=many, retry=fl.Try(retry=retry, sleep=0.001))


def run(server: BaostockServer, codes: list[str], *, retry: int = 5, **options: Any) -> Any:
    fetcher = using(server, retry=retry, **options)
    return fl.run(fetcher, codes, params={"period": YEAR}, workers=1, progress=None)


def once(fault: Twist, when: Callable[[Question], bool]) -> Twist:
    """The first question of that kind is answered otherwise."""
    left = [1]

    def twist(question: Question, reply: Reply) -> Reply:
        if left and when(question):
            left.pop()
            return fault(question, reply)
        return reply

    return twist


def a_query(question: Question) -> bool:
    return question.method.startswith("query_")


def refuses(code: str, message: str) -> Twist:
    return lambda question, reply: Reply(refusal(question, code, message))


class TestBaostock(SessionSuite):
    errors = (BaostockError(*NO_LOGIN), BaostockError(*BANNED), BaostockError("10009999", "?"))

    @pytest.fixture
    def session(self, server: BaostockServer) -> Iterator[Any]:
        SERVERS.append(server)
        yield fl.use("baostock", **server.options)
        SERVERS.remove(server)

    def check(self, session: Any) -> Any:
        assert session.query("query_stock_basic", "sh.600000").height == 1

    def expire(self, session: Any) -> None:
        SERVERS[-1].expire()

    def logins(self) -> int | None:
        return SERVERS[-1].count("login") if SERVERS else 0

    def logouts(self) -> int | None:
        return SERVERS[-1].count("logout") if SERVERS else 0


# -- answers that break off --------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 10, 20, 21, 22, 40, -14, -13, -1])
@pytest.mark.parametrize("method", ["login", "query_history_k_data_plus"])
def test_an_answer_that_breaks_off_anywhere_is_asked_for_again(
    method: str, at: int, server: BaostockServer
) -> None:
    server.twist = once(lambda question, reply: reply.cut(at), lambda question: question.method == method)
    result = run(server, ["sh.600000"])[0]
    assert result.value.height == 250
    assert result.attempts == (1 if method == "login" else 2)
    assert server.count("login") == 2


def test_an_answer_that_always_breaks_off_ends_as_unavailable(server: BaostockServer) -> None:
    server.twist = lambda question, reply: reply.cut(300) if a_query(question) else reply
    result = run(server, ["sh.600000"], retry=3)[0]
    assert (result.error_code, result.attempts) == ("unavailable", 3)
    assert "closed the connection after 300 bytes" in result.message


def test_a_connection_that_ended_while_idle_costs_no_attempt(server: BaostockServer) -> None:
    gone = threading.Event()

    def twist(question: Question, reply: Reply) -> Reply:
        return Reply(reply.data, close=True) if question.nth == 2 else reply

    server.twist = twist
    with session(**server.options) as opened:
        opened.query("query_stock_basic", "sh.600000")
        while opened._wire.usable():
            gone.wait(0.005)
        assert opened.query("query_stock_basic", "sh.600001")["code"].to_list() == ["sh.600001"]
        assert opened.logins == 2


def test_a_server_that_never_answers_is_a_timeout(server: BaostockServer) -> None:
    server.twist = lambda question, reply: Reply(reply.data[:30], hold=True) if a_query(question) else reply
    result = run(server, ["sh.600000"], retry=2, timeout=0.5)[0]
    assert (result.error_code, result.attempts) == ("timeout", 2)
    assert "did not answer within 0.5 s" in result.message


def test_a_late_answer_is_not_taken_for_the_next_one(server: BaostockServer) -> None:
    late = once(lambda question, reply: Reply(reply.data, delay=0.3), a_query)
    server.twist = late
    batch = run(server, ["sh.600000", "sh.600001"], timeout=0.15)
    assert [frame["code"].unique().to_list() for frame in batch.values] == [["sh.600000"], ["sh.600001"]]


def test_nobody_at_home_is_a_failed_login(server: BaostockServer) -> None:
    with BaostockServer() as gone:
        pass
    fetcher = using(gone, retry=1)
    with fl.testing.no_waiting():
        result = fl.run(fetcher, ["sh.600000"], params={"period": YEAR}, progress=None)[0]
    assert result.error_code == "unavailable"
    assert "ConnectionRefusedError" in result.message


# -- logins ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", [NO_LOGIN, LOST])
def test_an_expired_login_is_a_new_one_and_costs_no_retry(
    refused: tuple[str, str], server: BaostockServer
) -> None:
    server.twist = once(refuses(*refused), a_query)
    batch = run(server, ["sh.600000"], retry=1)
    assert (batch[0].is_success, batch[0].attempts, batch.summary.logins) == (True, 2, 2)


def test_logins_that_expire_at_the_server_are_renewed(server: BaostockServer) -> None:
    def twist(question: Question, reply: Reply) -> Reply:
        if question.on_login == 2:
            server.expire()
        return reply

    server.twist = twist
    batch = run(server, [f"sh.{600000 + n}" for n in range(6)], retry=1)
    assert all(result.is_success for result in batch)
    assert server.count("login") == 3


@pytest.mark.parametrize("method", ["login", "query_history_k_data_plus"])
def test_a_ban_stops_the_run(method: str, server: BaostockServer) -> None:
    server.twist = lambda question, reply: (
        Reply(refusal(question, *BANNED)) if question.method == method else reply
    )
    batch = run(server, [f"sh.{600000 + n}" for n in range(20)])
    assert not batch.complete
    assert batch[0].error_code == "banned"
    assert server.count(method) == 1


def test_a_password_that_is_refused_is_not_tried_again(server: BaostockServer) -> None:
    server.twist = refuses(*BAD_PASSWORD)
    batch = run(server, [f"sh.{600000 + n}" for n in range(20)])
    assert batch[0].error_code == "session"
    assert server.count("login") == 1


def test_user_and_password_come_from_options_or_the_environment(
    server: BaostockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAOSTOCK_USER", "me")
    monkeypatch.setenv("BAOSTOCK_PASSWORD", "secret")
    monkeypatch.setenv("BAOSTOCK_HOST", server.host)
    monkeypatch.setenv("BAOSTOCK_PORT", str(server.port))
    with session():
        pass
    with session(user="you", password="other"):
        pass
    logins = [question.parts[1:3] for question in server.asked if question.method == "login"]
    assert logins == [("me", "secret"), ("you", "other")]


def test_sessions_of_one_thread_keep_their_users_apart(server: BaostockServer) -> None:
    with session(user="a", **server.options) as a, session(user="b", **server.options) as b:
        for opened in (a, b, a):
            opened.query("query_stock_basic", "sh.600000")
    assert [question.parts[1] for question in server.asked if a_query(question)] == ["a", "b", "a"]
    assert [question.parts[1] for question in server.asked if question.method == "logout"] == ["b", "a"]


FORKED = """
import os
from fetchline_baostock import session
import baostock

with session() as opened:
    assert baostock.query_stock_basic("sh.600000").data[0][0] == "sh.600000"
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
    assert baostock.query_stock_basic("sh.600001").data[0][0] == "sh.600001"
    assert opened.logins == (1 if child else 2)
    if not child:
        os._exit(0)
"""


def test_a_process_that_was_forked_from_an_open_session_logs_in_for_itself(
    server: BaostockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAOSTOCK_HOST", server.host)
    monkeypatch.setenv("BAOSTOCK_PORT", str(server.port))
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [server.count(method) for method in ("query_stock_basic", "login", "logout")] == [3, 2, 1]


# -- other answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda q, r: instead(q, "sh.600000", "sh.600999", r), id="another code"),
        pytest.param(lambda q, r: instead(q, '"sh.600000"', '"sh.600999"', r), id="another's rows"),
        pytest.param(lambda q, r: instead(q, "2024-05-05", "2023-05-05", r), id="another day"),
        pytest.param(lambda q, r: instead(q, "2024-05-05", "2024-05-06", r), id="a day twice"),
        pytest.param(lambda q, r: instead(q, ",volume,", ",volumen,", r), id="another column"),
        pytest.param(lambda q, r: instead(q, '"record"', '"records"', r), id="no rows"),
        pytest.param(
            lambda q, r: instead(q, "]]}", "]]]", instead(q, '{"record": ', "[", r)), id="another JSON"
        ),
        pytest.param(lambda q, r: instead(q, '"1"', "1", r), id="no text"),
        pytest.param(lambda q, r: instead(q, "600.0000", "sixhundred", r), id="no number"),
        pytest.param(lambda q, r: instead(q, "]]}", "", r), id="half a table"),
        pytest.param(lambda q, r: Reply(b"HTTP/1.1 400 Bad Request\r\n\r\n" + END), id="no answer at all"),
        pytest.param(lambda q, r: Reply(r.data[:21] + b"x" * 9999 + END), id="no zlib"),
        pytest.param(lambda q, r: Reply(r.data.replace(b"\x0196\x01", b"\x0146\x01")), id="another type"),
    ],
)
def test_an_answer_to_something_else_is_never_a_row_and_asked_for_again(
    fault: Twist, server: BaostockServer
) -> None:
    server.twist = once(fault, a_query)
    result = run(server, ["sh.600000"])[0]
    assert result.attempts == 2
    assert_right(result.value, "sh.600000", 250)
    assert server.count("login") == 2
    server.twist = lambda question, reply: fault(question, reply) if a_query(question) else reply
    assert run(server, ["sh.600000"], retry=2)[0].error_code == "wrong_answer"


@pytest.mark.parametrize(
    ("query", "asked", "answered"),
    [("query_stock_basic", "sh.600555", "sh.600556"), ("query_all_stock", "1980-01-05", "1980-01-06")],
)
def test_nothing_about_something_else_is_not_nothing(
    query: str, asked: str, answered: str, server: BaostockServer
) -> None:
    with session(**server.options) as opened:
        assert opened.query(query, asked).height == 0
        server.twist = once(lambda q, r: instead(q, asked, answered, r), a_query)
        with pytest.raises(fl.WrongAnswer, match=answered):
            opened.query(query, asked)


@pytest.mark.parametrize("query", ["query_daily_history_k_AStock", "query_trade_dates"])
def test_of_two_answers_to_one_question_none_is_taken(query: str, server: BaostockServer) -> None:
    early: list[bytes] = []

    def twist(question: Question, reply: Reply) -> Reply:
        if question.method != query:
            return reply
        early.append(reply.data)
        return Reply(early[0] + reply.data) if len(early) == 2 else reply

    server.twist = twist
    days = {"query_trade_dates": 2}.get(query, 1)
    with session(**server.options) as opened:
        opened.query(query, *["2024-01-05"] * days)
        with pytest.raises(fl.WrongAnswer, match="two answers"):
            opened.query(query, *["2024-01-08"] * days)
        assert opened.query(query, *["2024-01-09"] * days).item(0, 0) == "2024-01-09"
        assert opened.logins == 2


def test_an_answer_of_another_type_is_another_questions(server: BaostockServer) -> None:
    server.twist = lambda q, r: Reply(r.data.replace(b"\x0134\x01", b"\x0136\x01"))
    with (
        session(**server.options) as opened,
        pytest.raises(fl.WrongAnswer, match="of type 36 to a question of"),
    ):
        opened.query("query_trade_dates", "2024-01-05", "2024-01-08")


def test_threads_that_share_a_session_get_their_own_rows(server: BaostockServer) -> None:
    wrong: list[str] = []
    together = threading.Barrier(4)
    with session(**server.options) as opened:

        def work(n: int) -> None:
            together.wait()
            for _ in range(25):
                code = f"sh.{600000 + n}"
                rows = opened.query("query_history_k_data_plus", code, NAMES, "2024-01-01", "2024-02-01")
                if rows["code"].unique().to_list() != [code]:
                    wrong.append(code)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert server.count("query_history_k_data_plus") == 100
    assert server.connections == 1


def assert_right(frame: pl.DataFrame, code: str, rows: int) -> None:
    """Every row is this code's, of another day than the others."""
    assert frame.height == rows
    assert frame["code"].unique().to_list() == [code]
    assert frame["date"].is_unique().all()
    assert frame["volume"].to_list() == [volume(code, day) for day in frame["date"]]


# -- refusals ----------------------------------------------------------------------------------------------


def test_a_wrong_parameter_is_permanent_and_leaves_the_session_as_it_is(server: BaostockServer) -> None:
    server.twist = once(refuses(*BAD_INDICATOR), a_query)
    batch = run(server, ["sh.600000", "sh.600001"])
    assert (batch[0].error_code, batch[0].attempts, batch[1].is_success) == ("permanent", 1, True)
    assert isinstance(batch[0].error, BaostockError)
    assert batch[0].error.error_code == BAD_INDICATOR[0]
    assert server.count("login") == 1


def test_the_servers_own_trouble_is_tried_again(server: BaostockServer) -> None:
    server.twist = once(refuses(*SYSTEM), a_query)
    assert run(server, ["sh.600000"])[0].attempts == 2
    server.twist = lambda q, r: Reply(refusal(q, *SYSTEM)) if a_query(q) else r
    assert run(server, ["sh.600000"], retry=2)[0].error_code == "unavailable"


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("10001005", "throttled", "throttled"),
        ("10001006", "permanent", "permanent"),
        ("10001012", "stop", "session"),
        ("10002001", "retry", "unavailable"),
        ("10002008", "retry", "unavailable"),
        ("10004002", "retry", "undecodable"),
        ("10004005", "permanent", "permanent"),
        ("10004018", "permanent", "permanent"),
    ],
)
def test_a_code_means_the_same_in_an_answer_and_at_a_login_where_it_is_final(
    code: str, kind: str, said: str
) -> None:
    error = BaostockError(code, "?")
    refused = fl.SessionFailed("the session could not be opened")
    refused.__cause__ = error
    for verdict in filter(None, (judge(error), judge(refused))):
        assert (verdict.kind, verdict.code) == (kind, said)
    assert (judge(refused) is None) == (kind == "retry")
    assert judge(BaostockError("10004019", "?")) is None


@pytest.mark.parametrize(
    ("start", "end"), [("2024-13-01", "2024-12-31"), ("yesterday", None), ("2024-02-01", "2024-01-01")]
)
def test_a_wrong_date_is_an_error_and_not_none(start: str, end: str | None, server: BaostockServer) -> None:
    with session(**server.options) as opened:
        with pytest.raises(BaostockError) as caught:
            opened.query("query_history_k_data_plus", "sh.600000", NAMES, start, end)
        assert judge(caught.value) == fl.Verdict("permanent", "permanent")
    assert server.count("query_history_k_data_plus") == 0


def test_a_query_that_baostock_has_not_is_refused(server: BaostockServer) -> None:
    with session(**server.options) as opened:
        with pytest.raises(ValueError, match="is named query_"):
            opened.query("logout")
        with pytest.raises(AttributeError):
            opened.query("query_nothing")


# -- pages -------------------------------------------------------------------------------------------------


@pytest.fixture
def long() -> Iterator[BaostockServer]:
    with BaostockServer(first=date(2000, 1, 1), days=20_000, codes=2000) as server:
        yield server


def pages(server: BaostockServer) -> list[int]:
    return [question.page for question in server.asked if question.method == "query_history_k_data_plus"]


@pytest.mark.parametrize(
    ("end", "rows", "asked"),
    [
        ("2005-06-22", 2000, [1, 2]),
        ("2005-06-21", 1999, [1]),
        ("2005-06-23", 2001, [1, 2]),
        ("2010-12-13", 4000, [1, 2, 3]),
        ("2013-12-31", 5114, [1, 2, 3]),
    ],
)
def test_all_pages_are_fetched(end: str, rows: int, asked: list[int], long: BaostockServer) -> None:
    period = fl.Period("2000-01-01", end)
    assert_right(using(long)("sh.600000", period), "sh.600000", rows)
    assert pages(long) == asked


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(refuses(*SYSTEM), id="an error"),
        pytest.param(refuses(*NO_LOGIN), id="an expired login"),
        pytest.param(lambda q, r: r.cut(500), id="a cut"),
        pytest.param(lambda q, r: r.cut(0), id="an end"),
        pytest.param(lambda q, r: Reply(r.data[:500], hold=True), id="silence"),
        pytest.param(lambda q, r: instead(q, "\x012\x012000\x01", "\x011\x012000\x01", r), id="another page"),
        pytest.param(lambda q, r: instead(q, "sh.600000", "sh.600001", r), id="another code"),
    ],
)
def test_an_error_in_the_middle_of_paging_is_seen_and_no_frame_is_short(
    fault: Twist, long: BaostockServer, request: pytest.FixtureRequest
) -> None:
    period = fl.Period("2000-01-01", "2013-12-31")
    patience = 2 if "silence" in request.node.name else 60

    def second(question: Question) -> bool:
        return a_query(question) and question.page == 2

    long.twist = once(fault, second)
    with session(**long.options, timeout=patience) as opened, pytest.raises(Exception) as caught:
        ohlcv.function("sh.600000", period, session=opened)
        pytest.fail("a short frame")  # pytest's own is no Exception
    assert isinstance(caught.value, BaostockError | ConnectionError | fl.AttemptTimeout | fl.WrongAnswer)

    long.twist = once(fault, second)
    fetcher = using(long, timeout=patience)
    result = fl.run(fetcher, ["sh.600000"], params={"period": period}, workers=1, progress=None)[0]
    assert result.attempts == 2
    assert_right(result.value, "sh.600000", 5114)


def test_pages_that_are_smaller_than_the_package_believes_are_not_taken_for_the_end(
    server: BaostockServer,
) -> None:
    server.twist = lambda q, r: instead(q, "\x011\x012000\x01", "\x011\x01250\x01", r)
    with session(**server.options) as opened, pytest.raises(fl.WrongAnswer, match="is full"):
        opened.query("query_history_k_data_plus", "sh.600000", NAMES, "2024-01-01", "2024-12-31")


def test_a_table_of_exactly_a_page_that_has_no_pages_is_whole(long: BaostockServer) -> None:
    with session(**long.options) as opened:
        answer = opened.query("query_daily_history_k_AStock", "2024-01-05")
    assert answer.height == 2000
    assert long.count("query_daily_history_k_AStock") == 1


# -- the package -------------------------------------------------------------------------------------------


def test_a_function_that_calls_the_package_itself_has_the_login_of_its_worker(
    server: BaostockServer,
) -> None:
    def names(code: str) -> list[str]:
        import baostock

        return list(baostock.query_stock_basic(code).data[0][:2])

    fetcher = fl.Fetcher.of(names, session=fl.use("baostock", **server.options))
    codes = [f"sh.{600000 + n}" for n in range(3)] * 4
    batch = fl.run(fetcher, codes, workers=3, progress=None)
    assert [value[0] for value in batch.values] == codes
    server.twist = refuses(*BANNED)
    assert fl.run(fetcher, codes, workers=1, progress=None)[0].error_code == "banned"


@pytest.mark.parametrize(("timeout", "open_timeout"), [(None, None), (None, 30), (30, None)])
def test_each_attempt_of_a_direct_call_has_the_login(
    timeout: float | None, open_timeout: float | None, server: BaostockServer
) -> None:
    def names(code: str) -> str:
        import baostock

        if fl.attempt().number < 3:
            raise ConnectionError
        return str(baostock.query_stock_basic(code).data[0][0])

    spec = replace(SPEC, open_timeout=open_timeout, factory=lambda: session(**server.options))
    fetcher = fl.Fetcher.of(names, session=spec, timeout=timeout, retry=fl.Try(retry=3, sleep=0))
    assert fetcher("sh.600000") == "sh.600000"
    assert fl.run(fetcher, ["sh.600001"], workers=1, progress=None).values == ["sh.600001"]


def test_the_package_by_itself_is_as_it_was(
    server: BaostockServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with session(**server.options) as opened:
        assert opened.query("query_stock_basic", "sh.600000").height == 1
    assert capsys.readouterr().out == ""  # nothing is printed for a session

    import baostock
    from baostock.common import contants, context

    monkeypatch.setattr(contants, "BAOSTOCK_SERVER_IP", server.host)
    monkeypatch.setattr(contants, "BAOSTOCK_SERVER_PORT", server.port)
    for name in ("user_id", "default_socket"):
        monkeypatch.delattr(context, name, raising=False)
    assert not hasattr(context, "user_id")
    assert baostock.login("own", "secret").error_code == "0"
    assert context.user_id == "own"
    with session(user="session", **server.options) as opened:
        assert opened.query("query_stock_basic", "sh.600001").height == 1
        assert context.user_id == "session"
    assert baostock.query_stock_basic("sh.600002").get_row_data()[0] == "sh.600002"
    baostock.logout()
    assert re.findall(r"log\w+ success!", capsys.readouterr().out) == ["login success!", "logout success!"]


def test_an_option_that_it_does_not_take_is_refused_before_anything_starts() -> None:
    @fl.fetcher("baostock.misspelt", session=fl.use("baostock", pasword=1))
    def misspelt(item: str, *, session: Any = fl.injected) -> str:
        raise AssertionError("called")

    with pytest.raises(TypeError, match=r"takes no 'pasword'; did you mean 'password'\?"):
        fl.run(misspelt, ["a"], progress=None)
