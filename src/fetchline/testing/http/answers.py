"""What ``Origin`` answers, by the path of the request.

| path | answer |
|---|---|
| ``/echo`` | the request as JSON: method, path, query, headers (lower case), body |
| ``/status/404`` | that status; ``?retry_after=2`` and ``?text=...`` go along |
| ``/first/503/KEY`` | that status to the first request of the path, with the same options; then 200 |
| ``/redirect?to=URL`` | 302, or ``&status=307`` |
| ``/basic/USER/PASSWORD`` | 200 to who has them, 401 to others |
| ``/digest`` | a challenge to who sends no Authorization |
| ``/bytes/1000`` | so many bytes; ``/chunked/1000`` without saying how many |
| ``/gzip/1000`` | so many zero bytes, compressed; ``?times=2`` compresses the outcome again |
| ``/head/1000`` | to HEAD: so many bytes would follow |
| ``/encoded/br`` | a few bytes that claim to be encoded so |
| ``/garbled`` | a body that claims to be gzip and is not |
| ``/text`` | a page of HTML |
| ``/cut`` | the connection ends before the body does; ``/reset``: before the answer |
| ``/drip?every=0.02&s=5`` | one byte of body at a time for so many seconds; ``/drip/head``: one header at a time |
| ``/hold?s=10`` | nothing, for so many seconds at the most |
| ``/slow?s=0.05`` | 200 after so many seconds |
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TypeAlias

__all__ = ["Asked", "answer"]

Write: TypeAlias = Callable[[bytes], Awaitable[None]]
BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that arrived; header names are in lower case, ``connection`` counts from 1."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    connection: int


async def answer(
    asked: Asked, times: int, write: Write, gone: Callable[[], bool], reset: Callable[[], None]
) -> bool:
    """Answer a request; say whether the connection is good for another.

    Args:
        asked: the request.
        times: how often this path has been asked for, this time counted.
        write: sends to the client.
        gone: whether the client has left.
        reset: has the connection end with a reset, not with a goodbye.
    """
    kind, *rest = asked.path.lstrip("/").split("/")
    query = asked.query
    match kind:
        case "echo":
            told = {**asdict(asked), "body": asked.body.decode("latin-1")}
            await write(whole(200, json.dumps(told).encode(), {"Content-Type": "application/json"}))
        case "status":
            await write(_status(int(rest[0]), query))
        case "first":
            await write(_status(int(rest[0]), query) if times == 1 else whole(200, b"at last"))
        case "redirect":
            await write(whole(int(query.get("status", "302")), b"elsewhere", {"Location": query["to"]}))
        case "basic":
            wanted = "Basic " + base64.b64encode(":".join(rest).encode()).decode()
            known = asked.headers.get("authorization") == wanted
            challenge = {"WWW-Authenticate": 'Basic realm="test"'}
            await write(whole(200, b"welcome") if known else whole(401, b"who are you?", challenge))
        case "digest":
            challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
            known = "authorization" in asked.headers
            await write(whole(200, b"welcome") if known else whole(401, b"who are you?", challenge))
        case "bytes":
            await write(head(200, {"Content-Length": rest[0]}))
            for block in _blocks(int(rest[0])):
                await write(block)
        case "chunked":
            await _chunked(_blocks(int(rest[0])), {}, write)
        case "gzip":
            await _chunked(*_bomb(int(rest[0]), int(query.get("times", "1"))), write)
        case "head":
            await write(head(200, {"Content-Length": rest[0], "Content-Encoding": "gzip"}))
        case "encoded":
            await write(whole(200, b"whatever", {"Content-Encoding": rest[0]}))
        case "garbled":
            await write(whole(200, b"this is not gzip", {"Content-Encoding": "gzip"}))
        case "text":
            await write(whole(200, b"<html>maintenance</html>", {"Content-Type": "text/html"}))
        case "cut":
            await write(head(200, {"Content-Length": "1000"}) + b"the first bytes")
            return False
        case "leave":
            return False
        case "reset":
            reset()
            return False
        case "drip":
            await _drip("head" in rest, query, write, gone)
            return False
        case "hold":
            end = asyncio.get_running_loop().time() + float(query.get("s", "10"))
            while not gone() and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(0.005)
            return False
        case "slow":
            await asyncio.sleep(float(query["s"]))
            await write(whole(200, b"here"))
        case _:
            await write(whole(404, b"there is no such path"))
    return True


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The first lines of an answer, the empty one included."""
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode("latin-1")


def whole(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """An answer that says how long it is."""
    return head(status, {**(headers or {}), "Content-Length": str(len(body))}) + body


def _status(status: int, query: Mapping[str, str]) -> bytes:
    headers = {"X-Request-Id": "r1", "X-Other": "o", "Content-Type": "text/plain"}
    if "retry_after" in query:
        headers["Retry-After"] = query["retry_after"]
    return whole(status, query.get("text", f"status {status}").encode(), headers)


def _blocks(count: int) -> Iterator[bytes]:
    while count > 0:
        yield b"x" * min(count, BLOCK)
        count -= BLOCK


def _bomb(count: int, times: int) -> tuple[Iterator[bytes], Mapping[str, str]]:
    def body() -> Iterator[bytes]:
        packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        zeros = bytes(BLOCK)
        for start in range(0, count, BLOCK):
            yield packer.compress(zeros[: min(count - start, BLOCK)])
        yield packer.flush()

    blocks = body()
    for _ in range(times - 1):
        blocks = iter([gzip.compress(b"".join(blocks))])
    return blocks, {"Content-Encoding": ", ".join(["gzip"] * times)}


async def _chunked(blocks: Iterator[bytes], headers: Mapping[str, str], write: Write) -> None:
    await write(head(200, {**headers, "Transfer-Encoding": "chunked"}))
    for block in blocks:
        if block:  # an empty one would be the last
            await write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
    await write(b"0\r\n\r\n")


async def _drip(of_head: bool, query: Mapping[str, str], write: Write, gone: Callable[[], bool]) -> None:
    every = float(query.get("every", "0.02"))
    await write(b"HTTP/1.1 200 OK\r\n" if of_head else head(200, {"Transfer-Encoding": "chunked"}))
    for _ in range(round(float(query.get("s", "5")) / every)):
        if gone():
            return
        await write(b"X-Drip: 1\r\n" if of_head else b"1\r\nx\r\n")
        await asyncio.sleep(every)
    await write(b"Content-Length: 0\r\n\r\n" if of_head else b"0\r\n\r\n")
