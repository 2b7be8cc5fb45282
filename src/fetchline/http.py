"""What HTTP sessions share: the error they give, what a status means, which headers are credentials, size limits.

For authors of session plugins, and for who looks at ``failure.error``. It knows no client and imports none.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from fetchline.errors import AttemptTimeout, FetchlineError
from fetchline.interfaces import Verdict

__all__ = [
    "PERMANENT",
    "UNAVAILABLE",
    "UNDECODABLE",
    "BodyTooLarge",
    "Decoder",
    "HTTPFailure",
    "Limits",
    "Meter",
    "by_status",
    "is_credential",
    "judge",
    "overdue",
    "same_origin",
    "telling",
    "without_password",
]

PERMANENT: Final = Verdict("permanent", "permanent")
"""The request is wrong and stays wrong."""
UNAVAILABLE: Final = Verdict("retry", "unavailable")
"""The server is in trouble, or the connection to it broke."""
UNDECODABLE: Final = Verdict("retry", "undecodable")
"""The body is not what its headers say."""

_WRONG = frozenset({400, 401, 403, 404, 405, 410, 422})
_TELLING = ("content-type", "date", "retry-after", "server", "www-authenticate", "x-request-id")
_CREDENTIAL = re.compile("auth|cookie|credential|key|passw|secret|session|sign|token", re.IGNORECASE)
_SECRET = re.compile("auth|credential|key$|passw|secret|sign|token", re.IGNORECASE)  # a parameter of a query
_PORTS = {"http": 80, "https": 443}
_BODY = 500
_PIECE = 1 << 16


class HTTPFailure(FetchlineError):
    """An answer with an error status, in a form that pickles.

    Attributes:
        method: the request's method.
        url: the request's address, without user and password.
        status: the answer's status.
        headers: those of the answer's headers that tell something, by lower-case name.
        body: the first 500 characters of the answer's text; empty where it was not read.

    >>> HTTPFailure("GET", "http://me:secret@127.0.0.1/x", 404, body="no such symbol")
    HTTPFailure('GET http://127.0.0.1/x answered 404: no such symbol')
    """

    def __init__(
        self, method: str, url: str, status: int, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> None:
        first_line = body.strip().partition("\n")[0][:120]
        self.method, self.url, self.status = method, without_password(url), status
        self.headers, self.body = telling(headers or {}), body[:_BODY]
        super().__init__(f"{method} {self.url} answered {status}{': ' + first_line if first_line else ''}")

    def __reduce__(self) -> tuple[Any, ...]:
        # The state carries what others put on an exception: notes, attributes.
        return HTTPFailure, (self.method, self.url, self.status, self.headers, self.body), self.__dict__


class BodyTooLarge(FetchlineError):
    """An answer has more bytes than its reader allows; it was not read to its end.

    Attributes:
        url: the request's address, without user and password.
        limit: bytes.
        option: where the limit comes from, ``max_bytes`` or ``max_decoded_bytes``.

    >>> BodyTooLarge("http://127.0.0.1/x", 1000, "max_bytes")
    BodyTooLarge('the answer of http://127.0.0.1/x is larger than max_bytes=1000')
    """

    _fetchline_arrived = True  # a write has, whatever was the matter with its answer; see fetchline.verdict

    def __init__(self, url: str, limit: int, option: str) -> None:
        self.url, self.limit, self.option = without_password(url), limit, option
        super().__init__(f"the answer of {self.url} is larger than {option}={limit}")

    def __reduce__(self) -> tuple[Any, ...]:
        return BodyTooLarge, (self.url, self.limit, self.option), self.__dict__


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session allows each request; None is no limit.

    Attributes:
        total: seconds from the start of a request to the last byte of its answer.
        max_bytes: of a body, as it comes over the wire.
        max_decoded_bytes: of a body, when it is decompressed.

    >>> Limits(max_bytes=0)
    Traceback (most recent call last):
    ValueError: max_bytes must be a whole number above 0, not 0
    """

    total: float | None = None
    max_bytes: int | None = None
    max_decoded_bytes: int | None = None

    def __post_init__(self) -> None:
        total = self.total
        number = isinstance(total, int | float) and not isinstance(total, bool)
        if total is not None and not (number and 0 < total < float("inf")):
            raise ValueError(f"total must be seconds above 0, not {total!r}")
        for name in ("max_bytes", "max_decoded_bytes"):
            limit = getattr(self, name)
            if limit is not None and (type(limit) is not int or limit < 1):
                raise ValueError(f"{name} must be a whole number above 0, not {limit!r}")

    def wire(self, url: str) -> Meter:
        """A meter of an answer as it arrives."""
        return Meter(url, self.max_bytes, "max_bytes")

    def decoded(self, url: str) -> Meter:
        """A meter of what an answer becomes."""
        return Meter(url, self.max_decoded_bytes, "max_decoded_bytes")


