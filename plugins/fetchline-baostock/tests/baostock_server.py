"""A server on this machine that speaks baostock's protocol, and misbehaves as it is told.

It checks what it is asked, as the real one does: the header, the length, the CRC, the login. Its numbers follow from
code and day, so that every row can be told from every other.
"""

from __future__ import annotations

import functools
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

SPLIT = "\1"
END = b"<![CDATA[]]>\n"
COMPRESSED = ("96", "99", "9B", "9D")
PAGE = 2000

NO_LOGIN = ("10001001", "用户未登陆")
BANNED = ("10001011", "黑名单用户")
LOST = ("10002007", "网络接收错误。")
BAD_PASSWORD = ("10001002", "用户名或密码错误")
BAD_PARAMETER = ("10004006", "参数错误")
BAD_INDICATOR = ("10004012", "无效的指标")
SYSTEM = ("10005001", "系统级别错误")


def volume(code: str, day: date, extra: int = 0) -> int:
    """The volume of a code on a day; no two have the same."""
    return int(code[3:]) * 10**7 + day.toordinal() * 10 + extra


@dataclass(frozen=True)
class Question:
    """What arrived: ``nth`` counts all questions from 1, ``on_login`` those since the connection's login."""

    kind: str
    parts: tuple[str, ...]
    nth: int
    on_login: int

    @property
    def method(self) -> str:
        return self.parts[0]

    @property
    def page(self) -> int:
        return int(self.parts[2])


@dataclass(frozen=True)
class Reply:
    """What goes out: ``data`` after ``delay`` seconds; then the connection ends, or nothing comes any more."""

    data: bytes
    delay: float = 0.0
    close: bool = False
    hold: bool = False

    def cut(self, at: int) -> Reply:
        """The first ``at`` bytes, from the end if negative, and no more."""
        return replace(self, data=self.data[:at], close=True)


Twist = Callable[[Question, Reply], Reply]


class BaostockServer:
    """Run while a ``with`` block does.

    Args:
        days: a code has this many trading days, from ``first``.
        codes: those that ``query_all_stock`` and the daily table list.

    Attributes:
        twist: what becomes of each right answer.
        asked: the questions, in the order of their arrival.
        connections: opened so far.
    """

    def __init__(self, *, first: date = date(2024, 1, 1), days: int = 250, codes: int = 3) -> None:
        self.twist: Twist = lambda question, reply: reply
        self.asked: list[Question] = []
        self.connections = 0
        self.first, self.days = first, days
        self.codes = [f"sh.{600000 + n}" for n in range(codes)]
        self._bars_of = functools.cache(self.bars)  # a page after another would make them all again
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._age = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host, self.port = self._listener.getsockname()

    def __enter__(self) -> BaostockServer:
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            opened = list(self._open)
        for connection in opened:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._accepting.join(5)
        for thread in self._threads:
            thread.join(5)

    @property
    def options(self) -> dict[str, Any]:
        """For ``fl.use("baostock", ...)``."""
        return {"host": self.host, "port": self.port}

    def count(self, method: str) -> int:
        return sum(question.method == method for question in list(self.asked))

    def expire(self) -> None:
        """End all logins; the connections stay."""
        with self._lock:
            self._age += 1

    # -- connections ---------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self.connections += 1
                self._open.add(connection)
                self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        login: int | None = None  # the age at which it logged in
        on_login = 0
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            for line in lines:
                with self._lock:
                    question = _read(line, len(self.asked) + 1, on_login + 1)
                    self.asked.append(question)
                    on_login += 1
                    age = self._age
                if question.method == "login":
                    login, on_login = age, 0
                elif login != age:
                    if not self._send(connection, Reply(refusal(question, *NO_LOGIN))):
                        break
                    continue
                if not self._send(connection, self.twist(question, Reply(self._answer(question)))):
                    break
        with self._lock:
            self._open.discard(connection)

    def _send(self, connection: socket.socket, reply: Reply) -> bool:
        """Whether the connection goes on."""
        if reply.delay:
            self._stopped.wait(reply.delay)
        connection.sendall(reply.data)
        if reply.hold:
            self._stopped.wait()
        return not (reply.close or reply.hold)

    # -- answers -------------------------------------------------------------------------------------------

    def _answer(self, question: Question) -> bytes:
        method, user, *rest = question.parts
        match method:
            case "login" | "logout":
                return answer(question, method, user)
            case "query_history_k_data_plus":
                return self._bars(question, rest)
            case "query_daily_history_k_AStock":
                day = date.fromisoformat(rest[0])
                fields = (
                    "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg"
                )
                fields += ",peTTM,pbMRQ,psTTM,pcfNcfTTM,isST"
                codes = self.codes if self._is_trading(day) else []
                rows = [[_cell(name, code, day, 0) for name in fields.split(",")] for code in codes]
                return answer(question, method, user, _table(rows), fields)
            case "query_all_stock":
                day = date.fromisoformat(rest[2])
                rows = [[code, "1", f"名{code}"] for code in self.codes if self._is_trading(day)]
                return self._paged(question, rows, rest[2], fields="code,tradeStatus,code_name")
            case "query_stock_basic":
                known = rest[2] in (*self.codes, "sz.000001")
                rows = [[rest[2], f"名{rest[2]}", "1999-11-10", "", "1", "1"]] if known else []
                names = "code, code_name, ipoDate, outDate, type, status"
                return self._paged(question, rows, rest[2], rest[3], fields=names)
            case "query_trade_dates":
                days = _days(date.fromisoformat(rest[2]), date.fromisoformat(rest[3]))
                rows = [[day.isoformat(), str(int(day.weekday() < 5))] for day in days]
                return self._paged(question, rows, rest[2], rest[3], fields="calendar_date,is_trading_day")
            case "query_dividend_data":
                rows = [[rest[2], rest[3], "0.321"]]
                return self._paged(
                    question, rows, *rest[2:], fields="code,dividPlanAnnounceDate,dividCashPsBeforeTax"
                )
            case _:
                return self._quarter(question, rest)

    def _bars(self, question: Question, rest: list[str]) -> bytes:
        _, _, code, fields, start, end, frequency, adjust = rest
        rows = self._bars_of(code, fields, start, end, frequency)
        return self._paged(question, rows, code, fields=fields, after=(start, end, frequency, adjust))

    def bars(self, code: str, fields: str, start: str, end: str, frequency: str) -> list[list[str]]:
        """The rows of a code; there are four bars of minutes a day."""
        return [
            [_cell(name, code, day, at) for name in fields.split(",")]
            for day in _days(date.fromisoformat(start), date.fromisoformat(end))
            if self._is_trading(day)
            for at in range(4 if frequency.isdecimal() else 1)
        ]

    def _quarter(self, question: Question, rest: list[str]) -> bytes:
        _, _, code, year, quarter = rest
        ends = {"1": "03-31", "2": "06-30", "3": "09-30", "4": "12-31"}
        names = QUARTERLY[question.method].split(",")
        row = [code, f"{int(year) + 1}-04-01", f"{year}-{ends[quarter]}"]
        row += [f"{n}.5" if n else "" for n, _ in enumerate(names)]
        rows = [row] if int(year) < 2030 else []
        return self._paged(
            question, rows, code, year, quarter, fields=f"code,pubDate,statDate,{','.join(names)}"
        )

    def _paged(
        self,
        question: Question,
        rows: list[list[str]],
        *before: str,
        fields: str,
        after: tuple[str, ...] = (),
    ) -> bytes:
        method, user, page, size, *_ = question.parts
        first = (int(page) - 1) * int(size)
        table = _table(rows[first : first + int(size)])
        return answer(question, method, user, page, size, table, *before, fields, *after)

    def _is_trading(self, day: date) -> bool:
        return 0 <= (day - self.first).days < self.days


