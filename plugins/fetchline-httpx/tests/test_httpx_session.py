from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

import httpx
import pytest
from fetchline_httpx import HTTPFailure, async_client, client, fetchline_register_sessions, judge, portable

import fetchline as fl
from fetchline.catalog import Catalog
from fetchline.errors import AttemptTimeout
from fetchline.http import PERMANENT, UNDECODABLE, BodyTooLarge
from fetchline.interfaces import SessionSpec
from fetchline.testing import Origin, SessionSuite


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


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
def get(request: pytest.FixtureRequest, origin: Origin) -> Get:
    def get(path: str, **options: Any) -> httpx.Response:
        answer: httpx.Response = request.param(path, base_url=origin.url, **options)
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
        BodyTooLarge("http://127.0.0.1/quote", 10, "max_bytes"),
    )

    @pytest.fixture
    def session(self, origin: Origin) -> SessionSpec:
        (spec,) = fetchline_register_sessions()
        options = {"base_url": origin.url, "trust_env": False}
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
    assert answer.json()["headers"]["x-api-key"] == "k"
    assert str(answer.url).endswith("/echo?a=1")
    assert answer.request.extensions["timeout"]["read"] == 3


@pytest.mark.parametrize(
    "options",
    [{"total": 0}, {"total": "5"}, {"max_bytes": -1}, {"max_bytes": True}, {"max_decoded_bytes": 0.5}],
)
def test_a_limit_that_is_none_is_refused_at_once(options: dict[str, Any]) -> None:
    for make in (client, async_client):
        with pytest.raises((ValueError, TypeError), match=next(iter(options))):
            make(**options)


def test_leaving_the_context_closes_the_client() -> None:
    with client() as session:
        pass
    assert session.is_closed


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_an_error_status_raises_with_its_body_read(get: Get, status: int) -> None:
    error = error_of(lambda: get(f"/status/{status}?text=no such symbol"))
    assert isinstance(error, httpx.HTTPStatusError)
    assert error.response.status_code == status
    assert error.response.text == "no such symbol"


def test_an_error_status_is_returned_when_asked_for(get: Get) -> None:
    assert get("/status/404", raise_for_status=False).status_code == 404


def test_an_error_status_raises_before_a_stream_is_read(origin: Origin) -> None:
    with client(trust_env=False, base_url=origin.url) as session:
        with pytest.raises(httpx.HTTPStatusError) as caught, session.stream("GET", "/status/404"):
            pass
        assert caught.value.response.is_closed
        assert caught.value.response.text == "status 404"


def test_the_challenge_of_digest_authentication_is_no_error(get: Get) -> None:
    assert get("/digest", auth=httpx.DigestAuth("me", "secret")).text == "welcome"


def test_hooks_of_ones_own_are_kept(origin: Origin) -> None:
    seen: list[int] = []
    get_sync(
        f"{origin.url}/redirect?to=/echo",
        event_hooks={"response": [lambda answer: seen.append(answer.status_code)]},
    )
    assert seen == [302, 200]


# -- limits, where httpx has more ways than the suite ------------------------------------------------------


def test_total_holds_while_a_stream_is_read(origin: Origin) -> None:
    async def stream() -> None:
        async with (
            async_client(trust_env=False, base_url=origin.url, total=0.2) as session,
            session.stream("GET", "/drip") as answer,
        ):
            await answer.aread()

    with pytest.raises(AttemptTimeout, match=r"GET http://127.0.0.1:\d+/drip took longer than total=0\.2 s"):
        asyncio.run(stream())
    with (
        client(trust_env=False, base_url=origin.url, total=0.2) as session,
        pytest.raises(AttemptTimeout, match="took longer"),
        session.stream("GET", "/drip") as answer,
    ):
        answer.read()


def test_total_counts_the_wait_for_a_connection(origin: Origin) -> None:
    options = {"base_url": origin.url, "total": 0.2, "limits": httpx.Limits(max_connections=1)}
    with (
        client(trust_env=False, **options) as session,
        session.stream("GET", "/slow?s=0.01"),
        pytest.raises(AttemptTimeout),
    ):
        session.get("/echo", timeout=None)


def test_httpx_own_timeouts_are_httpx_errors_still(get: Get) -> None:
    assert isinstance(error_of(lambda: get("/hold", total=5, timeout=0.05)), httpx.ReadTimeout)