class Meter:
    """Count the bytes of one answer and refuse more than there may be.

    Args:
        url: names the answer in the error.
        limit: bytes; None is no limit.
        option: names the limit in the error.

    >>> meter = Meter("http://127.0.0.1/x", 1000, "max_bytes")
    >>> meter.add(600)
    >>> meter.add(600)
    Traceback (most recent call last):
    fetchline.http.BodyTooLarge: the answer of http://127.0.0.1/x is larger than max_bytes=1000
    """

    __slots__ = ("_limit", "_option", "_url", "count")

    def __init__(self, url: str, limit: int | None, option: str) -> None:
        self.count = 0
        self._url, self._limit, self._option = url, limit, option

    def add(self, count: int) -> None:
        """Count so many bytes more.

        Raises:
            BodyTooLarge: there are too many.
        """
        self.count += count
        self._check(self.count)

    def expect(self, length: str | None) -> None:
        """Look at a Content-Length before the first byte; whatever is no number says nothing.

        Raises:
            BodyTooLarge: it says that there will be too many.
        """
        if length is not None and length.isdecimal():
            self._check(int(length))

    def _check(self, count: int) -> None:
        if self._limit is not None and count > self._limit:
            raise BodyTooLarge(self._url, self._limit, self._option)


class Decoder:
    """Undo gzip and deflate in pieces, so that a small body that becomes a huge one is refused on the way.

    Args:
        encoding: the answer's Content-Encoding.
        meter: counts what the body becomes.

    Raises:
        ValueError: the encoding is another one: what it becomes cannot be bounded here.

    >>> decoder = Decoder("gzip", Meter("http://127.0.0.1/x", 1000, "max_decoded_bytes"))
    >>> decoder.decode(zlib.compress(b"abc", wbits=31)) + decoder.flush()
    b'abc'
    """

    def __init__(self, encoding: str, meter: Meter) -> None:
        names = [name.strip().lower() for name in encoding.split(",")]
        self._meter = meter
        self._layers = [_Layer(name) for name in reversed(names) if name not in ("", "identity")]

    def decode(self, data: bytes) -> bytes:
        """What these bytes become; part of it may come with the next.

        Raises:
            BodyTooLarge: there is more of it than the meter allows.
            zlib.error: they are not what the encoding says.
        """
        return b"".join(self._through(data, 0))

    def flush(self) -> bytes:
        """Say that the body has ended; there is nothing left to come.

        Raises:
            zlib.error: it ended too early.
        """
        if any(layer.unfinished for layer in self._layers):
            raise zlib.error("the body ended too early")
        return b""

    def _through(self, data: bytes, depth: int) -> Iterator[bytes]:
        if depth == len(self._layers):
            self._meter.add(len(data))
            yield data
            return
        for piece in self._layers[depth].pieces(data):
            yield from self._through(piece, depth + 1)


