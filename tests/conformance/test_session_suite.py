"""Sessions as people write them keep to what is wanted of one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fetchline as fl
from fetchline.demo.session import HttpSession
from fetchline.testing import FakeSession, Log, SessionSuite


class Expired(Exception):
    pass


class Vendor:
    """Somebody's client: logs in at a place that several processes may look at."""

    def __init__(self, server: Log) -> None:
        self.server = server
        self.token: str | None = None

    def __enter__(self) -> Vendor:
        self.server.note("login")
        self.token = "valid"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.note("logout")
        self.token = None

    async def __aenter__(self) -> Vendor:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def get(self) -> str:
        if self.token != "valid":
            raise Expired("who are you?")
        return "pong"


def judge(error: BaseException) -> fl.Verdict | None:
    return fl.Verdict("throttled", "throttled", delay=1) if "quota" in repr(error.args) else None


class Told(SessionSuite):
    server: Log

    def check(self, session: Any) -> None:
        session.get()

    def expire(self, session: Any) -> None:
        session.token = "old"

    def logins(self) -> int:
        return self.server.count("login")

    def logouts(self) -> int:
        return self.server.count("logout")

    def vendor(self, folder: Path) -> Any:
        server = type(self).server = Log(folder / "server")
        return lambda: Vendor(server)

    def __reduce__(self) -> Any:
        return type(self), ()  # the server is not asked from workers


class TestVendor(Told):
    """Sync and async, with everything told."""

    errors = (Expired("who are you?"), ValueError("quota exceeded"))

    @pytest.fixture
    def session(self, tmp_path: Path) -> fl.SessionSpec:
        factory = self.vendor(tmp_path)
        return fl.SessionSpec(
            name="vendor", factory=factory, async_factory=factory, expired=(Expired,), judge=judge
        )


class TestVendorOfAProcess(Told):
    @pytest.fixture
    def session(self, tmp_path: Path) -> fl.SessionSpec:
        return fl.SessionSpec(
            name="vendor",
            factory=self.vendor(tmp_path),
            scope="process",
            max_open=1,
            expired=lambda error: isinstance(error, Expired),
        )


class TestVendorOfAnAttempt(Told):
    @pytest.fixture
    def session(self, tmp_path: Path) -> fl.SessionSpec:
        return fl.SessionSpec(
            name="vendor", factory=self.vendor(tmp_path), scope="attempt", expired=(Expired,)
        )


class TestFactory(SessionSuite):
    """A function with ``contextlib``, of something that belongs to its thread."""

    @pytest.fixture
    def session(self) -> fl.SessionSpec:
        @contextlib.contextmanager
        def connect() -> Iterator[sqlite3.Connection]:
            with contextlib.closing(sqlite3.connect(":memory:")) as connection:
                yield connection

        return fl.SessionSpec(name="memory", factory=connect, thread_safe=False)

    def check(self, session: Any) -> None:
        session.execute("select 1").fetchone()


class TestDemo(SessionSuite):
    session = fl.SessionSpec(name="demo", factory=HttpSession, thread_safe=False)


class TestFake(SessionSuite):
    executors = ("serial", "thread")

    @pytest.fixture
    def session(self) -> Any:
        client = FakeSession({"/ping": "pong"})
        return fl.SessionSpec(name="fake", factory=lambda: client)
