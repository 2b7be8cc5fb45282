"""A small pool for each connection, behind one face: httpx's own pool looks at all it has for every request."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import httpx

__all__ = ["Connections"]

_Origin: TypeAlias = tuple[str, str, int | None]


class Connections(httpx.AsyncBaseTransport):
    """Give each request a transport that has one connection: one to the same host if there is one.

    No request ever waits inside a transport; there, each that ends would look at each that waits. The
    connection that was used last is the first to be used again. It is for HTTP/1.1: a connection carries one
    request at a time.

    Args:
        make: makes a transport that keeps to such limits.
        limits: of all connections together.
    """

    def __init__(
        self, make: Callable[[httpx.Limits], httpx.AsyncBaseTransport], limits: httpx.Limits
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
        self._lines: set[_Line] = set()
        self._free: defaultdict[_Origin, list[_Line]] = defaultdict(list)
        self._idle: dict[_Line, float] = {}  # those that are free, and since when; the longest first
        self._places = None if self._most is None else asyncio.Semaphore(self._most)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._places is not None:
            await self._place(request)
        line = self._take((request.url.scheme, request.url.host, request.url.port))
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

    def _take(self, origin: _Origin) -> _Line:
        if self._free[origin]:
            line = self._free[origin].pop()
        elif self._most is None or len(self._lines) < self._most:
            line = _Line(self._make(self._each), origin)
            self._lines.add(line)
        else:  # the place stands for a line that is free; its connection goes to another host
            line = next(iter(self._idle))
            self._free[line.origin].remove(line)
            line.origin = origin
        self._idle.pop(line, None)
        return line

    def _leave(self, line: _Line) -> None:
        if line in self._lines:
            self._free[line.origin].append(line)
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


@dataclass(eq=False, slots=True)
class _Line:
    transport: httpx.AsyncBaseTransport
    origin: _Origin


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