class _Layer:
    """One compression of a body."""

    def __init__(self, name: str) -> None:
        if name not in ("gzip", "x-gzip", "deflate"):
            raise ValueError(f"a body encoded as {name!r} is not read where max_decoded_bytes is given")
        self._gzip = name != "deflate"
        self._unpacker: Any = None  # zlib's objects have no type of that name

    @property
    def unfinished(self) -> bool:
        return self._unpacker is not None and not self._unpacker.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        more = False
        while data or more:  # zlib may hold output back though it has taken all of the input
            if self._unpacker is None:
                self._unpacker = self._begin(data[0])
            elif self._unpacker.eof:
                if not (self._gzip and data.startswith(b"\x1f")):
                    return  # what follows the end means nothing, except another member of a gzip body
                self._unpacker = self._begin(data[0])
            piece = self._unpacker.decompress(data, _PIECE)
            data = self._unpacker.unconsumed_tail or self._unpacker.unused_data
            more = len(piece) == _PIECE
            yield piece

    def _begin(self, first: int) -> Any:
        if self._gzip:
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        # "deflate" is zlib's format (RFC 9110, 8.4.1.2), whose first byte ends in 8; many send it without.
        return zlib.decompressobj(zlib.MAX_WBITS if first & 15 == 8 else -zlib.MAX_WBITS)


def judge(error: BaseException) -> Verdict | None:
    """Say what this module's errors mean, and a body that is not JSON; None for all others.

    >>> judge(HTTPFailure("GET", "http://127.0.0.1/x", 404)).kind
    'permanent'
    """
    match error:
        case HTTPFailure():
            return by_status(error.status, error.headers)
        case BodyTooLarge():
            return PERMANENT
        case json.JSONDecodeError():
            return UNDECODABLE
    return None


def by_status(status: int, headers: Mapping[str, str]) -> Verdict | None:
    """Say what an error status means; None leaves it to fetchline.

    429, and 503 with Retry-After, are such: fetchline makes everybody wait and charges nobody.

    Args:
        status: of the answer.
        headers: of the answer, found by lower-case name.

    >>> by_status(410, {}).kind, by_status(502, {}).kind, by_status(503, {"retry-after": "1"})
    ('permanent', 'retry', None)
    """
    if status in _WRONG:
        return PERMANENT
    if status >= 500 and not (status == 503 and "retry-after" in headers):
        return UNAVAILABLE
    return None


def overdue(method: str, url: str, total: float) -> AttemptTimeout:
    """Make the error of a request that took longer than ``total`` seconds, its answer's body included.

    >>> overdue("GET", "http://127.0.0.1/x", 2.5)
    AttemptTimeout('GET http://127.0.0.1/x took longer than total=2.5 s')
    """
    return AttemptTimeout(f"{method} {without_password(url)} took longer than total={total:g} s")


def telling(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of an answer's headers that help to understand an error, by lower-case name."""
    return {name.lower(): str(text) for name, text in headers.items() if name.lower() in _TELLING}


def is_credential(header: str) -> bool:
    """Whether a header of that name looks like one that another host must not see.

    >>> [name for name in ("Accept", "Authorization", "Cookie", "X-Api-Key") if is_credential(name)]
    ['Authorization', 'Cookie', 'X-Api-Key']
    """
    return _CREDENTIAL.search(header) is not None


def same_origin(here: str, there: str) -> bool:
    """Whether what ``here`` may see, ``there`` may see too: same scheme, host and port, or http to https.

    >>> same_origin("http://a.example/x", "http://a.example:80/y")
    True
    >>> same_origin("http://a.example/x", "https://a.example/x")
    True
    >>> same_origin("http://127.0.0.1:8000", "http://127.0.0.1:8001")
    False
    """
    one, other = _origin(here), _origin(there)
    upgraded = one[0] == "http" and one[2] == 80 and other == ("https", one[1], 443)
    return one == other or upgraded


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def without_password(url: str) -> str:
    """The address, for people: without user and password, nor what looks like one in its query.

    >>> without_password("http://me:secret@127.0.0.1:80/x?apikey=123&symbol=A")
    'http://127.0.0.1:80/x?apikey=***&symbol=A'
    """
    parts = urlsplit(url)
    query = re.sub("([^&=]*)=[^&]*", lambda m: f"{m[1]}=***" if _SECRET.search(m[1]) else m[0], parts.query)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))
