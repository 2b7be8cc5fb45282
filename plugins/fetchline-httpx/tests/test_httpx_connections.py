"""A pool for each connection is one client to who uses it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from fetchline_httpx import async_client, client

from fetchline.testing import Origin, until

PEM = Path(__file__).with_name("loopback.pem")
TRUSTED = ssl.create_default_context(cafile=str(PEM))


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


def using(work: Callable[[httpx.AsyncClient], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with async_client(trust_env=False, **options) as session:
            await work(session)

    asyncio.run(main())


async def several(session: httpx.AsyncClient, *paths: str) -> None:
    await asyncio.gather(*(session.get(path) for path in paths))


# -- how many ----------------------------------------------------------------------------------------------


def test_there_are_as_many_connections_as_requests_in_flight(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        await several(session, *["/slow?s=0.05"] * 150)

    using(work, base_url=origin.url)
    assert 100 < origin.opened <= 150


def test_max_connections_holds_and_the_others_wait(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        await several(session, *["/slow?s=0.01"] * 30)

    using(work, base_url=origin.url, limits=httpx.Limits(max_connections=3))
    assert origin.opened == 3


def test_a_place_that_does_not_come_in_time_is_a_pool_timeout(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        held = asyncio.ensure_future(session.get("/hold"))
        while not origin.asked:
            await asyncio.sleep(0.002)
        with pytest.raises(httpx.PoolTimeout, match="max_connections=1"):
            await session.get("/echo")
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        assert (await session.get("/echo")).status_code == 200

    timeout = httpx.Timeout(5, pool=0.05)
    using(work, base_url=origin.url, limits=httpx.Limits(max_connections=1), timeout=timeout)


def test_a_connection_of_one_host_makes_room_for_another(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        for url in (origin.url, other.url, origin.url):
            await several(session, *[f"{url}/echo"] * 4)

    with Origin() as other:
        using(work, limits=httpx.Limits(max_connections=2))
        assert (origin.opened, other.opened) == (4, 2)


def test_idle_connections_are_kept_up_to_their_number(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        await several(session, *["/slow?s=0.05"] * 8)
        await session.get("/echo")
        await asyncio.to_thread(until, lambda: origin.open <= 3, "the others to be closed")

    using(work, base_url=origin.url, limits=httpx.Limits(max_keepalive_connections=3))
    assert origin.opened == 8


def test_idle_connections_expire(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        await several(session, *["/slow?s=0.05"] * 4)
        await asyncio.sleep(0.06)  # longer than they live
        await session.get("/echo")
        await asyncio.to_thread(until, lambda: origin.open == 1, "the others to be closed")

    using(work, base_url=origin.url, limits=httpx.Limits(keepalive_expiry=0.05))
    assert origin.opened == 5


def test_no_connection_is_kept_where_none_may_be(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        await session.get("/echo")
        await session.get("/echo")

    using(work, base_url=origin.url, limits=httpx.Limits(max_keepalive_connections=0))
    assert origin.opened == 2


def test_a_connection_that_the_server_closed_is_replaced(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        for _ in range(3):
            with pytest.raises(httpx.RemoteProtocolError):
                await session.get("/cut")
            assert (await session.get("/echo")).status_code == 200

    using(work, base_url=origin.url)


def test_a_stream_that_is_left_early_gives_its_place_back(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        for _ in range(3):
            async with session.stream("GET", "/bytes/10000000") as answer:
                async for _ in answer.aiter_bytes():
                    break
        assert len((await session.get("/bytes/3000000")).content) == 3_000_000

    using(work, base_url=origin.url, limits=httpx.Limits(max_connections=1), timeout=5)


# -- one client --------------------------------------------------------------------------------------------


def test_cookies_auth_and_hooks_are_those_of_one_client(origin: Origin) -> None:
    seen: list[str] = []

    async def note(request: httpx.Request) -> None:
        seen.append(request.url.path)

    async def work(session: httpx.AsyncClient) -> None:
        session.cookies.set("id", "7", domain="127.0.0.1")
        await several(session, *[f"/slow?s=0.02&n={n}" for n in range(12)])

    using(work, base_url=origin.url, auth=("me", "secret"), event_hooks={"request": [note]})
    assert len({asked.connection for asked in origin.asked}) > 1
    assert {asked.headers["cookie"] for asked in origin.asked} == {"id=7"}
    assert {asked.headers["authorization"] for asked in origin.asked} == {"Basic bWU6c2VjcmV0"}
    assert seen == ["/slow"] * 12


def test_a_proxy_is_asked_instead(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        await several(session, *["http://127.0.0.1:1/echo"] * 3)

    using(work, proxy=origin.url)
    assert len(origin.asked) == 3


def test_a_proxy_of_the_environment_is_asked(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, origin.url)
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    async def main() -> None:
        async with async_client() as session:
            await session.get("http://nowhere.invalid/echo")

    asyncio.run(main())
    with client() as session:
        session.get("http://nowhere.invalid/echo")
    assert len(origin.asked) == 2


def test_a_transport_of_ones_own_is_used() -> None:
    async def work(session: httpx.AsyncClient) -> None:
        assert (await session.get("http://127.0.0.1/")).text == "mine"

    using(work, transport=httpx.MockTransport(lambda request: httpx.Response(200, text="mine")))


# -- wires -------------------------------------------------------------------------------------------------


@pytest.fixture
def secure() -> Iterator[Origin]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    with Origin(tls=context) as origin:
        yield origin


def test_https_is_spoken_and_certificates_are_looked_at(secure: Origin) -> None:
    async def trusting(session: httpx.AsyncClient) -> None:
        await several(session, *["/slow?s=0.02"] * 5)
        body = (await session.get("/bytes/3000000")).content
        assert len(body) == 3_000_000
        answer = await session.post("/echo", content=b"y" * 1_000_000)
        assert len(answer.json()["body"]) == 1_000_000

    async def careful(session: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await session.get("/echo")

    using(trusting, base_url=secure.url, verify=TRUSTED)
    using(careful, base_url=secure.url)
    until(lambda: secure.open == 0, "the connections to end")


def test_limits_hold_over_https(secure: Origin) -> None:
    options = {"base_url": secure.url, "verify": TRUSTED, "trust_env": False, "total": 0.2}

    async def work(session: httpx.AsyncClient) -> None:
        with pytest.raises(TimeoutError, match=r"took longer than total=0\.2 s"):
            await session.get("/drip")

    using(work, **{name: option for name, option in options.items() if name != "trust_env"})
    with client(**options) as session, pytest.raises(TimeoutError, match=r"total=0\.2 s"):
        session.get("/drip/head")


def test_a_slow_reader_does_not_have_all_of_it_sent(origin: Origin) -> None:
    """What is not read is not kept here either."""

    async def work(session: httpx.AsyncClient) -> None:
        async with session.stream("GET", "/bytes/50000000") as answer:
            chunks = answer.aiter_raw()
            read = len(await anext(chunks))
            wire = answer.extensions["network_stream"]
            for _ in range(50):  # as often as the loop likes to read more
                await asyncio.sleep(0)
                assert len(wire._buffer) < 1_000_000
            async for chunk in chunks:
                read += len(chunk)
        assert read == 50_000_000

    using(work, base_url=origin.url, timeout=30)


def test_large_bodies_are_sent(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        answer = await session.post("/echo", content=b"y" * 5_000_000)
        assert len(answer.json()["body"]) == 5_000_000

    using(work, base_url=origin.url, timeout=30)


def test_a_read_and_a_connection_that_take_too_long_are_httpx_own_errors(origin: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await session.get("/hold")

    async def refused(session: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ConnectError):
            await session.get("/")

    using(work, base_url=origin.url, timeout=0.05)
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        using(refused, base_url=f"http://127.0.0.1:{unheard.getsockname()[1]}")


# -- HTTP/2 ------------------------------------------------------------------------------------------------


@contextmanager
def second() -> Iterator[tuple[str, list[int]]]:
    """A server of HTTP/2 without TLS; its address, and the number of requests on each connection."""
    counts: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        machine.initiate_connection()
        writer.write(machine.data_to_send())
        number = len(counts)
        counts.append(0)
        while data := await reader.read(65536):
            for event in machine.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    counts[number] += 1
                    machine.send_headers(event.stream_id, [(":status", "200"), ("content-length", "6")])
                    machine.send_data(event.stream_id, b"second", end_stream=True)
            writer.write(machine.data_to_send())
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", counts
    finally:

        async def end() -> None:
            server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait(tasks, timeout=5) if tasks else None

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_http2_has_many_requests_on_a_connection() -> None:
    async def work(session: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(session.get("/") for _ in range(50)))
        assert {(answer.http_version, answer.text) for answer in answers} == {("HTTP/2", "second")}

    with second() as (url, counts):
        using(work, base_url=url, http1=False, http2=True)
        assert counts == [50]
        with client(base_url=url, http1=False, http2=True, trust_env=False, total=5) as session:
            assert session.get("/").http_version == "HTTP/2"


def test_http2_with_a_server_that_does_not_speak_it_has_connections_enough(secure: Origin) -> None:
    async def work(session: httpx.AsyncClient) -> None:
        await several(session, *["/slow?s=0.05"] * 20)
        assert (await session.get("/echo")).http_version == "HTTP/1.1"

    using(work, base_url=secure.url, verify=TRUSTED, http2=True)
    assert secure.opened >= 5


def test_http2_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for make in (client, async_client):
        with pytest.raises(ImportError, match=r"fetchline-httpx\[http2\]"):
            make(http2=True)
