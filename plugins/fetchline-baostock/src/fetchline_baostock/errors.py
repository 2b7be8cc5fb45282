"""What baostock's error codes mean."""

from __future__ import annotations

from fetchline.errors import SessionFailed
from fetchline.interfaces import Verdict

__all__ = ["BaostockError", "expired", "judge", "passes"]


class BaostockError(Exception):
    """What baostock refused, its server or the package itself.

    Attributes:
        error_code: baostock's code for it, eight digits.
        error_msg: baostock's text, Chinese as a rule.

    >>> BaostockError("10004010", "no date: 'tomorrow'")
    BaostockError('10004010', "no date: 'tomorrow'")
    >>> print(_)
    no date: 'tomorrow' (10004010)
    """

    def __init__(self, error_code: str, error_msg: str) -> None:
        super().__init__(error_code, error_msg)
        self.error_code = error_code
        self.error_msg = error_msg

    def __str__(self) -> str:
        return f"{self.error_msg} ({self.error_code})"


_EXPIRED = frozenset(
    {
        "10001001",  # not logged in
        "10002007",  # nothing could be received
    }
)

_NO_LOGIN = Verdict("stop", "session")
_PERMANENT = Verdict("permanent", "permanent")
_UNAVAILABLE = Verdict("retry", "unavailable")
_UNDECODABLE = Verdict("retry", "undecodable")

_VERDICTS = {
    # Every further login with the same account would be refused too, and may lock it.
    "10001002": _NO_LOGIN,  # user or password
    "10001004": _NO_LOGIN,  # the client is too old
    "10001007": _NO_LOGIN,  # the account is not activated
    "10001008": _NO_LOGIN,  # no user
    "10001009": _NO_LOGIN,  # no password
    "10001012": _NO_LOGIN,  # an API key that is none
    "10001011": Verdict("stop", "banned"),
    "10001003": _UNAVAILABLE,  # the server could not look the user up
    "10001005": Verdict("throttled", "throttled", delay=2.0),  # too many logins at once
    "10001006": _PERMANENT,  # the account may not have this
    **{f"100020{number:02}": _UNAVAILABLE for number in range(1, 9)},  # the network
    "10004001": _UNDECODABLE,
    "10004002": _UNDECODABLE,
    **{f"100040{number:02}": _PERMANENT for number in range(5, 19)},  # parameters: dates, codes, indicators
    "10005001": _UNAVAILABLE,  # the server's own trouble
}


def expired(error: BaseException) -> bool:
    """Whether the error says that the login is over.

    >>> expired(BaostockError("10001001", "用户未登陆")), expired(ConnectionResetError())
    (True, False)
    """
    return isinstance(error, BaostockError) and error.error_code in _EXPIRED


def judge(error: BaseException) -> Verdict | None:
    """Say what an error of a baostock session means; None for what fetchline judges itself.

    A login that was refused is a ``SessionFailed``, and means what its cause does where that is final.

    >>> judge(BaostockError("10001011", "黑名单用户")).code
    'banned'
    """
    at_login = isinstance(error, SessionFailed)
    cause = error.__cause__ if at_login else error
    if not isinstance(cause, BaostockError):
        return None
    verdict = _VERDICTS.get(cause.error_code)
    return None if at_login and verdict is not None and verdict.kind == "retry" else verdict


def passes(error: BaseException) -> bool:
    """Whether a login that failed so is worth another try at once.

    >>> passes(BaostockError("10001002", "用户名或密码错误")), passes(ConnectionResetError())
    (False, True)
    """
    verdict = judge(error)
    return verdict is None or verdict.kind == "retry"
