from __future__ import annotations

import asyncio
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fetchline_aiohttp import fetchline_register_sessions, session
from fetchline_aiohttp.replies import Reply, StatusError
from fetchline_aiohttp.sessions import Session

import fetchline as fl
from fetchline.catalog import Catalog
from fetchline.demo.server import DemoServer
from fetchline.demo.service import Manners
from fetchline.http import BodyTooLarge
from fetchline.interfaces import SessionSpec
from fetchline.testing import SessionSuite
from fetchline.testing.http import HTTPSuite, Origin


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


def using(work: Callable[[Session], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        async with session(**options) as opened:
            return await work(opened)

    return asyncio.run(main())


def get(path: str, origin: Origin, *, options: dict[str, Any] | None = None, **how: Any) -> Reply:
    async def work(opened: Session) -> Reply:
        return await opened.get(path, **how)

    reply: Reply = using(work, base_url=origin.url, **(options or {}))
    return reply


def echo(reply: Reply) -> Any:
    return json.loads(asyncio.run(reply.read()))


class TestContract(HTTPSuite):
    session = "aiohttp"


class TestLifetime(SessionSuite):
    @pytest.fixture
    def session(self) -> Iterator[Any]:
        with Origin() as origin:
            yield fl.use("aiohttp", base_url=origin.url)

    def check(self, session: Any) -> Any:
        return session.get("/bytes/3")


# -- the plugin --------------------------------------------------------------------------------------------


def test_the_catalog_finds_it_and_the_spec_pickles() -> None:
    catalog = Catalog(entry_points=lambda: [EntryPoint("aiohttp", "fetchline_aiohttp", "fetchline")])
    spec = catalog.session("aiohttp")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert isinstance(spec, SessionSpec)


def test_aiohttp_is_not_imported_before_a_session_is_opened() -> None:
    code = (
        "import sys, fetchline_aiohttp as f; f.fetchline_register_sessions(); "
        "assert 'aiohttp' not in sys.modules"
    )
    path = ":".join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={"PYTHONPATH": path})


def test_a_plain_function_is_refused_before_the_run_and_told_what_serves_it() -> None:
    @fl.fetcher("aiohttp.plain", session="aiohttp")
    def plain(path: str, *, session: Any = fl.injected) -> str:
        raise AssertionError("called")

    with pytest.raises(TypeError, match=r"'aiohttp.plain' is not async.*session=\"httpx\""):
        fl.run(plain, ["/echo"], progress=None)


def test_the_example_of_the_readme_runs(fetchline_registry: fl.Registry) -> None:
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    with DemoServer(Manners(latency=(0, 0), failures=0)) as server:
        names: dict[str, Any] = {"key": "k", "symbols": ["AAPL", "FB", "ACME"]}
        exec(found[1].replace("https://api.example.com", server.url), names)
    assert [result.is_success for result in names["batch"]] == [True, True, False]
    assert names["batch"].frame().columns[0] == "key"


# -- replies -----------------------------------------------------------------------------------------------


def test_a_reply_reads_the_same_awaited_or_entered_and_after_the_session_has_ended(origin: Origin) -> None:
    async def both(opened: Session) -> tuple[Reply, Reply]:
        awaited = await opened.get("/gzip/5")
        async with opened.get("/gzip/5") as entered:
            assert await entered.read() == bytes(5)
        return awaited, entered

    for reply in using(both, base_url=origin.url):
        assert asyncio.run(reply.read()) == asyncio.run(reply.text()).encode() == bytes(5)
        assert (reply.status, reply.closed) == (200, True)


def test_a_request_that_nobody_awaited_is_an_error_and_no_value(origin: Origin) -> None:
    @fl.fetcher(session=fl.use("aiohttp", base_url=origin.url))
    async def forgets(path: str, *, session: Any = fl.injected) -> Any:
        return session.get(path)

    failure = fl.run(forgets, ["/gzip/5"], progress=None)[0]
    assert "nobody awaited what the function returned (of the type Asked)" in failure.message


def test_the_stream_of_a_reply_is_its_body_from_the_beginning(origin: Origin) -> None:
    async def streamed(opened: Session) -> list[bytes]:
        async with opened.get("/gzip/200000") as reply:
            chunks = [chunk async for chunk in reply.content.iter_chunked(150_000)]
            assert b"".join(chunks) == await reply.read()
        return chunks

    assert sum(map(len, using(streamed, base_url=origin.url))) == 200_000


def test_a_request_is_a_coroutine_for_task_groups(origin: Origin) -> None:
    async def together(opened: Session) -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(opened.get(f"/bytes/{n}")) for n in range(5)]
        return [len(await task.result().read()) for task in tasks]

    assert using(together, base_url=origin.url) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
