"""What httpx's errors mean, and the one form of them that leaves a process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fetchline.errors import FetchlineError
from fetchline.interfaces import Verdict

if TYPE_CHECKING:
    import httpx

__all__ = ["HTTPFailure", "judge", "portable"]

_PERMANENT = frozenset({400, 401, 403, 404, 405, 410, 422})
_OF_INTEREST = ("content-type", "date", "retry-after", "server", "www-authenticate", "x-request-id")
_BODY = 500


class HTTPFailure(FetchlineError):
    """An answer with an error status, in a form that pickles.

    Attributes:
        method: the request's method.
        url: the request's address, without user and password.
        status: the answer's status.
        headers: those of the answer's headers that tell something, by lower-case name.
        body: the first 500 characters of the answer's text; empty where it was not read.

    >>> HTTPFailure("GET", "http://127.0.0.1/x", 404, body="no such symbol")
    HTTPFailure('GET http://127.0.0.1/x answered 404: no such symbol')
    """

    def __init__(
        self, method: str, url: str, status: int, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> None:
        first_line = body.strip().partition("\n")[0][:120]
        super().__init__(f"{method} {url} answered {status}{': ' + first_line if first_line else ''}")
        self.method, self.url, self.status, self.body = method, url, status, body
        self.headers = dict(headers or {})

    def __reduce__(self) -> tuple[Any, ...]:
        # The state carries what others put on an exception: notes, attributes.
        return HTTPFailure, (self.method, self.url, self.status, self.headers, self.body), self.__dict__


def judge(error: BaseException) -> Verdict | None:
    """Say what an error of an httpx session means; None for what fetchline judges itself.

    429, and 503 with Retry-After, are such: fetchline makes everybody wait.
    """
    import httpx

    match error:
        case httpx.HTTPStatusError():
            return _by_status(error.response.status_code, error.response.headers)
        case HTTPFailure():
            return _by_status(error.status, error.headers)
        case httpx.DecodingError() | json.JSONDecodeError():
            return Verdict("retry", "undecodable")
        case (
            httpx.UnsupportedProtocol()
            | httpx.LocalProtocolError()
            | httpx.InvalidURL()
            | httpx.TooManyRedirects()
        ):
            return Verdict("permanent", "permanent")
        case httpx.TransportError():
            return Verdict("retry", "unavailable")
    return None


def _by_status(status: int, headers: Mapping[str, str]) -> Verdict | None:
    if status in _PERMANENT:
        return Verdict("permanent", "permanent")
    if status >= 500 and not (status == 503 and "retry-after" in headers):
        return Verdict("retry", "unavailable")
    return None


def portable(error: BaseException) -> BaseException:
    """Give an ``HTTPFailure`` for an ``httpx.HTTPStatusError``, which does not unpickle; others unchanged."""
    import httpx

    if not isinstance(error, httpx.HTTPStatusError):
        return error
    response, request = error.response, error.request
    headers = {name: response.headers[name] for name in _OF_INTEREST if name in response.headers}
    url = str(request.url.copy_with(username=None, password=None))
    failure = HTTPFailure(request.method, url, response.status_code, headers, _text(response))
    for note in getattr(error, "__notes__", ()):
        failure.add_note(note)
    return failure.with_traceback(error.__traceback__)


def _text(response: httpx.Response) -> str:
    import httpx

    try:
        return response.text[:_BODY]
    except httpx.ResponseNotRead:  # the body was being streamed
        return ""
