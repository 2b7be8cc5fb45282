"""Sessions that do not keep what is wanted of one; ``RED`` names the tests that say so."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any, ClassVar

import fetchline as fl
from fetchline.testing import SessionSuite


class Vendor:
    """A login that is counted at the other side."""

    logins: ClassVar[int] = 0
    logouts: ClassVar[int] = 0

    def __enter__(self) -> Vendor:
        type(self).logins += 1
        self.valid = True
        return self

    def __exit__(self, *_: object) -> None:
        type(self).logouts += 1

    def get(self) -> None:
        if not self.valid:
            raise PermissionError("who are you?")


class Told(SessionSuite):
    executors = ("serial", "thread")
    kind: type[Vendor] = Vendor

    def check(self, session: Any) -> None:
        session.get()

    def expire(self, session: Any) -> None:
        session.valid = False

    def logins(self) -> int:
        return self.kind.logins

    def logouts(self) -> int:
        return self.kind.logouts


class TestHonest(Told):
    session = fl.SessionSpec(name="honest", factory=Vendor, expired=(PermissionError,))


class ClosedTwice(Vendor):
    def __exit__(self, *_: object) -> None:
        super().__exit__()
        super().__exit__()


class TestClosedTwice(Told):
    session = kind = ClosedTwice


class NeverClosed(Vendor):
    def __exit__(self, *_: object) -> None: ...


class TestNeverClosed(Told):
    patience_s = 0.1
    session = kind = NeverClosed


class TestExpiredIsNotKnown(Told):
    session = fl.SessionSpec(name="liar", factory=Vendor, expired=(KeyError,))


class TestExpiredIsEverything(Told):
    session = fl.SessionSpec(name="liar", factory=Vendor, expired=(BaseException,))


class Memory:
    def __enter__(self) -> sqlite3.Connection:
        self.connection = sqlite3.connect(":memory:")
        return self.connection

    def __exit__(self, *_: object) -> None:
        self.connection.close()


class TestThreadSafe(SessionSuite):
    session = Memory

    def check(self, session: Any) -> None:
        session.execute("select 1")


class Grumbling(Vendor):
    def __exit__(self, *_: object) -> None:
        raise OSError("the connection is gone")


class TestRaisesOnClosing(SessionSuite):
    session = Grumbling


class OneAtATime(Vendor):
    lock = threading.Lock()

    def __enter__(self) -> Vendor:
        if not self.lock.acquire(blocking=False):
            raise RuntimeError("there is a login already")
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


class TestOneAtATime(SessionSuite):
    session = OneAtATime


class Stubborn(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, *, status: int) -> None:
        super().__init__(f"status {status}")


def judge(error: BaseException) -> Any:
    return fl.Verdict("permanent", "permanent") if error.args[0].startswith("status") else None


class TestErrors(SessionSuite):
    session = fl.SessionSpec(name="liar", factory=Vendor, judge=judge)
    errors = (Stubborn(status=404),)


class TestPortable(SessionSuite):
    session = fl.SessionSpec(name="liar", factory=Vendor, judge=lambda _: True, portable=str)  # type: ignore[arg-type, return-value]


RED = {
    "TestHonest": {},
    "TestClosedTwice": {"test_the_other_side_sees_as_many_logouts_as_logins": ""},
    "TestNeverClosed": {"test_the_other_side_sees_as_many_logouts_as_logins": "in vain for the logout"},
    "TestExpiredIsNotKnown": {
        "test_expired_says_so_of_what_a_session_without_a_login_raises": "expired= does not know",
        "test_expired_is_a_new_login_and_costs_no_retry": "",
    },
    "TestExpiredIsEverything": {"test_expired_is_not_said_of_any_error_at_all": ""},
    "TestThreadSafe": {"test_thread_safe_one_session_serves_several_threads": "ProgrammingError"},
    "TestRaisesOnClosing": {
        "test_it_opens_is_usable_and_closes_time_after_time": "the connection is gone",
        "test_session_contract_holds_on[serial]": "closing it raised",
    },
    "TestOneAtATime": {
        "test_several_are_open_at_once_and_closing_one_leaves_the_others": "there is a login already"
    },
    "TestErrors": {
        "test_the_judge_gives_a_verdict_or_none_and_never_raises": "",
        "test_portable_errors_come_back_from_a_process_as_what_they_were": "does not survive pickling",
    },
    "TestPortable": {
        "test_the_judge_gives_a_verdict_or_none_and_never_raises": "True on ValueError",
        "test_portable_gives_an_exception_and_never_raises": "",
    },
}