def test_every_method_has_a_name(origin: Origin, method: str) -> None:
    async def ask(opened: Session) -> Any:
        body = {} if method in ("get", "delete", "options") else {"json": {"a": 1}}
        return await (await getattr(opened, method)("/echo", **body)).json()

    told = using(ask, base_url=origin.url)
    assert told["method"] == method.upper()
    assert told["body"] == ("" if method in ("get", "delete", "options") else '{"a": 1}')


def test_an_error_status_raises_what_aiohttp_raises_with_the_answer_read(origin: Origin) -> None:
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        get("/status/404?text=no such symbol", origin)
    error = caught.value
    assert isinstance(error, StatusError)
    assert (error.status, error.body) == (404, "no such symbol")
    assert asyncio.run(error.reply.text()) == "no such symbol"


def test_an_error_status_is_an_answer_when_asked_for(origin: Origin) -> None:
    for options, how in (({"raise_for_status": False}, {}), ({}, {"raise_for_status": False})):
        reply = get("/status/404", origin, options=options, **how)
        assert reply.status == 404
        with pytest.raises(StatusError):
            reply.raise_for_status()


# -- connections and time ----------------------------------------------------------------------------------


def test_hundreds_of_requests_are_in_flight_where_the_run_asks_for_it(origin: Origin) -> None:
    """aiohttp itself stops at 100."""

    async def held(n: int, *, session: Any = fl.injected) -> int:
        request = asyncio.create_task(session.get("/hold"))
        async with asyncio.timeout(10):
            while origin.opened < 150:
                await asyncio.sleep(0.005)
        request.cancel()
        return n

    fetcher = fl.Fetcher.of(held, session=fl.use("aiohttp", base_url=origin.url))
    batch = fl.run(fetcher, range(150), concurrency=150, progress=None)
    assert batch.n_failed == 0, batch.failures


def test_limit_is_the_most_connections(origin: Origin) -> None:
    async def many(opened: Session) -> None:
        await asyncio.gather(*(opened.get(f"/slow?s=0.01&n={n}") for n in range(20)))

    using(many, base_url=origin.url, limit=3)
    assert (origin.opened, len(origin.asked)) == (3, 20)


def test_a_request_may_have_a_total_of_its_own(origin: Origin) -> None:
    with pytest.raises(fl.AttemptTimeout, match=r"total=0.05 s"):
        get("/hold", origin, total=0.05)
    assert get("/slow?s=0.1", origin, options={"total": 0.05}, total=None).status == 200


def test_aiohttps_own_timeouts_are_unavailable(origin: Origin) -> None:
    assert judged(lambda: get("/hold", origin, timeout=aiohttp.ClientTimeout(sock_read=0.05))) == (
        "retry",
        "unavailable",
    )


# -- redirects ---------------------------------------------------------------------------------------------


def test_a_redirected_reply_knows_where_it_came_from(origin: Origin) -> None:
    reply = get("/redirect?to=/echo", origin, params={"n": "1"})
    assert [each.status for each in reply.history] == [302]
    assert (str(reply.url), echo(reply)["query"]) == (f"{origin.url}/echo", {})


def test_a_redirect_that_is_not_followed_is_an_answer(origin: Origin) -> None:
    assert get("/redirect?to=/echo", origin, allow_redirects=False).status == 302


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [(301, "GET", ""), (303, "GET", ""), (307, "POST", "abc"), (308, "POST", "abc")],
)
def test_a_redirected_post_is_what_its_status_says(
    origin: Origin, status: int, method: str, body: str
) -> None:
    async def post(opened: Session) -> Any:
        headers = {"Content-Type": "text/csv", "X-Trace": "1"}
        reply = await opened.post(f"/redirect?to=/echo&status={status}", data=b"abc", headers=headers)
        return await reply.json()

    told = using(post, base_url=origin.url)
    assert (told["method"], told["body"], told["headers"]["x-trace"]) == (method, body, "1")
    assert ("content-type" in told["headers"]) == (method == "POST")


