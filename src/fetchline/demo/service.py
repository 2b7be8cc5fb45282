"""The web service of the demonstration: real prices, with the manners of a real one.

It is slow, limited, now and then unavailable; each is decided by the path, so that two runs meet the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from fetchline.demo.prices import Series

__all__ = ["Manners", "Service", "TokenBucket"]


@dataclass(frozen=True, slots=True)
class Manners:
    """How the service treats its clients.

    Attributes:
        latency: the shortest and the longest answer in seconds; a path's own is always the same.
        failures: the share of paths whose first request is answered by 503.
        rate: requests a second that are answered; the others get 429.
        burst: requests that are answered at once after a quiet time.
    """

    latency: tuple[float, float] = (0.020, 0.050)
    failures: float = 0.05
    rate: float = 200.0
    burst: int = 200


class TokenBucket:
    """A rate limit: ``burst`` at once, then ``rate`` a second. Times are passed in; one user at a time."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._then = -math.inf

    def take(self, now: float) -> float:
        """Take a token and answer 0, or answer the seconds until there is one.

        >>> bucket = TokenBucket(rate=2, burst=1)
        >>> bucket.take(now=0.0), bucket.take(now=0.0), bucket.take(now=0.5)
        (0.0, 0.5, 0.0)
        """
        self._tokens = min(float(self.burst), self._tokens + (now - self._then) * self.rate)
        self._then = now
        if self._tokens < 1:
            return (1 - self._tokens) / self.rate
        self._tokens -= 1
        return 0.0


class Service(ThreadingHTTPServer):
    """Answer on a loopback port, a thread for each connection."""

    request_queue_size = 128  # every worker connects in the same instant
    daemon_threads = True

    def __init__(self, port: int, manners: Manners, series: dict[str, Series]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.manners = manners
        self.series = series
        self._lock = threading.Lock()
        self._bucket = TokenBucket(manners.rate, manners.burst)
        self._failed: set[str] = set()
        self._answers: Counter[int] = Counter()

    def seconds_to_wait(self) -> float:
        with self._lock:
            return self._bucket.take(time.monotonic())

    def latency(self, path: str) -> float:
        shortest, longest = self.manners.latency
        return shortest + (longest - shortest) * _share("latency", path)

    def fails(self, path: str) -> bool:
        if _share("failure", path) >= self.manners.failures:
            return False
        with self._lock:
            first = path not in self._failed
            self._failed.add(path)
            return first

    def count(self, status: int) -> None:
        with self._lock:
            self._answers[status] += 1

    def stats(self) -> bytes:
        with self._lock:
            by_status = {str(status): n for status, n in sorted(self._answers.items())}
        return json.dumps({"requests": sum(by_status.values()), "by_status": by_status}).encode()


def _share(purpose: str, path: str) -> float:
    """A number in [0, 1) that is the same for a path in every process, which ``hash`` is not."""
    return int.from_bytes(hashlib.blake2b(f"{purpose} {path}".encode(), digest_size=4).digest()) / 2**32


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet
    server: Service

    def do_GET(self) -> None:
        if self.path == "/stats":
            self._send(200, self.server.stats(), "application/json")
            return
        wait = self.server.seconds_to_wait()
        time.sleep(self.server.latency(self.path))
        if wait:
            status, body = 429, b"too many requests\n"
        elif self.server.fails(self.path):
            status, body = 503, b"try again\n"
        else:
            status, body = self._daily()
        self.server.count(status)
        self._send(status, body, "text/csv" if status == 200 else "text/plain", wait)

    def _daily(self) -> tuple[int, bytes]:
        url = urlsplit(self.path)
        wanted = re.fullmatch(r"/daily/([^/]+)\.csv", unquote(url.path))
        if wanted is None:
            return 404, b"there is /daily/{ticker}.csv?start=...&end=... and /stats\n"
        series = self.server.series.get(wanted[1])
        if series is None:
            return 404, f"no ticker is named {wanted[1]}\n".encode()
        try:
            span = {name: date.fromisoformat(given[-1]) for name, given in parse_qs(url.query).items()}
            return 200, series.csv(**span)
        except (TypeError, ValueError):
            return 400, b"start and end are dates such as 2012-01-31, and nothing else can be asked for\n"

    def _send(self, status: int, body: bytes, kind: str, wait: float = 0.0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if wait:
            self.send_header("Retry-After", str(max(1, math.ceil(wait))))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: standard error belongs to the program and its bar."""
