"""What is made of an answer before anybody reads it: limits, and credentials that stay at home."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator

import httpx

from fetchline.http import Decoder, Limits, Meter, is_credential, same_origin
from fetchline_httpx.deadlines import Deadline

__all__ = ["bounded", "keep_credentials_home"]


def bounded(response: httpx.Response, limits: Limits, deadline: Deadline | None) -> None:
    """Have an answer that is not read yet refuse to be too large, or to last too long.

    Raises:
        httpx.DecodingError: it is encoded in a way whose outcome cannot be bounded.
    """
    if limits.max_bytes is deadline is limits.max_decoded_bytes is None:
        return
    url = str(response.request.url)
    if limits.max_bytes is not None or deadline is not None:
        given = (limits.wire(url), _length(response), deadline)
        match response.stream:
            case httpx.SyncByteStream() as stream:
                response.stream = _Body(stream, *given)
            case httpx.AsyncByteStream() as stream:
                response.stream = _AsyncBody(stream, *given)
    if limits.max_decoded_bytes is not None:
        try:
            decoder = Decoder(response.headers.get("content-encoding", ""), limits.decoded(url))
        except ValueError as error:
            raise httpx.DecodingError(str(error), request=response.request) from None
        # httpx takes the decoder that is there. It has no other way to be given one.
        response._decoder = _Decoder(decoder)  # type: ignore[assignment]


def _length(response: httpx.Response) -> str | None:
    """The length of the body that follows; the answer to HEAD tells one, and none follows."""
    return None if response.request.method == "HEAD" else response.headers.get("content-length")


class _Body(httpx.SyncByteStream):
    def __init__(
        self, stream: httpx.SyncByteStream, meter: Meter, length: str | None, deadline: Deadline | None
    ) -> None:
        self._stream, self._meter, self._length, self._deadline = stream, meter, length, deadline

    def __iter__(self) -> Iterator[bytes]:
        self._meter.expect(self._length)
        chunks = iter(self._stream)
        while (chunk := self._next(chunks)) is not None:
            self._meter.add(len(chunk))
            yield chunk

    def _next(self, chunks: Iterator[bytes]) -> bytes | None:
        if self._deadline is None:
            return next(chunks, None)
        with self._deadline.held():
            self._deadline.check()
            return next(chunks, None)

    def close(self) -> None:
        self._stream.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(
        self, stream: httpx.AsyncByteStream, meter: Meter, length: str | None, deadline: Deadline | None
    ) -> None:
        self._stream, self._meter, self._length, self._deadline = stream, meter, length, deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._meter.expect(self._length)
        chunks = self._stream.__aiter__()
        while (chunk := await self._next(chunks)) is not None:
            self._meter.add(len(chunk))
            yield chunk

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        if self._deadline is None:
            return await anext(chunks, None)
        async with self._deadline.kept():
            return await anext(chunks, None)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Decoder:
    """fetchline's decoder, with httpx's error."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def decode(self, data: bytes) -> bytes:
        try:
            return self._decoder.decode(data)
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from error

    def flush(self) -> bytes:
        try:
            return self._decoder.flush()
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from error


def keep_credentials_home(response: httpx.Response) -> None:
    """Take credentials from a request that is about to be redirected to another origin.

    The redirected request is made of the headers of this one; httpx itself drops ``Authorization`` only.
    """
    if not response.has_redirect_location:
        return
    request = response.request
    try:
        target = request.url.join(response.headers["Location"])
    except httpx.InvalidURL:
        return  # httpx reports it
    if not same_origin(str(request.url), str(target)):
        for name in [name for name in request.headers if is_credential(name)]:
            del request.headers[name]
