"""The session: a login of its own, whose questions are answered in full and in time, or raise."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fetchline.durations import check_seconds
from fetchline.errors import FetchlineError, WrongAnswer
from fetchline_baostock.errors import BaostockError
from fetchline_baostock.routing import Routed, enter, leave, package, using
from fetchline_baostock.wire import HEADER, SPLIT, Wire

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Session"]

_log = logging.getLogger("fetchline.session")
_LOGOUT_S = 5.0
_ECHOED = ("code", "day", "start_date", "end_date")
_CODE = re.compile(r"[a-z]{2}\.\d{6}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Session:
    """A login at baostock with a connection of its own, from ``with`` to its end.

    While it is open, functions of the ``baostock`` package that are called in the same thread work for it, and
    what the server refuses is raised instead of returned. It may be shared by threads: they take turns. A
    connection that broke is opened again, with a new login, for the next question.

    Args:
        user: the account; by default that of the environment variable ``BAOSTOCK_USER``, or anonymous.
        password: its password; ``BAOSTOCK_PASSWORD``.
        api_key: the key of a paying account, which has a server of its own; ``BAOSTOCK_API_KEY``.
        host: the server; ``BAOSTOCK_HOST``, or the package's.
        port: its port; ``BAOSTOCK_PORT``, or the package's.
        timeout: seconds from a question to the last byte of its answer.
        connect_timeout: seconds until there is a connection.

    Attributes:
        logins: how often it has logged in.
        closed: it has ended.
        kept: what the package would keep in its global module.
    """

    def __init__(
        self,
        *,
        user: str | None = None,
        password: str | None = None,
        api_key: str | None = None,
        host: str | None = None,
        port: int | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
    ) -> None:
        ask = os.environ.get
        self._user = user or ask("BAOSTOCK_USER", "anonymous")
        self._password = password or ask("BAOSTOCK_PASSWORD", "123456")
        self._host = host or ask("BAOSTOCK_HOST")
        self._port = port or int(ask("BAOSTOCK_PORT", "0"))
        self._timeout = check_seconds("timeout", timeout)
        self._connect_timeout = check_seconds("connect_timeout", connect_timeout)
        api_key = api_key or ask("BAOSTOCK_API_KEY")
        self.kept: dict[str, Any] = {"apiKey": api_key} if api_key else {}
        self.closed = False
        self.logins = 0
        self._answers = 0
        self._lock = threading.RLock()
        self._wire: Wire | None = None
        self._open = False
        self._before: Routed | None = None

    def __enter__(self) -> Session:
        self._package = package()
        self._log_in()
        self._open = True
        self._before = enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self, self._before)
        with self._lock:
            self._open, self._before = False, None
            wire = self._wire
            try:
                if wire is not None and wire.usable():
                    wire.timeout = min(wire.timeout, _LOGOUT_S)
                    with using(self):
                        self._package.logout()
            except (BaostockError, FetchlineError, OSError) as refused:
                _log.debug("baostock: the logout failed: %s", refused)
            finally:
                self._drop()
                self.closed = True

    # -- questions -----------------------------------------------------------------------------------------

    def query(self, function: str, *args: Any, **options: Any) -> pl.DataFrame:
        """Ask for a whole table: all of its pages, every column a String, null where baostock has nothing.

        Args:
            function: a function of ``baostock``, such as ``query_stock_industry``.
            args, options: what it takes.

        Raises:
            BaostockError: the server or the package refuses it; a date that is none, too.
            AttemptTimeout: an answer took longer than ``timeout``.
            ConnectionError: the connection broke.
            WrongAnswer: it is the answer to something else, or not an answer at all.
        """
        if not function.startswith("query_"):
            raise ValueError(f"a query of baostock's is named query_..., not {function!r}")
        with self._lock, using(self):
            result = self._understood(lambda: getattr(self._package, function)(*args, **options))
            if result is None:  # the package says so in print only
                raise BaostockError("10004010", f"{function} takes no such date: {args} {options}")
            if result.error_code != "0":
                raise BaostockError(result.error_code, result.error_msg)
            rows = self._rows(result)
            _check_codes(result, rows)
            return _frame(result.fields, rows)

    def _rows(self, result: Any) -> list[list[Any]]:
        """The rows of all pages; ``next`` of the package asks for the next one."""
        _check_echo(result)
        rows: list[list[Any]] = list(result.data)
        while result.data and _is_paged(result):
            page = result.cur_page_num
            result.cur_row_num = len(result.data)
            if not self._understood(result.next):
                if result.data and str(len(result.data)) == str(result.per_page_count):
                    raise WrongAnswer(
                        f"a page of {len(result.data)} rows is full, and the next one is not asked for"
                    )
                break
            if str(result.cur_page_num) != str(int(page) + 1):
                self._drop()
                raise WrongAnswer(f"page {result.cur_page_num} came where page {int(page) + 1} was asked for")
            rows += result.data
        return rows

    def _understood(self, ask: Callable[[], Any]) -> Any:
        """What ``ask`` returns; an answer that the package stumbles over is a ``WrongAnswer``."""
        answered = self._answers
        try:
            return ask()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            if isinstance(error, FetchlineError) or self._answers == answered:
                raise
            self._drop()
            raise WrongAnswer(f"baostock's answer cannot be read: {error!r}") from error

    # -- what the package calls ----------------------------------------------------------------------------

    def connect(self, api_key: str) -> None:
        """Open the connection of a login."""
        from baostock.common import contants  # type: ignore[import-untyped]

        paid = api_key.startswith("bs-")
        own = contants.BAOSTOCK_VIP_SERVER_IP if paid else contants.BAOSTOCK_SERVER_IP
        self._wire = self.kept["default_socket"] = Wire(
            self._host or own,
            self._port or contants.BAOSTOCK_SERVER_PORT,
            connect_timeout=self._connect_timeout,
            timeout=self._timeout,
            compressed=frozenset(contants.COMPRESSED_MESSAGE_TYPE_TUPLE),
        )

    def send(self, message: str) -> str:
        """Send a message of the package's, and give the answer."""
        with self._lock:
            if self._open and (self._wire is None or not self._wire.usable()):
                self._log_in()
            if self._wire is None:
                raise ConnectionResetError("there is no connection: the session is not open")
            answer = self._wire.ask(message)
            self._answers += 1
        code, *rest = answer[HEADER:].split(SPLIT)
        if code != "0":
            raise BaostockError(code, rest[0] if rest else "")
        return answer

    def _log_in(self) -> None:
        self._drop()
        opened, self._open = self._open, False
        try:
            with using(self):
                result = self._understood(lambda: self._package.login(self._user, self._password))
            if result.error_code != "0":  # what the package refuses itself
                raise BaostockError(result.error_code, result.error_msg)
        except BaseException:
            self._drop()
            raise
        finally:
            self._open = opened
        self.logins += 1

    def _drop(self) -> None:
        if self._wire is not None:
            self._wire.close()


