"""What httpx's errors mean, and the one form of them that leaves a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fetchline import http
from fetchline.http import HTTPFailure
from fetchline.interfaces import Verdict

if TYPE_CHECKING:
    import httpx

__all__ = ["judge", "portable"]


def judge(error: BaseException) -> Verdict | None:
    """Say what an error of an httpx session means; None for what fetchline judges itself.

    429, and 503 with Retry-After, are such: fetchline makes everybody wait.
    """
    import httpx

    match error:
        case httpx.HTTPStatusError():
            return http.by_status(error.response.status_code, error.response.headers)
        case httpx.DecodingError():
            return http.UNDECODABLE
        case (
            httpx.UnsupportedProtocol()
            | httpx.LocalProtocolError()
            | httpx.InvalidURL()
            | httpx.TooManyRedirects()
        ):
            return http.PERMANENT
        case httpx.TransportError():
            return http.UNAVAILABLE
    return http.judge(error)


def portable(error: BaseException) -> BaseException:
    """Give an ``HTTPFailure`` for an ``httpx.HTTPStatusError``, which does not unpickle; others unchanged."""
    import httpx

    if not isinstance(error, httpx.HTTPStatusError):
        return error
    response, request = error.response, error.request
    failure = HTTPFailure(
        request.method, str(request.url), response.status_code, response.headers, _text(response)
    )
    for note in getattr(error, "__notes__", ()):
        failure.add_note(note)
    return failure.with_traceback(error.__traceback__)


def _text(response: httpx.Response) -> str:
    import httpx

    try:
        return response.text
    except httpx.ResponseNotRead:  # the body was being streamed
        return ""
