"""A web server that is in nobody's way: in a process of its own, and so many milliseconds away.

``python -m tests.bench.server`` tells its port in a line, and ends when its input does. It reads no more of a
request than where it ends, so that it never is what a client waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["ADDRESS", "LINES", "served"]

ADDRESS = "FETCHLINE_BENCH_SERVER"
"""The environment variable that tells subjects where it is."""

LINES = 150
"""Rows of the table that it answers with."""

AWAY_S = 0.01


def table() -> bytes:
    """Make the answer to everything: 7 KB of daily prices."""
    lines = ["date,open,high,low,close,volume"]
    for n in range(LINES):
        day = f"20{n // 336:02}-{n // 28 % 12 + 1:02}-{n % 28 + 1:02}"
        lines.append(f"{day},{100 + n}.25,{101 + n}.5,{99 + n}.75,{100 + n}.5,{1_000_000 + n * 7919}")
    return "\n".join([*lines, ""]).encode()


_BODY = table()
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for _ in requests:
            self._loop.call_later(AWAY_S, self._transport.write, _ANSWER)


async def main() -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(sys.stdin, over.set)
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()


@contextlib.contextmanager
def served() -> Iterator[Mapping[str, str]]:
    """Have one at work, and give what the environment of its clients needs."""
    command = [sys.executable, "-m", "tests.bench.server"]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield {ADDRESS: f"http://127.0.0.1:{int(process.stdout.readline())}"}
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(main())
