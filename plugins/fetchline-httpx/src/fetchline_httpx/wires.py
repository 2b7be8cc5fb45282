"""Connections of asyncio's own for httpcore, which goes through anyio: that costs a quarter of a small request."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpcore
import httpx

__all__ = ["wired"]

_HIGH = 1 << 18  # bytes that wait to be read before the other side is made to wait


def wired(transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
    """Have a transport of httpx connect by asyncio; others are left as they are."""
    if isinstance(transport, httpx.AsyncHTTPTransport):
        transport._pool._network_backend = _Backend()  # httpx does not hand it through
    return transport


@asynccontextmanager
async def _within(
    seconds: float | None, late: type[Exception], failed: type[Exception]
) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise late(str(error) or f"nothing for {seconds} s") from error
    except (OSError, ssl.SSLError) as error:
        raise failed(str(error)) from error


class _Backend(httpcore.AsyncNetworkBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        here = None if local_address is None else (local_address, 0)
        async with _within(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            _, wire = await loop.create_connection(
                _Wire, host, port, local_addr=here, happy_eyeballs_delay=0.25
            )
        return wire.opened(socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        async with _within(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            _, wire = await loop.create_unix_connection(_Wire, path)
        return wire.opened(socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Wire(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A connection; one coroutine reads at a time, and one writes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._buffer = bytearray()
        self._ended = False
        self._paused = False
        self._error: Exception | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None  # while writing has to wait
        self._lost: asyncio.Future[None] = self._loop.create_future()

    def opened(self, options: Iterable[Any] | None) -> _Wire:
        for option in options or ():
            self._transport.get_extra_info("socket").setsockopt(*option)
        return self

    # -- what httpcore asks for -----------------------------------------------------------------------------

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._buffer and not self._ended:
            self._arrival = self._loop.create_future()
            async with _within(timeout, httpcore.ReadTimeout, httpcore.ReadError):
                await self._arrival
        if self._error is not None and not self._buffer:
            async with _within(None, httpcore.ReadTimeout, httpcore.ReadError):
                raise self._error
        data = bytes(self._buffer[:max_bytes])
        del self._buffer[:max_bytes]
        if self._paused and not self._ended:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        self._transport.write(buffer)
        if self._room is not None:
            async with _within(timeout, httpcore.WriteTimeout, httpcore.WriteError):
                await self._room
        if self._lost.done():
            async with _within(None, httpcore.WriteTimeout, httpcore.WriteError):
                raise self._error or ConnectionResetError("the connection is gone")

    async def aclose(self) -> None:
        # Nothing is left to send, and nobody waits for the other side's goodbye.
        self._transport.abort()
        await asyncio.shield(self._lost)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with _within(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
                self._transport = await self._loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except BaseException:
            self._transport.abort()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # of one that is idle: it has been closed
            return self._ended or bool(self._buffer)
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    # -- what asyncio tells ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _HIGH and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        _ring(self._arrival)

    def eof_received(self) -> None:
        self._ended = True
        _ring(self._arrival)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = exc
        for waiting in (self._arrival, self._room, self._lost):
            _ring(waiting)

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        _ring(room)


def _ring(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
