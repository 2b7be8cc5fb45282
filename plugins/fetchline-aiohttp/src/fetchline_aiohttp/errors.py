"""What aiohttp's errors mean, and the forms of them that leave a process."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from fetchline import http
from fetchline.http import PERMANENT, UNAVAILABLE, UNDECODABLE, HTTPFailure
from fetchline.interfaces import Verdict

if TYPE_CHECKING:
    import aiohttp

__all__ = ["judge", "portable"]


def judge(error: BaseException) -> Verdict | None:
    """Say what an error of an aiohttp session means; None for what fetchline judges itself.

    429, and 503 with Retry-After, are such: fetchline makes everybody wait.
    """
    import aiohttp

    from fetchline_aiohttp.replies import NotFollowed, Undecodable

    match error:
        case aiohttp.ContentTypeError() | Undecodable():
            return UNDECODABLE
        case aiohttp.TooManyRedirects() | NotFollowed() | aiohttp.InvalidURL():
            return PERMANENT
        case aiohttp.ClientResponseError():
            return http.by_status(error.status, error.headers or {})  # found whatever their case
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError():
            return UNAVAILABLE
    if type(error).__name__ == "NonHttpUrlClientError":  # aiohttp 3.9 has none
        return PERMANENT
    return http.judge(error)


def portable(error: BaseException) -> BaseException:
    """Give an error that pickles for one of aiohttp's that does not; others unchanged.

    An error status becomes an ``HTTPFailure``.
    """
    import aiohttp

    from fetchline_aiohttp.replies import NotFollowed, Undecodable

    match error:
        case aiohttp.ContentTypeError():
            sent: Exception = Undecodable(f"{_address(error)}: {error.message}")
        case aiohttp.TooManyRedirects():
            sent = NotFollowed(f"{_address(error)} redirects without end")
        case aiohttp.ClientResponseError():
            asked, headers = error.request_info, dict(error.headers or {})
            text = getattr(error, "body", "")
            sent = HTTPFailure(asked.method, str(asked.real_url), error.status, headers, text)
        case aiohttp.ClientConnectorError() if not _pickles(error):  # it holds what TLS is set up with
            sent = aiohttp.ClientConnectionError(str(error))
        case _:
            return error
    for note in getattr(error, "__notes__", ()):
        sent.add_note(note)
    return sent.with_traceback(error.__traceback__)


def _address(error: aiohttp.ClientResponseError) -> str:
    return http.without_password(str(error.request_info.real_url))


def _pickles(error: BaseException) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
