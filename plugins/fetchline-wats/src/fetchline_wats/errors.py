"""What pywats' errors mean, and the forms of them that leave a process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fetchline.http import PERMANENT, UNAVAILABLE, UNDECODABLE, by_status
from fetchline.interfaces import Verdict

__all__ = ["Answer", "expired", "judge", "portable"]

_NOT_THERE = Verdict("permanent", "missing")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered, on the errors of a session as ``error.response``.

    Attributes:
        status_code: the answer's status.
        headers: those of its headers that tell something, by lower-case name; Retry-After is one.
    """

    status_code: int
    headers: Mapping[str, str] = field(default_factory=dict)


def _loaded(module: str) -> Any:
    # An error of a module cannot exist before the module is imported, so none is imported here.
    return sys.modules.get(module)


def expired(error: BaseException) -> bool:
    """Whether the server does not know the token (any more): status 401."""
    pywats = _loaded("pywats.core.exceptions")
    return pywats is not None and isinstance(error, pywats.AuthenticationError)


def judge(error: BaseException) -> Verdict | None:
    """Say what an error of pywats means; None for what fetchline judges itself.

    429, and 503 with Retry-After, are such: fetchline makes everybody wait.
    """
    pydantic = _loaded("pydantic")
    if pydantic is not None and isinstance(error, pydantic.ValidationError):
        return UNDECODABLE  # of the server's answer: what is sent has been validated where it was made
    if isinstance(error, ValueError) and _raised_here(error):
        return PERMANENT  # an item that is refused before anything is sent
    pywats = _loaded("pywats.core.exceptions")
    if pywats is None:
        return None
    match error:
        case pywats.NotFoundError() | pywats.EmptyResponseError():
            return _NOT_THERE
        case pywats.ValidationError() | pywats.AuthorizationError() | pywats.ConflictError():
            return PERMANENT
        case pywats.ConnectionError() | pywats.TimeoutError():
            return UNAVAILABLE
        case pywats.PyWATSError(response=Answer() as answer):
            return by_status(answer.status_code, answer.headers)
        case pywats.PyWATSError():
            return PERMANENT  # a request that cannot be made, or that was refused by the text of an answer
    return None


def portable(error: BaseException) -> BaseException:
    """Give an error that pickles for one of pywats' that does not; others unchanged."""
    validation, pywats = _loaded("pywats.core.validation"), _loaded("pywats.core.exceptions")
    if validation is None or not isinstance(error, validation.ReportHeaderValidationError):
        return error
    sent: BaseException = pywats.ValidationError(
        error.message,
        operation=error.operation,
        details=error.details,
    )
    for note in getattr(error, "__notes__", ()):
        sent.add_note(note)
    return sent.with_traceback(error.__traceback__)


def _raised_here(error: BaseException) -> bool:
    """Whether it was pywats, or this package, that raised it."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    module = "" if at is None else at.tb_frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in ("pywats", "fetchline_wats")
