"""Verdicts: what an exception means; Retry-After in both forms, on the errors of real clients."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

import fetchline as fl
from fetchline.errors import AttemptTimeout, SessionFailed, Unpicklable
from fetchline.interfaces import SessionSpec, Verdict
from fetchline.retry import Try
from fetchline.verdict import RETRY_AFTER_CAP, Judge, retry_after

NOW = datetime(2024, 3, 1, 12, 0, 0, tzinfo=UTC)
POLICY = Try(retry=5, sleep=1, jitter=0)


def judged(error: BaseException, policy: Try = POLICY, *, failed: int = 1, **options: Any) -> Verdict:
    return Judge(policy, **options)(error, failed=failed, attempt=failed, elapsed=0.0)


class Answer(Exception):
    """An HTTP error as clients raise it."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.response = self
        self.status_code = status
        self.headers = headers or {}


# -- the kinds


def test_signals_mean_what_they_say() -> None:
    assert judged(fl.NoData()) == Verdict("no_data")
    assert judged(fl.NotReady(3, memo="task")) == Verdict("not_ready", "not_ready", 3, "task")
    assert judged(fl.RetryAfter(4)) == Verdict("throttled", "throttled", 4)


def test_a_pause_the_function_asks_for_is_capped_and_never_negative() -> None:
    assert judged(fl.RetryAfter(10**9)).delay == RETRY_AFTER_CAP
    assert judged(fl.RetryAfter(-1)).delay == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError(), "error"),
        (AttemptTimeout(), "timeout"),
        (SessionFailed(), "session"),
        (ConnectionResetError(), "unavailable"),
        (TimeoutError(), "unavailable"),
        (CancelledError(), "cancelled"),
    ],
)
def test_errors_worth_another_attempt_keep_their_code(error: Exception, code: str) -> None:
    assert judged(error) == Verdict("retry", code, 1.0)  # type: ignore[arg-type]


def test_what_cannot_be_pickled_is_not_tried_again() -> None:
    assert judged(Unpicklable()) == Verdict("permanent", "unpicklable")


def test_a_timeout_and_a_failed_login_are_tried_again_whatever_on_names() -> None:
    policy = Try(retry=5, sleep=1, jitter=0, on=KeyError)
    assert judged(AttemptTimeout(), policy).kind == "retry"
    assert judged(SessionFailed(), policy).kind == "retry"
    assert judged(ValueError(), policy).kind == "permanent"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 451])
def test_a_client_error_is_permanent(status: int) -> None:
    assert judged(Answer(status)) == Verdict("permanent", "permanent", alike=status == 401)


@pytest.mark.parametrize("status", [408, 425])
def test_timeout_and_too_early_are_tried_again(status: int) -> None:
    assert judged(Answer(status)).kind == "retry"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_server_error_is_tried_again_as_unavailable(status: int) -> None:
    assert judged(Answer(status)) == Verdict("retry", "unavailable", 1.0)


def test_a_function_given_as_on_may_know_better_than_a_status() -> None:
    assert judged(Answer(404), Try(retry=3, sleep=1, jitter=0, on=lambda error: True)).kind == "retry"
    assert judged(Answer(404), Try(retry=3, on=lambda error: False)).kind == "permanent"


def test_too_many_requests_without_a_header_still_makes_everybody_pause() -> None:
    verdict = judged(Answer(429))
    assert (verdict.kind, verdict.code) == ("throttled", "throttled")
    assert verdict.delay > 0
    assert judged(Answer(429), Try(retry=1, sleep=0)).delay > 0


def test_a_server_error_waits_longer_every_time() -> None:
    delays = [judged(Answer(500), failed=n).delay for n in (1, 2, 3)]
    assert delays == [1, 2, 4]


def test_a_session_says_what_has_expired_and_what_its_errors_mean() -> None:
    class Gone(Exception):
        pass

    class Locked(Exception):
        pass

    spec = SessionSpec(
        name="x",
        factory=dict,  # type: ignore[arg-type]
        expired=(Gone,),
        judge=lambda error: Verdict("permanent", "banned") if isinstance(error, Locked) else None,
    )
    assert judged(Gone(), session=spec) == Verdict("expired", "session")
    assert judged(Locked(), session=spec) == Verdict("permanent", "banned")
    assert judged(ValueError(), session=spec).kind == "retry"
    by_function = SessionSpec(name="x", factory=dict, expired=lambda error: "login" in str(error))  # type: ignore[arg-type]
    assert judged(ValueError("login first"), session=by_function).kind == "expired"