def test_max_bytes_holds_while_a_stream_is_read(origin: Origin) -> None:
    with (
        client(trust_env=False, base_url=origin.url, max_bytes=100_000) as session,
        session.stream("GET", "/chunked/1000000") as answer,
        pytest.raises(BodyTooLarge),
    ):
        for _ in answer.iter_raw():
            pass


def test_what_head_says_of_a_length_is_no_body(origin: Origin) -> None:
    with client(trust_env=False, base_url=origin.url, max_bytes=10, max_decoded_bytes=10) as session:
        assert session.head("/head/1000").headers["content-length"] == "1000"


def test_an_encoding_that_cannot_be_bounded_is_not_asked_for(get: Get) -> None:
    told = get("/echo", max_decoded_bytes=10_000).json()["headers"]
    assert told["accept-encoding"] == "gzip, deflate"
    own = get("/echo", max_decoded_bytes=10_000, headers={"Accept-Encoding": "identity"}).json()["headers"]
    assert own["accept-encoding"] == "identity"
    assert isinstance(error_of(lambda: get("/encoded/br", max_decoded_bytes=1000)), httpx.DecodingError)


# -- redirects ---------------------------------------------------------------------------------------------


def test_a_redirect_that_is_not_followed_is_an_answer(get: Get) -> None:
    assert get("/redirect?to=/echo", follow_redirects=False).status_code == 302


def test_a_redirect_to_nowhere_is_httpx_error(get: Get) -> None:
    assert isinstance(error_of(lambda: get("/redirect?to=http://:bad:/")), httpx.HTTPError)


def test_localhost_is_another_origin_than_its_address(get: Get, origin: Origin) -> None:
    elsewhere = origin.url.replace("127.0.0.1", "localhost")
    answer = get(f"/redirect?to={elsewhere}/echo", headers={"X-Api-Key": "k", "X-Trace": "1"})
    assert answer.url.host == "localhost"
    assert "x-api-key" not in answer.json()["headers"]


# -- verdicts ----------------------------------------------------------------------------------------------


def test_a_body_that_is_not_json_is_fetched_again(get: Get) -> None:
    assert judge(error_of(get("/text").json)) == UNDECODABLE


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


@pytest.mark.parametrize("status", [408, 409, 425, 429])
def test_what_fetchline_judges_itself_is_left_to_it(get: Get, status: int) -> None:
    error = error_of(lambda: get(f"/status/{status}"))
    assert judge(error) is None
    assert judge(portable(error)) is None


def test_other_errors_are_not_judged() -> None:
    assert judge(ValueError("mine")) is None


# -- errors that travel ------------------------------------------------------------------------------------


def test_a_status_error_becomes_a_failure_that_pickles(get: Get) -> None:
    error = error_of(lambda: get(f"/status/404?text={'no such symbol' + 'x' * 1000}"))
    error.add_note("symbol AAPL")
    failure = pickle.loads(pickle.dumps(portable(error)))
    assert isinstance(failure, HTTPFailure)
    assert (failure.method, failure.status, len(failure.body)) == ("GET", 404, 500)
    assert failure.headers.keys() == {"content-type", "x-request-id"}
    assert failure.__notes__ == ["symbol AAPL"]
    assert judge(failure) == PERMANENT


def test_a_failure_keeps_the_traceback(get: Get) -> None:
    error = error_of(lambda: get("/status/500"))
    assert portable(error).__traceback__ is error.__traceback__


def test_a_failure_of_an_unread_stream_has_no_body(origin: Origin) -> None:
    with (
        client(trust_env=False, raise_for_status=False) as session,
        session.stream("GET", f"{origin.url}/status/500") as answer,
    ):
        failure = portable(error_of(answer.raise_for_status))
    assert isinstance(failure, HTTPFailure)
    assert failure.body == ""


def test_errors_without_a_response_stay_as_they_are(get: Get) -> None:
    for error in (error_of(lambda: get("/cut")), ValueError("mine")):
        assert portable(error) is error


def test_an_option_that_it_does_not_take_is_refused_before_anything_starts() -> None:
    @fl.fetcher("httpx.misspelt", session=fl.use("httpx", base_ulr=1))
    def misspelt(item: str, *, session: Any = fl.injected) -> str:
        raise AssertionError("called")

    with pytest.raises(TypeError, match=r"takes no 'base_ulr'; did you mean 'base_url'\?"):
        fl.run(misspelt, ["a"], progress=None)
