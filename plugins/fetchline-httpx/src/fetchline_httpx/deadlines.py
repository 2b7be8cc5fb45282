"""The time a request may take in all: httpx's own timeouts begin anew with every byte that arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from fetchline.http import overdue

__all__ = ["Deadline", "clocked", "current"]

_PIECE = 1 << 16

current: ContextVar[Deadline | None] = ContextVar("current", default=None)
"""That of the request which is under way here."""


class Deadline:
    """When a request must have ended, its redirects and the last byte of its answer included.

    Args:
        request: named in the error.
        total: seconds from now.
    """

    def __init__(self, request: httpx.Request, total: float) -> None:
        self._method, self._url, self._total = request.method, str(request.url), total
        self._at = time.monotonic() + total

    def left(self) -> float:
        """Seconds; none or less is too late."""
        return self._at - time.monotonic()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have whatever reads from or writes to a connection on this thread end in time.

        Raises:
            AttemptTimeout: the time is over.
        """
        token = current.set(self)
        try:
            yield
        except httpx.TimeoutException as error:
            if self.left() > 0:
                raise  # one of httpx's own
            raise overdue(self._method, self._url, self._total) from error
        finally:
            current.reset(token)

    def check(self) -> None:
        """Raise if the time is over: for transports that do not look at it.

        Raises:
            AttemptTimeout: it is.
        """
        if self.left() <= 0:
            raise overdue(self._method, self._url, self._total)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Have whatever is awaited end in time.

        Raises:
            AttemptTimeout: the time is over.
        """
        token = current.set(self)
        try:
            async with asyncio.timeout(self.left()) as timeout:
                yield
        except TimeoutError as error:
            if not timeout.expired():
                raise
            raise overdue(self._method, self._url, self._total) from error
        finally:
            current.reset(token)


def clocked(transport: httpx.BaseTransport) -> httpx.BaseTransport:
    """Have a transport of httpx look at the deadline whenever it reads or writes; others are left as they are."""
    if isinstance(transport, httpx.HTTPTransport):
        pool = transport._pool
        pool._network_backend = _Backend(pool._network_backend)  # httpx does not hand it through
    return transport


def _in_time(timeout: float | None, late: type[Exception]) -> float | None:
    deadline = current.get()
    if deadline is None:
        return timeout
    left = deadline.left()
    if left <= 0:
        raise late("the request took too long")
    return left if timeout is None else min(left, timeout)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _in_time(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        timeout = _in_time(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(_in_time(seconds, httpcore.ConnectTimeout) or 0)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _in_time(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):  # each begins anew with its timeout
            piece = buffer[start : start + _PIECE]
            self._inner.write(piece, _in_time(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = _in_time(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