# -- writes


@pytest.mark.parametrize(
    "error", [AttemptTimeout(), ConnectionResetError(), TimeoutError(), Answer(502), Answer(504)]
)
def test_a_write_whose_answer_was_lost_is_never_sent_again(error: Exception) -> None:
    assert judged(error, idempotent=False) == Verdict("permanent", "unknown_outcome")


def test_a_write_whose_answer_broke_off_in_its_body_is_never_sent_again() -> None:
    error = pytest.importorskip("aiohttp").ClientPayloadError("not completed")
    assert judged(error, idempotent=False) == Verdict("permanent", "unknown_outcome")


def test_a_write_is_not_sent_again_where_a_client_hides_the_sockets_error() -> None:
    httpx = pytest.importorskip("httpx")
    for error in (httpx.ReadError("reset"), httpx.WriteError("reset"), httpx.RemoteProtocolError("left")):
        assert judged(error, idempotent=False) == Verdict("permanent", "unknown_outcome")
    no_connection_yet = TimeoutError()
    for error in (httpx.ConnectTimeout("late"), httpx.ConnectError("no"), httpx.PoolTimeout("full")):
        error.__cause__ = no_connection_yet
        assert judged(error, idempotent=False).kind == "retry"
        error.__context__ = httpx.ReadError("reset")  # of what was tried before
        assert judged(error, idempotent=False) == Verdict("permanent", "unknown_outcome")


def test_a_write_is_not_sent_again_where_the_session_says_that_nobody_answered() -> None:
    class Silence(Exception):
        pass

    spec = SessionSpec(
        name="x",
        factory=dict,  # type: ignore[arg-type]
        judge=lambda error: Verdict("retry", "unavailable"),
    )
    assert judged(Silence(), session=spec, idempotent=False) == Verdict("permanent", "unknown_outcome")
    assert judged(ConnectionRefusedError(), session=spec, idempotent=False).kind == "retry"
    assert judged(Answer(500), session=spec, idempotent=False).kind == "retry"


@pytest.mark.parametrize("error", [ValueError(), ConnectionRefusedError(), Answer(500), SessionFailed()])
def test_a_write_that_surely_did_not_arrive_is_tried_again(error: Exception) -> None:
    assert judged(error, idempotent=False).kind == "retry"


def test_a_crash_is_charged_apart_and_a_crashed_write_is_unknown() -> None:
    assert Judge(POLICY).crash() == Verdict("retry", "crashed")
    assert Judge(POLICY, idempotent=False).crash() == Verdict("permanent", "unknown_outcome")


def test_a_worker_that_calls_exit_counts_as_a_crash() -> None:
    assert judged(SystemExit(3)) == Judge(POLICY).crash()


# -- Retry-After


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": " 3 "}, 3.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"retry-after": "2"}, 2.0),
        ({"Retry-After": "1e9"}, RETRY_AFTER_CAP),
        ({"Retry-After": "inf"}, RETRY_AFTER_CAP),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
        (None, None),
    ],
)
def test_retry_after_in_seconds(headers: Any, expected: float | None) -> None:
    assert retry_after(headers) == expected


@pytest.mark.parametrize(("after", "expected"), [(7, 7.0), (-60, 0.0), (10**6, RETRY_AFTER_CAP)])
def test_retry_after_as_a_date_is_measured_against_the_answers_own_clock(after: int, expected: float) -> None:
    headers = {
        "Date": format_datetime(NOW, usegmt=True),
        "Retry-After": format_datetime(NOW + timedelta(seconds=after), usegmt=True),
    }
    assert retry_after(headers) == expected


def test_retry_after_as_a_date_without_a_date_header_is_measured_against_this_clock() -> None:
    when = datetime.now(UTC) + timedelta(seconds=60)
    pause = retry_after({"Retry-After": format_datetime(when, usegmt=True)})
    assert pause is not None and 50 < pause <= 60