def test_a_body_that_can_be_sent_once_is_not_sent_elsewhere_as_an_empty_one(origin: Origin) -> None:
    async def chunks() -> Any:
        yield b"abc"

    async def post(opened: Session) -> None:
        await opened.post("/redirect?to=/echo&status=307", data=chunks(), headers={"Content-Length": "3"})

    assert judged(lambda: using(post, base_url=origin.url)) == ("permanent", "permanent")
    assert origin.count("/echo") == 0


@pytest.mark.parametrize("to", ["ftp://127.0.0.1/x", "http://:80:80/", "http:///"])
def test_a_redirect_that_leads_nowhere_is_permanent(origin: Origin, to: str) -> None:
    assert judged(lambda: get("/redirect", origin, params={"to": to})) == ("permanent", "permanent")


def test_redirects_without_end_are_permanent(origin: Origin) -> None:
    def round_and_round() -> Reply:
        return get("/redirect?to=/redirect%3Fto%3D/echo", origin, max_redirects=1)

    with pytest.raises(aiohttp.TooManyRedirects):
        round_and_round()
    assert judged(round_and_round) == ("permanent", "permanent")


SECRETS = {"Authorization": "Bearer b", "X-Api-Key": "k", "Cookie": "a=1"}


def test_what_was_redirected_away_and_comes_back_has_no_credentials_any_more(origin: Origin) -> None:
    with Origin() as other:
        there = f"{other.url}/redirect?to={origin.url}/echo"
        reply = get(
            "/redirect", origin, params={"to": there}, headers=SECRETS, options={"auth": ("me", "pw")}
        )
        assert not {name.lower() for name in SECRETS} & echo(reply)["headers"].keys()


def test_credentials_of_the_session_go_to_the_origin_of_base_url_only(origin: Origin) -> None:
    with Origin() as other:
        reply = get(f"{other.url}/echo", origin, options={"headers": {**SECRETS, "X-Trace": "1"}})
        told = echo(reply)["headers"]
        assert not {name.lower() for name in SECRETS} & told.keys()
        assert told["x-trace"] == "1"
    assert (
        echo(get(f"{origin.url}/echo", origin, options={"headers": SECRETS}))["headers"]["x-api-key"] == "k"
    )


def test_auth_of_a_request_stays_at_home(origin: Origin) -> None:
    assert get("/basic/me/pw", origin, auth=("me", "pw"), headers={"X-Trace": "1"}).status == 200
    with Origin() as other:
        reply = get("/redirect", origin, params={"to": f"{other.url}/echo"}, auth=("me", "pw"))
        assert "authorization" not in echo(reply)["headers"]


def test_user_and_password_of_a_redirects_address_are_not_sent(origin: Origin) -> None:
    with Origin() as other:
        to = other.url.replace("://", "://me:hunter2@") + "/echo"
        assert "authorization" not in echo(get("/redirect", origin, params={"to": to}))["headers"]


def test_cookies_of_the_session_go_to_the_host_of_base_url_only(origin: Origin) -> None:
    try:
        other = Origin("127.0.0.2")
        with other:
            options = {"cookies": {"id": "7"}}
            assert echo(get("/echo", origin, options=options))["headers"]["cookie"] == "id=7"
            assert "cookie" not in echo(get(f"{other.url}/echo", origin, options=options))["headers"]
    except OSError:
        pytest.skip("this machine has no 127.0.0.2")


# -- errors ------------------------------------------------------------------------------------------------

(SPEC,) = fetchline_register_sessions()


def judged(call: Callable[[], Any]) -> tuple[str, str] | None:
    """The verdict on what a call raises, which is the verdict on what leaves a process, too."""
    with pytest.raises(Exception) as caught:
        call()
    assert SPEC.judge is not None
    assert SPEC.portable is not None
    sent = SPEC.portable(caught.value)
    back = pickle.loads(pickle.dumps(sent))
    assert (type(back), str(back)) == (type(sent), str(sent))
    verdict = SPEC.judge(caught.value)
    assert SPEC.judge(back) == verdict
    return None if verdict is None else (verdict.kind, verdict.code)