QUARTERLY = {
    "query_profit_data": "roeAvg,npMargin,gpMargin,netProfit,epsTTM,MBRevenue,totalShare,liqaShare",
    "query_operation_data": "NRTurnRatio,NRTurnDays,INVTurnRatio,INVTurnDays,CATurnRatio,AssetTurnRatio",
    "query_growth_data": "YOYEquity,YOYAsset,YOYNI,YOYEPSBasic,YOYPNI",
    "query_balance_data": "currentRatio,quickRatio,cashRatio,YOYLiability,liabilityToAsset,assetToEquity",
    "query_cash_flow_data": "CAToAsset,NCAToAsset,tangibleAssetToAsset,ebitToInterest,CFOToOR,CFOToNP,CFOToGr",
    "query_dupont_data": "dupontROE,dupontAssetStoEquity,dupontAssetTurn,dupontPnitoni,dupontNitogr,"
    "dupontTaxBurden,dupontIntburden,dupontEbittogr",
}


def answer(question: Question, *parts: str) -> bytes:
    """A good answer's bytes."""
    return _packed(_kind_of_answer(question.kind), SPLIT.join(("0", "success", *parts)))


def refusal(question: Question, code: str, message: str) -> bytes:
    """An error's bytes."""
    return _packed(_kind_of_answer(question.kind), SPLIT.join((code, message)))


def instead(question: Question, old: str, new: str, reply: Reply) -> Reply:
    """The same answer with something else in it, well-formed."""
    kind = _kind_of_answer(question.kind)
    if kind in COMPRESSED:
        body = zlib.decompress(reply.data[21 : -len(END)]).decode()
        return replace(reply, data=_packed(kind, body.removesuffix("\n").replace(old, new)))
    body = reply.data[21:].decode().rpartition(SPLIT)[0]
    return replace(reply, data=_packed(kind, body.replace(old, new)))


def _packed(kind: str, body: str) -> bytes:
    if kind in COMPRESSED:
        packed = zlib.compress(f"{body}\n".encode())
        return _header(kind, len(packed)) + packed + END
    head = _header(kind, len(body))
    return head + body.encode() + f"{SPLIT}{zlib.crc32(head + body.encode())}".encode() + END


def _header(kind: str, length: int) -> bytes:
    return SPLIT.join(("00.9.40", kind, f"{length:010}")).encode()


def _kind_of_answer(kind: str) -> str:
    return {"98": "99", "9A": "9B", "9C": "9D"}.get(kind) or f"{int(kind) + 1:02}"


def _read(line: bytes, nth: int, on_login: int) -> Question:
    text, _, crc = line.decode().rstrip("\n").rpartition(SPLIT)
    assert zlib.crc32(text.encode()) == int(crc), "the CRC of a question is wrong"
    assert int(text[11:21]) == len(text[21:]), "the length of a question is wrong"
    return Question(text[8:10], tuple(text[21:].split(SPLIT)), nth, on_login)


def _days(start: date, end: date) -> Iterator[date]:
    return (start + timedelta(days=n) for n in range((end - start).days + 1))


def _table(rows: list[list[str]]) -> str:
    return json.dumps({"record": rows}) if rows else ""


def _cell(name: str, code: str, day: date, at: int) -> str:
    match name:
        case "date":
            return day.isoformat()
        case "time":
            return f"{day:%Y%m%d}{10 + at}0000000"
        case "code":
            return code
        case "volume":
            return str(volume(code, day, at))
        case "adjustflag":
            return "3"
        case "tradestatus":
            return "1"
        case "isST":
            return "0"
        case "peTTM":
            return ""
    return f"{int(code[3:]) / 1000:.4f}"
