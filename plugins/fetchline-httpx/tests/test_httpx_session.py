from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import httpx
import pytest
from fetchline_httpx import HTTPFailure, async_client, client, fetchline_register_sessions, judge, portable

from fetchline.catalog import Catalog
from fetchline.errors import FetchlineError
from fetchline.interfaces import SessionSpec, Verdict
from fetchline.testing import SessionSuite

PERMANENT = Verdict("permanent", "permanent")
UNAVAILABLE = Verdict("retry", "unavailable")
UNDECODABLE = Verdict("retry", "undecodable")


class Handler(BaseHTTPRequestHandler):
    """``/status/<n>`` answers n; ``/to/<address>`` redirects; ``/echo`` gives the request's headers back."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        kind, _, rest = self.path[1:].partition("?")[0].partition("/")
        match kind:
            case "status":
                self._answer(
                    int(rest), b"no such symbol\n" + b"x" * 2000, {"X-Request-Id": "r1", "X-Other": "o"}
                )
            case "throttled":
                self._answer(int(rest), b"slow down", {"Retry-After": "7"})
            case "to":
                self._answer(302, b"", {"Location": rest})
            case "echo":
                self._answer(200, json.dumps(dict(self.headers)).encode())
            case "text":
                self._answer(200, b"<html>maintenance</html>")
            case "garbled":
                self._answer(200, b"this is not gzip", {"Content-Encoding": "gzip"})
            case "digest" if "Authorization" in self.headers:
                self._answer(200, b"welcome")
            case "digest":
                challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
                self._answer(401, b"who are you?", {"WWW-Authenticate": challenge})
            case "broken":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"the first bytes")
                self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def get_sync(url: str, **options: Any) -> httpx.Response:
    with client(trust_env=False, **options) as session:
        return session.get(url)


def get_async(url: str, **options: Any) -> httpx.Response:
    async def get() -> httpx.Response:
        async with async_client(trust_env=False, **options) as session:
            return await session.get(url)

    return asyncio.run(get())


Get = Callable[..., httpx.Response]


@pytest.fixture(params=[get_sync, get_async], ids=["sync", "async"])
def get(request: pytest.FixtureRequest, port: int) -> Get:
    def get(path: str, **options: Any) -> httpx.Response:
        answer: httpx.Response = request.param(path, base_url=f"http://127.0.0.1:{port}", **options)
        return answer

    return get


def error_of(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


REQUEST = httpx.Request("GET", "http://127.0.0.1/quote")


def status_error(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError(
        "no", request=REQUEST, response=httpx.Response(status, text="no", request=REQUEST)
    )


class TestConformance(SessionSuite):
    errors = (
        *(status_error(status) for status in (400, 404, 409, 429, 500, 503)),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.DecodingError("no gzip"),
        httpx.TooManyRedirects("round and round"),
        httpx.InvalidURL("nonsense"),
    )

    @pytest.fixture
    def session(self, port: int) -> SessionSpec:
        (spec,) = fetchline_register_sessions()
        options = {"base_url": f"http://127.0.0.1:{port}", "trust_env": False}
        return replace(
            spec, factory=partial(client, **options), async_factory=partial(async_client, **options)
        )

    def check(self, session: Any) -> Any:
        return session.get("/status/200")


# -- the session -------------------------------------------------------------------------------------------


def test_the_catalog_finds_it_and_the_spec_pickles() -> None:
    catalog = Catalog(entry_points=lambda: [EntryPoint("httpx", "fetchline_httpx", "fetchline")])
    spec = catalog.session("httpx")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert isinstance(spec, SessionSpec)


def test_httpx_is_not_imported_before_a_session_is_opened() -> None:
    code = (
        "import sys, fetchline_httpx as f; f.fetchline_register_sessions(); assert 'httpx' not in sys.modules"
    )
    path = ":".join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={"PYTHONPATH": path})


def test_options_reach_the_client(get: Get) -> None:
    answer = get("/echo", headers={"X-Api-Key": "k"}, params={"a": 1}, timeout=3)
    assert answer.json()["X-Api-Key"] == "k"
    assert str(answer.url).endswith("/echo?a=1")
    assert answer.request.extensions["timeout"]["read"] == 3


def test_leaving_the_context_closes_the_client() -> None:
    with client() as session:
        pass
    assert session.is_closed


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_an_error_status_raises_with_its_body_read(get: Get, status: int) -> None:
    error = error_of(lambda: get(f"/status/{status}"))
    assert isinstance(error, httpx.HTTPStatusError)
    assert error.response.status_code == status
    assert error.response.text.startswith("no such symbol")


def test_an_error_status_is_returned_when_asked_for(get: Get) -> None:
    assert get("/status/404", raise_for_status=False).status_code == 404


def test_an_error_status_raises_before_a_stream_is_read(port: int) -> None:
    with client(trust_env=False) as session:
        with (
            pytest.raises(httpx.HTTPStatusError) as caught,
            session.stream("GET", f"http://127.0.0.1:{port}/status/404"),
        ):
            pass
        assert caught.value.response.is_closed
        assert caught.value.response.text.startswith("no such symbol")


def test_the_challenge_of_digest_authentication_is_no_error(get: Get) -> None:
    assert get("/digest", auth=httpx.DigestAuth("me", "secret")).text == "welcome"


def test_hooks_of_ones_own_are_kept(port: int) -> None:
    seen: list[int] = []
    get_sync(
        f"http://127.0.0.1:{port}/to//echo",
        event_hooks={"response": [lambda answer: seen.append(answer.status_code)]},
    )
    assert seen == [302, 200]


# -- redirects ---------------------------------------------------------------------------------------------

CREDENTIALS = {"Authorization": "Bearer b", "X-Api-Key": "k", "X-Auth-Token": "t", "Cookie": "session=s"}


def test_a_redirect_to_another_host_drops_credentials(get: Get, port: int) -> None:
    headers = {**CREDENTIALS, "X-Trace": "1", "Accept": "text/csv"}
    answer = get(f"/to/http://localhost:{port}/echo", headers=headers)
    assert answer.url.host == "localhost"
    arrived = {name.lower() for name in answer.json()}
    assert not arrived & {name.lower() for name in CREDENTIALS}
    assert {"x-trace", "accept"} <= arrived


def test_a_redirect_within_the_host_keeps_credentials(get: Get) -> None:
    arrived = get("/to//echo", headers={"Authorization": "Bearer b", "X-Api-Key": "k"}).json()
    assert (arrived["Authorization"], arrived["X-Api-Key"]) == ("Bearer b", "k")


def test_a_redirect_that_is_not_followed_is_an_answer(get: Get) -> None:
    assert get("/to//echo", follow_redirects=False).status_code == 302


def test_a_redirect_to_nowhere_is_httpx_error(get: Get) -> None:
    assert isinstance(error_of(lambda: get("/to/http://:bad:/")), httpx.HTTPError)


# -- verdicts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422])
def test_a_request_that_is_wrong_stays_wrong(get: Get, status: int) -> None:
    assert judge(error_of(lambda: get(f"/status/{status}"))) == PERMANENT


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(get: Get, status: int) -> None:
    assert judge(error_of(lambda: get(f"/status/{status}"))) == UNAVAILABLE


@pytest.mark.parametrize("path", ["/throttled/429", "/throttled/503", "/status/429", "/status/409"])
def test_what_fetchline_judges_itself_is_left_to_it(get: Get, path: str) -> None:
    error = error_of(lambda: get(path))
    assert judge(error) is None
    assert judge(portable(error)) is None


def test_no_connection_and_a_broken_one_are_unavailable(get: Get) -> None:
    # A bound socket that does not listen refuses connections, and nobody else can take its port.
    import socket

    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        refused = error_of(lambda: get_sync(address))
    assert isinstance(refused, httpx.ConnectError)
    assert judge(refused) == UNAVAILABLE
    assert judge(error_of(lambda: get("/broken/"))) == UNAVAILABLE
    assert judge(httpx.ReadTimeout("slow")) == UNAVAILABLE


def test_a_body_that_cannot_be_decoded_is_fetched_again(get: Get) -> None:
    assert judge(error_of(lambda: get("/garbled/"))) == UNDECODABLE
    assert judge(error_of(get("/text/").json)) == UNDECODABLE


@pytest.mark.parametrize(
    "error",
    [
        httpx.UnsupportedProtocol("no scheme"),
        httpx.LocalProtocolError("bad header"),
        httpx.InvalidURL("nonsense"),
        httpx.TooManyRedirects("round and round"),
    ],
)
def test_a_request_that_cannot_be_made_is_permanent(error: Exception) -> None:
    assert judge(error) == PERMANENT


def test_other_errors_are_not_judged() -> None:
    assert judge(ValueError("mine")) is None


# -- errors that travel ------------------------------------------------------------------------------------


def test_a_status_error_becomes_a_failure_that_pickles(get: Get) -> None:
    error = error_of(lambda: get("/status/404"))
    error.add_note("symbol AAPL")
    failure = pickle.loads(pickle.dumps(portable(error)))
    assert isinstance(failure, HTTPFailure)
    assert isinstance(failure, FetchlineError)
    assert (failure.method, failure.status, len(failure.body)) == ("GET", 404, 500)
    assert failure.url.endswith("/status/404")
    assert failure.headers.keys() == {"server", "date", "x-request-id"}
    assert str(failure) == f"GET {failure.url} answered 404: no such symbol"
    assert failure.__notes__ == ["symbol AAPL"]
    assert judge(failure) == PERMANENT


def test_a_failure_keeps_the_traceback_and_drops_the_password(port: int) -> None:
    error = error_of(lambda: get_sync(f"http://me:secret@127.0.0.1:{port}/status/500"))
    failure = portable(error)
    assert isinstance(failure, HTTPFailure)
    assert failure.url == f"http://127.0.0.1:{port}/status/500"
    assert failure.__traceback__ is error.__traceback__


def test_a_failure_of_an_unread_stream_has_no_body(port: int) -> None:
    with (
        client(trust_env=False, raise_for_status=False) as session,
        session.stream("GET", f"http://127.0.0.1:{port}/status/500") as answer,
    ):
        failure = portable(error_of(answer.raise_for_status))
    assert isinstance(failure, HTTPFailure)
    assert failure.body == ""


def test_errors_without_a_response_pickle_as_they_are(get: Get) -> None:
    for error in (error_of(lambda: get("/broken/")), error_of(lambda: get("/garbled/")), ValueError("mine")):
        assert portable(error) is error
        assert type(pickle.loads(pickle.dumps(error))) is type(error)
