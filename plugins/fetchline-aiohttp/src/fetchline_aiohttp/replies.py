"""Answers that have been read to their end, and the errors that are no aiohttp's."""

from __future__ import annotations

import zlib
from typing import Any

import aiohttp
from aiohttp.base_protocol import BaseProtocol

from fetchline.http import BodyTooLarge, Decoder, Limits, without_password

__all__ = ["ENCODINGS", "NotFollowed", "Reply", "StatusError", "Undecodable"]

ENCODINGS = "gzip, deflate"
"""What servers are told: what can be decompressed piece by piece, and so be refused before it is large."""

_TEXT = 2000


class NotFollowed(aiohttp.ClientError):
    """A redirect that leads nowhere, or that cannot be followed."""


class Undecodable(aiohttp.ClientPayloadError):
    """A body that is not what its headers say."""


class StatusError(aiohttp.ClientResponseError):
    """An answer of 400 or more, which has been read.

    Attributes:
        reply: the answer: ``await error.reply.text()``.
        body: the first 2000 characters or so of its text.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(
            reply.request_info,
            reply.history,
            status=reply.status,
            message=reply.reason or "",
            headers=reply.headers,
        )
        self.reply = reply
        self.body = reply.beginning()


class Reply(aiohttp.ClientResponse):
    """An ``aiohttp.ClientResponse`` that was read before it was handed out.

    ``read``, ``text``, ``json`` and ``content`` give its body at any time, also after the session has ended.
    """

    _stream: Any = None
    _rewind = False

    async def load(self, limits: Limits, *, raises: bool) -> None:
        """Read the body, and let go of the connection.

        Args:
            limits: what it may be.
            raises: an error status is about to be raised, and weighs more than what is wrong with its body.

        Raises:
            BodyTooLarge: there is more than that; the connection is closed, as for any other error.
            Undecodable: it cannot be decompressed.
            aiohttp.ClientError: it ended too early.
        """
        encoding = self.headers.get("Content-Encoding")
        try:
            if encoding is None and self._fits(limits):
                await super().read()
            else:
                self._body = await self._measured(encoding or "", limits)
        except BaseException as error:
            self.close()
            if not (raises and self.status >= 400 and isinstance(error, BodyTooLarge | aiohttp.ClientError)):
                raise
            self._body = b""
        self._rewind = True

    def _fits(self, limits: Limits) -> bool:
        bounds = [each for each in (limits.max_bytes, limits.max_decoded_bytes) if each is not None]
        if not bounds:
            return True
        length = self.headers.get("Content-Length", "")
        return length.isdecimal() and int(length) <= min(bounds)  # the parser holds the server to it

    async def _measured(self, encoding: str, limits: Limits) -> bytes:
        address = without_password(str(self.url))
        wire = limits.wire(address)
        wire.expect(None if self.method == "HEAD" else self.headers.get("Content-Length"))
        try:
            decoder = Decoder(encoding, limits.decoded(address))
        except ValueError as error:
            raise Undecodable(f"{address} is encoded as {encoding!r}, not as {ENCODINGS}") from error
        pieces = []
        try:
            async for chunk in self.content.iter_any():
                wire.add(len(chunk))
                pieces.append(decoder.decode(chunk))
            pieces.append(decoder.flush())
        except zlib.error as error:
            raise Undecodable(f"{address} is not {encoding!r}, though it says so: {error}") from error
        return b"".join(pieces)

    async def read(self) -> bytes:
        """Give the body."""
        return await super().read() if self._body is None else self._body

    # A loop over ``content`` is how aiohttp's own answers are read; here it would find the stream at its end.
    @property
    def content(self) -> aiohttp.StreamReader:
        """Give the body as a stream, from its beginning."""
        if self._rewind and self._body is not None:
            self._rewind = False
            self._stream = aiohttp.StreamReader(
                BaseProtocol(self._loop), max(len(self._body), 1), loop=self._loop
            )
            self._stream.feed_data(self._body)
            self._stream.feed_eof()
        stream: aiohttp.StreamReader = self._stream
        return stream

    @content.setter
    def content(self, stream: aiohttp.StreamReader) -> None:
        self._stream = stream

    def beginning(self) -> str:
        """Give the first characters of the body, whatever they are."""
        data = (self._body or b"")[:_TEXT]
        try:
            return data.decode(self.get_encoding(), "replace")
        except LookupError:  # Python knows encodings that are of no text
            return data.decode(errors="replace")

    def raise_for_status(self) -> None:
        """Raise a ``StatusError`` for a status of 400 or more."""
        if self.status >= 400:
            raise StatusError(self)
