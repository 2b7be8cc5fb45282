"""A small pool for each connection, behind one face: httpx's own pool looks at all it has for every request."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import httpx

__all__ = ["Connections"]

_STREAMS = 100  # what servers of HTTP/2 usually allow on a connection


class Connections(httpx.AsyncBaseTransport):
    """Give each request a transport that has one connection, one to the same host if there is one.

    A connection of HTTP/1.1 carries one request at a time, so no request ever queues inside a transport; there
    each that ends would look at each that waits. The last one used is the first one used again.

    Args:
        make: makes a transport that opens no more than one connection.
        limits: of all connections together.
        http2: whether a connection carries several requests at a time.
    """

    def __init__(
        self,
        make: Callable[[httpx.Limits], httpx.AsyncBaseTransport],
        limits: httpx.Limits,
        *,
        http2: bool = False,
    ) -> None:
        self._make = make
        self._most = limits.max_connections
        self._most_idle = limits.max_keepalive_connections
        self._expiry = limits.keepalive_expiry
        self._each = httpx.Limits(
            max_connections=1,
            max_keepalive_connections=0 if self._most_idle == 0 else 1,
            keepalive_expiry=self._expiry,
        )
        self._streams = _STREAMS if http2 else 1
        self._lines: set[_Line] = set()
        self._free: defaultdict[tuple[str, int | None], list[_Line]] = defaultdict(list)
        self._idle: dict[_Line, float] = {}  # since when; the longest first
        self._places = None if self._most is None else asyncio.Semaphore(self._most * self._streams)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._places is not None:
            await self._place(request)
        line = self._take((request.url.host, request.url.port))
        try:
            response = await line.transport.handle_async_request(request)
        except BaseException:
            self._leave(line)
            raise
        response.stream = _Body(response.stream, partial(self._read, line))
        return response

    async def aclose(self) -> None:
        lines, self._lines = self._lines, set()
        self._free.clear()
        self._idle.clear()
        for line in lines:
            await line.transport.aclose()

    async def _place(self, request: httpx.Request) -> None:
        assert self._places is not None
        patience = request.extensions.get("timeout", {}).get("pool")
        try:
            async with asyncio.timeout(patience):
                await self._places.acquire()
        except TimeoutError:
            message = f"all of max_connections={self._most} were in use for {patience:g} s"
            raise httpx.PoolTimeout(message, request=request) from None

    def _take(self, origin: tuple[str, int | None]) -> _Line:
        if self._free[origin]:
            line = self._free[origin][-1]
        elif self._most is None or len(self._lines) < self._most:
            line = _Line(self._make(self._each), origin)
            self._lines.add(line)
            self._free[origin].append(line)
        else:  # the place stands for one; its connection goes to another host
            line = next(iter(self._idle), None) or min(self._lines, key=lambda line: line.busy)
            self._free[line.origin].remove(line)
            line.origin = origin
            self._free[origin].append(line)
        line.busy += 1
        self._idle.pop(line, None)
        if line.busy == self._streams:
            self._free[origin].remove(line)
        return line

    def _leave(self, line: _Line) -> None:
        line.busy -= 1
        if line in self._lines:
            if line.busy == self._streams - 1:
                self._free[line.origin].append(line)
            if line.busy == 0:
                self._idle[line] = time.monotonic()
        if self._places is not None:
            self._places.release()

    async def _read(self, line: _Line) -> None:
        self._leave(line)
        await self._tidy()

    async def _tidy(self) -> None:
        """Close what has been idle for too long, and what is idle beside as many as there may be."""
        now = time.monotonic()
        while self._idle:
            line, since = next(iter(self._idle.items()))
            surplus = self._most_idle is not None and len(self._idle) > self._most_idle
            if not surplus and (self._expiry is None or now - since < self._expiry):
                return
            del self._idle[line]
            self._lines.discard(line)
            self._free[line.origin].remove(line)
            await line.transport.aclose()


class _Line:
    __slots__ = ("busy", "origin", "transport")

    def __init__(self, transport: httpx.AsyncBaseTransport, origin: tuple[str, int | None]) -> None:
        self.transport = transport
        self.origin = origin
        self.busy = 0  # requests whose answers have not been read to their end


class _Body(httpx.AsyncByteStream):
    """A body that says once when it is closed."""

    def __init__(self, stream: Any, closed: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._closed: Callable[[], Awaitable[None]] | None = closed

    def __aiter__(self) -> AsyncIterator[bytes]:
        iterator: AsyncIterator[bytes] = self._stream.__aiter__()
        return iterator

    async def aclose(self) -> None:
        closed, self._closed = self._closed, None
        try:
            await self._stream.aclose()
        finally:
            if closed is not None:
                await closed()
