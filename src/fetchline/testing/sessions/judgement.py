"""What a session says of errors: ``judge``, ``expired`` and ``portable``."""

from __future__ import annotations

import asyncio
import math
import pickle
from collections.abc import Iterator
from typing import Any, get_args

import fetchline as fl
from fetchline.interfaces import VerdictKind
from fetchline.results import ERROR_CODES
from fetchline.testing.sessions.subject import Hooks, Subject
from fetchline.testing.suites import if_promised

__all__ = ["Judgement"]


class _Mute(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class _Odd(Exception):
    """An error with an answer that is none."""

    response = object()
    status_code = "404"
    headers = None


def strange_errors() -> Iterator[BaseException]:
    """Errors that reach a judge sooner or later."""
    yield from (ValueError(), KeyError("k", 1), OSError(104, "reset"), TimeoutError(), StopIteration(3))
    yield from (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), asyncio.CancelledError(), SystemExit(2))
    yield from (ExceptionGroup("several", [ValueError(), OSError()]), _Mute(), _Odd())
    chained = ValueError("outer")
    chained.__cause__ = _Odd("inner")
    yield chained
    looping = ValueError("round")
    looping.__context__ = looping
    yield looping


class Judgement(Hooks):
    """Whatever the error: an answer of the right kind, and no further error."""

    def test_the_judge_gives_a_verdict_or_none_and_never_raises(self, subject: Subject) -> None:
        judge = subject.spec.judge
        for error in (*strange_errors(), *self.errors):
            verdict = None if judge is None else judge(error)
            if verdict is None:
                continue
            about = f"{verdict!r} on {type(error).__qualname__}"
            assert isinstance(verdict, fl.Verdict), about
            assert verdict.kind in get_args(VerdictKind), about
            assert verdict.code in ERROR_CODES, about
            assert 0 <= verdict.delay < math.inf, about

    def test_expired_says_yes_or_no_and_never_raises(self, subject: Subject) -> None:
        expired = subject.spec.expired
        for error in (*strange_errors(), *self.errors):
            said = isinstance(error, expired) if isinstance(expired, type | tuple) else expired(error)
            assert isinstance(said, bool), f"{said!r} on {type(error).__qualname__}"

    def test_expired_is_not_said_of_any_error_at_all(self, subject: Subject) -> None:
        """It would log in again and again for errors that have nothing to do with the login."""
        assert not all(map(subject.spec.is_expired, strange_errors()))

    def test_portable_gives_an_exception_and_never_raises(self, subject: Subject) -> None:
        for error in (*strange_errors(), *self.errors):
            assert isinstance(self._portable(subject, error), BaseException), type(error).__qualname__

    def test_portable_leaves_errors_that_are_not_the_sessions_alone(self, subject: Subject) -> None:
        for error in (ValueError("v"), KeyError("k"), OSError(104, "reset")):
            assert self._portable(subject, error) is error

    @if_promised("errors")
    def test_portable_errors_come_back_from_a_process_as_what_they_were(self, subject: Subject) -> None:
        for error in self.errors:
            sent = self._portable(subject, error)
            # By itself, not as fetchline puts one together: a batch may be pickled by anybody.
            try:
                back = pickle.loads(pickle.dumps(sent))
            except Exception as bug:
                raise AssertionError(f"{sent!r} does not survive pickling: give portable=") from bug
            assert type(back) is type(sent)
            assert str(back) == str(sent)

    @if_promised("errors")
    def test_portable_errors_mean_the_same_to_the_judge(self, subject: Subject) -> None:
        judge = subject.spec.judge
        for error in self.errors:
            if judge is not None:
                assert judge(self._portable(subject, error)) == judge(error), repr(error)

    @staticmethod
    def _portable(subject: Subject, error: BaseException) -> Any:
        return error if subject.spec.portable is None else subject.spec.portable(error)
