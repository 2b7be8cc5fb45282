"""``SessionSuite``: what fetchline wants of a session, as tests of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fetchline.interfaces import SessionSpec, Use
from fetchline.testing.evidence import Log
from fetchline.testing.sessions.judgement import Judgement
from fetchline.testing.sessions.lifetime import Lifetime
from fetchline.testing.sessions.logins import Logins
from fetchline.testing.sessions.subject import Hooks, Subject
from fetchline.testing.suites import given, skip_unless

__all__ = ["SessionSuite"]


class SessionSuite(Lifetime, Logins, Judgement):
    """Hold a session to what fetchline wants of one: its life, its logins, and what it says of errors.

    Subclass it and say what is under test. What the suite is not told, it skips with that reason.

    Attributes:
        session: as ``@fetcher(session=...)`` takes it: a name, ``fetchline.use(name, ...)``, a ``SessionSpec``,
            a context-manager class; or a fixture of that name, which may also give a factory.
        errors: exceptions that the session raises, as it raises them: they are judged and pickled.
        executors: where functions use it; leave out ``"process"`` for a session that is of this process.
        patience_s: seconds that a test waits for what must come, such as a logout.

    Methods to override; they must pickle, and for an async session may return something to await:
        check(session): use an open session in some cheap way; raise if it cannot be used.
        expire(session): make its login invalid, so that ``check`` raises from now on.
        logins(), logouts(): how many the other side has seen so far.

    >>> class TestAcme(SessionSuite):
    ...     session = "acme"
    ...     def check(self, session):
    ...         return session.get("/ping")
    """

    session: Any = None

    @pytest.fixture
    def subject(self, request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
        given_session = given(request, "session", (str, Use, SessionSpec, type))
        return Subject.of(given_session, Log(tmp_path / "log"))

    @pytest.fixture(autouse=True)
    def only_what_is_promised(self, request: pytest.FixtureRequest, subject: Subject) -> None:
        skip_unless(request, self._missing(subject))

    def _missing(self, subject: Subject) -> dict[str, str]:
        missing = {}
        name = repr(subject.spec.name)
        if not subject.for_functions:
            missing["sync"] = f"{name} is for async functions only"
        if not subject.for_coroutines:
            missing["async"] = f"{name} has no async session"
        if not subject.spec.thread_safe:
            missing["thread_safe"] = f"{name} does not claim thread_safe"
        if not subject.spec.expired:
            missing["expired"] = f"{name} says nothing of logins that expire"
        elif type(self).expire is Hooks.expire:
            missing["expired"] = "the suite is not told how a login expires: def expire(self, session)"
        if not self.errors:
            missing["errors"] = "the suite is not told which errors the session raises: errors = [...]"
        if "process" not in self.executors:
            missing["process"] = f"executors = {tuple(self.executors)} leaves processes out"
        if self.logins() is None or self.logouts() is None:
            missing["seen"] = (
                "the suite is not told what the other side sees: def logins(self), def logouts(self)"
            )
        return missing