# -- answers -----------------------------------------------------------------------------------------------


def _is_paged(result: Any) -> bool:
    """Whether the question names a page; where it does not, ``next`` would put one in place of something else."""
    asked = result.msg_body.split(SPLIT)
    return len(asked) > 3 and asked[2].isdecimal() and str(result.cur_page_num).isdecimal()


def _check_echo(result: Any) -> None:
    """Hold what the answer says that it answers against the question."""
    asked = result.msg_body.split(SPLIT)
    for name in _ECHOED:
        answered = getattr(result, name, "")
        if (_CODE.fullmatch(answered) or _DATE.fullmatch(answered)) and answered not in asked:
            raise WrongAnswer(f"the answer is for {name} {answered!r}; asked was {', '.join(asked)}")


def _check_codes(result: Any, rows: list[list[Any]]) -> None:
    """Hold the rows against the code that was asked for, if one was."""
    asked = [part for part in result.msg_body.split(SPLIT) if _CODE.fullmatch(part)]
    if len(asked) != 1 or "code" not in result.fields:
        return
    place = result.fields.index("code")
    others = {row[place] for row in rows if len(row) > place} - set(asked)
    if others:
        raise WrongAnswer(f"the answer for {asked[0]} has rows of {', '.join(sorted(map(str, others))[:3])}")


def _frame(fields: list[str], rows: list[list[Any]]) -> pl.DataFrame:
    import polars as pl

    try:
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields)
        return pl.DataFrame(
            [
                pl.Series(name, [value or None for value in column], dtype=pl.String)
                for name, column in zip(fields, columns, strict=True)
            ]
        )
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise WrongAnswer(f"the answer is no table of {len(fields)} columns of text: {error}") from error
