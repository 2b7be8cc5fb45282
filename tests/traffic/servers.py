"""An HTTP server on a loopback port, in a thread of its own, that treats its clients as a test tells it.

It notes every request. Its clock is ``time.monotonic``, which is one for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic
from types import TracebackType
from typing import Literal

from fetchline.testing.http.origin import stop_listening

__all__ = ["LOST", "Answer", "Behave", "Seen", "Server", "polite"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets, and how many seconds later; a header may be there twice."""

    status: int = 200
    body: bytes = b"ok\n"
    headers: tuple[tuple[str, str], ...] = ()
    after: float = 0.0


LOST = Answer(status=0)
"""No answer: the connection is closed."""


@dataclass(slots=True)
class Seen:
    """A request as the server saw it; ``in_flight`` counts it too, ``status`` is None until it is answered."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    in_flight: int
    status: int | None = None
    ended: float = 0.0


Behave = Callable[[Seen], Answer]
"""Decides about a request, on the server's own thread: it needs no lock, and must not block."""


def polite(seen: Seen) -> Answer:
    """Answer everything, at once."""
    return Answer()


@dataclass
class Server:
    """The server while a ``with`` block runs.

    Attributes:
        behave: what it does with a request; may be changed at any time.
        seen: every request so far, in the order of their arrival.
        went_down, came_back: the beginning and end of its last outage.
    """

    behave: Behave = polite
    seen: list[Seen] = field(default_factory=list)
    went_down: float = 0.0
    came_back: float = 0.0
    port: int = 0

    def __post_init__(self) -> None:
        self._out: Literal["", "503", "refused"] = ""
        self._plan: tuple[int, Literal["503", "refused"], float | None] | None = None
        self._in_flight = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="server", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answered(self, status: int = 200) -> list[Seen]:
        """The requests that got this status, in the order of their arrival."""
        return [seen for seen in list(self.seen) if seen.status == status]

    def plan_outage(self, kind: Literal["503", "refused"], after: int, lasting: float | None) -> None:
        """Go down with the request that follows so many others, for so many seconds (None: for good).

        Args:
            kind: ``503`` answers that to everything, without Retry-After; ``refused`` does not listen, and
                drops every connection it has.
            after: requests that are still served.
            lasting: seconds.
        """
        self._plan = (after, kind, lasting)

    # -- starting and ending -----------------------------------------------------------------------------------

    def __enter__(self) -> Server:
        # Bound, never listening: the port stays ours while nobody listens, and no client's own end gets it.
        self._place = _bound(0)
        self.port = self._place.getsockname()[1]
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._place.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, sock=_bound(self.port), backlog=128)

    async def _close(self) -> None:
        await stop_listening(self._server)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._conversations:
                task.cancel()
            await asyncio.wait(tasks)  # those of asyncio that accept, too: they end with another conversation

    # -- outages -------------------------------------------------------------------------------------------------

    def _go_down(self, kind: Literal["503", "refused"], lasting: float | None) -> None:
        self._out = kind
        self.went_down = monotonic()
        if kind == "refused":
            self._refusing = self._loop.create_task(self._refuse())
        if lasting is not None:
            self._loop.call_later(lasting, lambda: self._loop.create_task(self._come_back()))

    async def _refuse(self) -> None:
        await stop_listening(self._server)
        for writer in self._writers:
            writer.transport.abort()

    async def _come_back(self) -> None:
        if self._out == "refused":
            await self._listen()
        self._out = ""
        self.came_back = monotonic()

    # -- requests ------------------------------------------------------------------------------------------------

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._conversations.discard(task)
            self._writers.discard(writer)
            writer.close()

        self._writers.add(writer)
        task = self._loop.create_task(self._serve(reader, writer))
        self._conversations.add(task)
        task.add_done_callback(ended)  # of one that is cancelled before it begins, too

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (seen := await self._read(reader)) is not None and await self._answer(seen, writer):
                pass
        except (OSError, asyncio.CancelledError):
            pass  # the client has left, or the test is over

    async def _read(self, reader: asyncio.StreamReader) -> Seen | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.rstrip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Seen(method, path, headers, body, monotonic(), self._in_flight + 1)

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        """Answer; whether the connection goes on."""
        if self._plan is not None and len(self.seen) >= self._plan[0]:
            (_, kind, lasting), self._plan = self._plan, None
            self._go_down(kind, lasting)
        self.seen.append(seen)
        if self._out == "refused":  # it had arrived, in the moment of going down
            return False
        answer = self.behave(seen) if self._out != "503" else Answer(503)
        self._in_flight += 1
        try:
            if answer.after:
                await asyncio.sleep(answer.after)
        finally:
            # Before the answer leaves: what its client does next must not find it in flight.
            self._in_flight -= 1
            seen.ended = monotonic()
        if writer.transport.is_closing():  # dropped meanwhile
            return False
        seen.status = answer.status
        if answer is LOST:
            return False
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{extra}"
        writer.write(f"{head}Content-Length: {len(answer.body)}\r\n\r\n".encode() + answer.body)
        await writer.drain()
        return seen.headers.get("connection", "").lower() != "close"


def _bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made