@pytest.mark.parametrize("text", ["Friday, 01-Mar-24 12:00:09 GMT", "Fri Mar  1 12:00:09 2024"])
def test_the_two_old_date_formats_of_rfc_9110_are_read_too(text: str) -> None:
    assert retry_after({"Date": format_datetime(NOW, usegmt=True), "Retry-After": text}) == 9


# -- real clients, over the loopback


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers ``/429?after=3`` with that status and header; a fixed Date."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/hang":
            self.server.released.wait(10)  # type: ignore[attr-defined]
        if url.path in ("/drop", "/hang"):
            self.close_connection = True
            return
        wanted = dict(parse_qsl(url.query)).get("after")
        self.send_response_only(int(url.path.strip("/")))
        self.send_header("Date", format_datetime(NOW, usegmt=True))
        if wanted == "date":
            self.send_header("Retry-After", format_datetime(NOW + timedelta(seconds=7), usegmt=True))
        elif wanted:
            self.send_header("Retry-After", wanted)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.released = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


PATIENCE_S = 0.5


def _httpx(address: str) -> None:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(trust_env=False, timeout=PATIENCE_S) as client:
        client.get(address).raise_for_status()


def _requests(address: str) -> None:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        session.get(address, timeout=PATIENCE_S).raise_for_status()


def _niquests(address: str) -> None:
    niquests = pytest.importorskip("niquests")
    with niquests.Session() as session:
        session.trust_env = False
        session.get(address, timeout=PATIENCE_S).raise_for_status()


def _aiohttp(address: str) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    import asyncio

    async def get() -> None:
        limit = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(address) as answer:
            answer.raise_for_status()

    asyncio.run(get())


def _urllib(address: str) -> None:
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(address, timeout=PATIENCE_S).close()
    except urllib.error.HTTPError as error:
        with error:
            raise


CLIENTS = pytest.mark.parametrize("get", [_httpx, _requests, _niquests, _aiohttp, _urllib])


def _error(get: Any, address: str) -> Exception:
    try:
        get(address)
    except Exception as error:
        return error
    raise AssertionError("the answer was no error")


@CLIENTS
@pytest.mark.parametrize(("after", "pause"), [("3", 3.0), ("date", 7.0), ("100000", RETRY_AFTER_CAP)])
@pytest.mark.parametrize(("status", "code"), [(429, "throttled"), (503, "unavailable")])
def test_a_real_clients_error_carries_the_pause_the_server_asked_for(
    get: Any, url: str, after: str, pause: float, status: int, code: str
) -> None:
    error = _error(get, f"{url}/{status}?after={after}")
    assert judged(error) == Verdict("throttled", code, pause)  # type: ignore[arg-type]


@CLIENTS
def test_a_real_clients_other_statuses_are_permanent_or_unavailable(get: Any, url: str) -> None:
    assert judged(_error(get, f"{url}/404")) == Verdict("permanent", "permanent")
    assert judged(_error(get, f"{url}/500")) == Verdict("retry", "unavailable", 1.0)
    assert judged(_error(get, f"{url}/503")) == Verdict("retry", "unavailable", 1.0)


@CLIENTS
def test_a_real_clients_refused_connection_is_unavailable(get: Any) -> None:
    assert judged(_error(get, "http://127.0.0.1:9/")).code == "unavailable"


@CLIENTS
@pytest.mark.parametrize("how", ["drop", "hang"])
def test_a_write_whose_answer_a_real_client_lost_is_never_sent_again(get: Any, how: str, url: str) -> None:
    error = _error(get, f"{url}/{how}")
    assert judged(error, idempotent=False) == Verdict("permanent", "unknown_outcome")


def test_a_throttled_item_costs_no_retry_and_then_succeeds(url: str) -> None:
    answers = iter([f"{url}/429?after=0", f"{url}/503?after=0", None])

    def get(item: str) -> str:
        address = next(answers)
        if address is not None:
            _urllib(address)
        return item

    [result] = fl.run(get, ["a"], progress=None)
    assert result.is_success and result.attempts == 3
