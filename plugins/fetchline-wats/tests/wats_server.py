"""A server on this machine with as much of WATS' interface as the tests need, that counts what it is asked."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["TOKEN", "Asked", "WatsServer"]

TOKEN = "dXNlcjpwYXNzd29yZA=="
_LONGEST_QUERY = 2048  # as IIS has it


@dataclass(frozen=True)
class Asked:
    """A request: method, path, parameters, body, and when it came by the monotonic clock."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    at: float


@dataclass
class Fault:
    """What happens to the next requests whose path begins so, instead of what they ask for.

    With ``cut`` it is done, and the connection ends without an answer; with ``hang`` there is none until the end.
    """

    path: str
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    cut: bool = False
    hang: bool = False
    times: int = 1


class WatsServer:
    """The server while a ``with`` block runs.

    Args:
        limit: so many requests in so many seconds, in a sliding window; what is over gets 429.

    Attributes:
        token: whose requests are answered; others get 401.
        asked: every request, in the order of arrival.
        refused: how many got 429.
        connections: how many are open now.
        before: called with their number before each request is answered.
    """

    def __init__(self, limit: tuple[int, float] | None = None) -> None:
        self.limit = limit
        self.token = TOKEN
        self.asked: list[Asked] = []
        self.refused = 0
        self.connections = 0
        self.products: dict[str, dict[str, Any]] = {}
        self.assets: dict[str, dict[str, Any]] = {}
        self.units: dict[tuple[str, str], dict[str, Any]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.yields: dict[str, list[dict[str, Any]]] = {}
        self.names_what_it_saved = True
        self.before: Callable[[int], None] = lambda number: None
        self._over = threading.Event()
        self._faults: list[Fault] = []
        self._recent: deque[float] = deque()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        server = self

        class Handler(_Handler):
            wats = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> WatsServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._http.shutdown()
        self._http.server_close()

    def fail(self, path: str, **what: Any) -> None:
        """Answer the next requests to that path otherwise; see ``Fault``."""
        self._faults.append(Fault(path, **what))

    def count(self, path: str) -> int:
        """How many requests there were to paths that begin so."""
        return sum(one.path.startswith(path) for one in self.asked)

    def wait_until_nobody_is_connected(self, timeout: float = 5.0) -> bool:
        with self._idle:
            return self._idle.wait_for(lambda: self.connections == 0, timeout)

    # -- what a connection's thread asks -----------------------------------------------------------------------

    def connected(self, change: int) -> None:
        with self._idle:
            self.connections += change
            self._idle.notify_all()

    def answer(self, asked: Asked, authorization: str | None) -> tuple[int, Mapping[str, str], Any] | None:
        """Status, headers and body; None cuts the connection."""
        with self._lock:
            self.asked.append(asked)
            self.before(len(self.asked))
            if self._is_too_much(asked.at):
                self.refused += 1
                return 429, {"Retry-After": "1"}, {"message": "too many requests"}
            if authorization != f"Basic {self.token}":
                return 401, {}, {"message": "Authorization has been denied for this request."}
            fault = self._fault(asked.path)
            if fault is None or fault.cut:
                status, body = self._route(asked)
                return (status, {}, body) if fault is None else None
        if fault.hang:
            self._over.wait()
            return None
        return fault.status, fault.headers, fault.body

    def _is_too_much(self, now: float) -> bool:
        if self.limit is None:
            return False
        most, window = self.limit
        while self._recent and self._recent[0] <= now - window:
            self._recent.popleft()
        if len(self._recent) >= most:
            return True
        self._recent.append(now)
        return False

    def _fault(self, path: str) -> Fault | None:
        for fault in self._faults:
            if path.startswith(fault.path) and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _route(self, asked: Asked) -> tuple[int, Any]:
        for method, pattern, act in _ROUTES:
            match = re.fullmatch(pattern, asked.path)
            if match and asked.method == method:
                return act(self, asked, *map(unquote, match.groups()))
        return 404, {"message": f"no route for {asked.method} {asked.path}"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wats: WatsServer

    def setup(self) -> None:
        super().setup()
        self.wats.connected(1)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.wats.connected(-1)

    def log_message(self, *about: object) -> None: ...

    def _serve(self) -> None:
        at = time.monotonic()
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        asked = Asked(self.command, parts.path, query, json.loads(raw) if raw else None, at)
        if len(parts.query) > _LONGEST_QUERY:
            told: Any = (404, {}, {"message": "the query string is too long"})
        else:
            told = self.wats.answer(asked, self.headers.get("Authorization"))
        if told is None:
            self.close_connection = True
            return
        status, headers, body = told
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status != 204:
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815  # what http.server calls


# -- filters ---------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\s*(\(|\)|'(?:[^']|'')*'|[^\s()']+)")


def wanted(rows: Iterator[dict[str, Any]], query: Mapping[str, str], page: int) -> list[dict[str, Any]]:
    """The rows that ``$filter`` lets through, ``$top`` of them, at most a page."""
    passes = _parse(query["$filter"]) if "$filter" in query else lambda row: True
    return [row for row in rows if passes(row)][: int(query.get("$top", page))]


def _parse(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """``or``, ``and``, parentheses and ``eq``; text compares whatever its case, ids stand without quotes."""
    tokens = deque(_TOKEN.findall(text))

    def alternatives() -> Callable[[Mapping[str, Any]], bool]:
        each = [conditions()]
        while tokens and tokens[0] == "or":
            tokens.popleft()
            each.append(conditions())
        return lambda row: any(one(row) for one in each)

    def conditions() -> Callable[[Mapping[str, Any]], bool]:
        each = [condition()]
        while tokens and tokens[0] == "and":
            tokens.popleft()
            each.append(condition())
        return lambda row: all(one(row) for one in each)

    def condition() -> Callable[[Mapping[str, Any]], bool]:
        first = tokens.popleft()
        if first == "(":
            inner = alternatives()
            assert tokens.popleft() == ")"
            return inner
        assert tokens.popleft() == "eq"
        literal = tokens.popleft()
        assert literal.startswith("'") == (first != "uuid"), f"{first} eq {literal}"
        value = literal.strip("'").replace("''", "'").casefold()
        return lambda row: str(row.get(first)).casefold() == value

    found = alternatives()
    assert not tokens, tokens
    return found


# -- routes ----------------------------------------------------------------------------------------------------


def _one(table: Mapping[Any, Any], key: Any) -> tuple[int, Any]:
    return (200, table[key]) if key in table else (404, {"message": "not found"})


def _get_product(wats: WatsServer, asked: Asked, part: str) -> tuple[int, Any]:
    return _one(wats.products, part.casefold())


def _query_products(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    return 200, wanted(iter(wats.products.values()), asked.query, 1000)


def _save_products(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    if any(not one.get("name") for one in asked.body):
        return 400, {"message": "a product needs a name"}
    wats.products.update({one["partNumber"].casefold(): one for one in asked.body})
    return (200, asked.body) if wats.names_what_it_saved else (200, None)


def _delete_product(wats: WatsServer, asked: Asked, part: str) -> tuple[int, Any]:
    gone = wats.products.pop(part.casefold(), None)
    return (204, None) if gone else (404, None)


def _get_asset(wats: WatsServer, asked: Asked, serial: str) -> tuple[int, Any]:
    found = wats.assets.get(serial.casefold())
    return 200, found  # nothing at all where there is none


def _query_assets(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    return 200, wanted(iter(wats.assets.values()), asked.query, 1000)


def _unit_place(serial: str, part: str) -> tuple[str, str]:
    return serial.casefold(), part.casefold()


def _get_unit(wats: WatsServer, asked: Asked, serial: str, part: str) -> tuple[int, Any]:
    return _one(wats.units, _unit_place(serial, part))


def _query_units(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    return 200, wanted(iter(wats.units.values()), asked.query, 100)


def _create_unit(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    place = _unit_place(asked.body["serialNumber"], asked.body["partNumber"])
    if place in wats.units:
        return 409, {"message": "the unit is there already"}
    wats.units[place] = asked.body
    return 200, None


def _delete_unit(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    gone = wats.units.pop(_unit_place(asked.query["serialNumber"], asked.query["partNumber"]), None)
    return (200, None) if gone else (404, None)


def _save_units(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    wrong = sum(not one.get("revision") for one in asked.body)
    if wrong:
        return 200, {"insertCount": 0, "updateCount": 0, "errorCount": wrong}
    wats.units.update({_unit_place(one["serialNumber"], one["partNumber"]): one for one in asked.body})
    return 200, {"insertCount": len(asked.body), "updateCount": 0, "errorCount": 0}


def _save_batches(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    wats.batches.update({one["batchNumber"]: one for one in asked.body})
    return 200, asked.body


def _get_report(wats: WatsServer, asked: Asked, report: str) -> tuple[int, Any]:
    return _one(wats.reports, report.lower())


def _submit_report(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    wats.reports[asked.body["id"].lower()] = asked.body
    return 200, [{"ID": asked.body["id"]}]


def _query_headers(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    kind = {"U": "T", "R": "R"}[asked.query["reportType"]]
    rows = [
        {
            "uuid": at,
            "serialNumber": one["sn"],
            "partNumber": one["pn"],
            "revision": one["rev"],
            "result": one["result"],
        }
        for at, one in wats.reports.items()
        if one["type"] == kind
    ]
    return 200, wanted(iter(rows), asked.query, 100)


def _yield(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    return 200, wats.yields.get(asked.body["partNumber"], [])


def _version(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    return 200, "26.1.0"


def _processes(wats: WatsServer, asked: Asked) -> tuple[int, Any]:
    return 200, [{"code": 10, "name": "ICT"}, {"code": 500, "name": "Repair"}]


_ROUTES: list[tuple[str, str, Callable[..., tuple[int, Any]]]] = [
    ("GET", "/api/App/Version", _version),
    ("GET", "/api/App/Processes", _processes),
    ("POST", "/api/App/DynamicYield", _yield),
    ("GET", "/api/Product/Query", _query_products),
    ("PUT", "/api/Product/Products", _save_products),
    ("GET", "/api/Product/([^/]+)", _get_product),
    ("DELETE", "/api/Product/([^/]+)", _delete_product),
    ("GET", "/api/Asset", _query_assets),
    ("GET", "/api/Asset/([^/]+)", _get_asset),
    ("GET", "/api/Production/Unit/Query", _query_units),
    ("GET", "/api/Production/Unit/([^/]+)/([^/]+)", _get_unit),
    ("POST", "/api/Production/Unit", _create_unit),
    ("DELETE", "/api/Production/Unit", _delete_unit),
    ("PUT", "/api/Production/Units", _save_units),
    ("PUT", "/api/Production/Batches", _save_batches),
    ("GET", "/api/Report/Wsjf/([^/]+)", _get_report),
    ("POST", "/api/Report/WSJF", _submit_report),
    ("GET", "/api/Report/Query/Header", _query_headers),
]