def asked(raw: bytes, method: str = "GET", **options: Any) -> Reply:
    """Ask a server that answers those bytes, whatever it is asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    async def main() -> Reply:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, session(base_url=f"http://127.0.0.1:{port}", **options) as opened:
            return await opened.request(method, "/")

    return asyncio.run(main())


def test_what_is_not_http_is_unavailable() -> None:
    assert judged(lambda: asked(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")) == ("retry", "unavailable")


@pytest.mark.parametrize("encoding", ["br", "gzip, br", "rot13"])
def test_an_encoding_that_was_not_asked_for_is_undecodable(encoding: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 3\r\n\r\nabc"
    assert judged(lambda: asked(head.encode())) == ("retry", "undecodable")


def test_json_that_is_none_is_undecodable(origin: Origin) -> None:
    assert judged(lambda: asyncio.run(get("/text", origin).json())) == ("retry", "undecodable")
    text = get("/text", origin)
    assert judged(lambda: asyncio.run(text.json(content_type=None))) == ("retry", "undecodable")


def test_an_error_status_whose_body_breaks_off_is_that_status() -> None:
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 30\r\n\r\nnone"
    assert judged(lambda: asked(head)) == ("permanent", "permanent")
    assert judged(lambda: asked(head, raise_for_status=False)) == ("retry", "unavailable")


def test_an_error_status_in_an_encoding_that_is_of_no_text_is_that_status() -> None:
    head = (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=base64\r\nContent-Length: 4\r\n\r\nnone"
    )
    with pytest.raises(StatusError) as caught:
        asked(head)
    assert caught.value.body == "none"


def test_the_length_in_the_answer_to_head_is_no_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3000\r\n\r\n"
    assert asked(head, "HEAD", max_bytes=100).headers["Content-Length"] == "3000"
    with pytest.raises(BodyTooLarge):
        asked(head, max_bytes=100)


NO_ADDRESSES = ["http://", "nonsense"] + ["ftp://127.0.0.1/x"] * hasattr(aiohttp, "NonHttpUrlClientError")


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_an_address_that_cannot_be_requested_is_permanent(address: str) -> None:
    assert judged(lambda: using(lambda opened: opened.get(address))) == ("permanent", "permanent")


def test_a_connection_that_tls_was_set_up_for_fails_in_a_form_that_pickles() -> None:
    import ssl

    with Origin() as gone:
        pass
    address = gone.url.replace("http:", "https:")
    context = ssl.create_default_context()
    verdict = judged(lambda: using(lambda opened: opened.get(address), ssl=context))
    assert verdict == ("retry", "unavailable")


def test_notes_travel_along(origin: Origin) -> None:
    with pytest.raises(StatusError) as caught:
        get("/status/404", origin)
    caught.value.add_note("symbol AAPL")
    assert SPEC.portable is not None
    sent = SPEC.portable(caught.value)
    assert sent.__notes__ == ["symbol AAPL"]
    assert sent.__traceback__ is caught.value.__traceback__


def test_a_header_that_a_login_gave_goes_to_the_origin_only(origin: Origin) -> None:
    async def main() -> None:
        async with session(base_url=origin.url, headers={"X-Place": "here"}) as opened:
            opened.headers["Authorization"] = "Bearer t"
            await opened.get("/echo")
            await opened.get(f"/redirect?to={other.url}/echo")

    with Origin() as other:
        asyncio.run(main())
    assert [asked.headers.get("authorization") for asked in origin.asked] == ["Bearer t", "Bearer t"]
    assert [asked.headers.get("authorization") for asked in other.asked] == [None]
    assert other.asked[0].headers["x-place"] == "here"


def test_an_option_that_it_does_not_take_is_refused_before_anything_starts() -> None:
    @fl.fetcher("aiohttp.misspelt", session=fl.use("aiohttp", base_ulr=1))
    async def misspelt(item: str, *, session: Any = fl.injected) -> str:
        raise AssertionError("called")

    with pytest.raises(TypeError, match=r"takes no 'base_ulr'; did you mean 'base_url'\?"):
        fl.run(misspelt, ["a"], progress=None)
