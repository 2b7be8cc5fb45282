"""A real HTTP/1.1 server on a loopback address, which counts and remembers what it is asked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from types import TracebackType
from urllib.parse import parse_qsl, unquote, urlsplit

from fetchline.testing.http.answers import Asked, answer

__all__ = ["Origin"]


class Origin:
    """The server while a ``with`` block runs, on a thread and an event loop of its own.

    What it answers is decided by the path; see ``answers``.

    Args:
        host: 127.0.0.1, or another loopback address.
        latency: seconds before each answer.
        tls: with a certificate, for ``https``.

    Attributes:
        url: where it is, without a slash at the end.
        asked: the requests, in the order in which they arrived.
        opened: connections that were accepted so far.
        open: connections that are open now.

    >>> from urllib.request import urlopen
    >>> with Origin() as origin:
    ...     with urlopen(f"{origin.url}/bytes/3") as reply:
    ...         reply.read()
    ...     origin.opened, origin.asked[0].path
    b'xxx'
    (1, '/bytes/3')
    """

    def __init__(
        self, host: str = "127.0.0.1", latency: float = 0.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.host = host
        self.tls = tls
        self.latency = latency
        self.url = ""
        self.asked: list[Asked] = []
        self.opened = 0
        self.open = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="origin", daemon=True)
        self._handlers: set[asyncio.Task[None]] = set()

    def count(self, path: str) -> int:
        """How many requests for that path have arrived so far."""
        return sum(one.path == path for one in self.asked)

    def __enter__(self) -> Origin:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _begin(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, 0, backlog=512, ssl=self.tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://{self.host}:{port}"

    async def _end(self) -> None:
        await stop_listening(self._server)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._handlers:
                task.cancel()
            await asyncio.wait(tasks)  # those of asyncio that accept, too: they end with another handler

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: the one of asyncio reports its own cancellation as an error.
        task = asyncio.ensure_future(self._converse(reader, writer))
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # also if it is cancelled before it begins

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self.open += 1
        number = self.opened

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        def gone() -> bool:
            return reader.at_eof() or reader.exception() is not None

        def reset() -> None:
            at_once = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)

        try:
            while True:
                request = await _read(reader, number)
                self.asked.append(request)
                if self.latency:
                    await asyncio.sleep(self.latency)
                keep = await answer(request, self.count(request.path), write, gone, reset)
                if not keep or gone():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        finally:
            self.open -= 1


async def stop_listening(server: asyncio.Server) -> None:
    """Close a server once those it has accepted have their transport; asyncio of 3.11 leaks one that has not."""
    for listening in server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()


async def _read(reader: asyncio.StreamReader, connection: int) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, text = line.partition(":")
        headers[name.strip().lower()] = text.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    return Asked(method, unquote(url.path), dict(parse_qsl(url.query)), headers, body, connection)
