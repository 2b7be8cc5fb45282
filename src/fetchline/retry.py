"""Retry policies: ``Try`` says how often, after which pause, and on what."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, overload

from fetchline.durations import seconds

if TYPE_CHECKING:
    from fetchline.fetchers import Fetcher

__all__ = ["On", "Try", "TryWithSession", "check_count"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

On: TypeAlias = (
    type[BaseException]
    | tuple[type[BaseException], ...]
    | Callable[[BaseException], "bool | float | timedelta | None"]
)


def check_count(name: str, value: Any, *, least: int = 1) -> int:
    """Accept a whole number of at least ``least``; a bool is never one."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value


def _is_tenacity(value: Any) -> bool:
    """Whether it is one of tenacity's objects, or of a subclass."""
    return any(kind.__module__.partition(".")[0] == "tenacity" for kind in type(value).__mro__)


@dataclass(frozen=True, slots=True)
class Try:
    """How often an item is tried, and what is waited in between.

    The wait before the n-th further attempt is ``sleep * backoff ** (n - 1)``, at most ``max_sleep``; a part
    of up to ``jitter`` of it is taken off at random, so that many clients do not come back together. In a run
    it is waited by the schedule: no worker is held meanwhile.

    Args:
        retry: calls in all, the first one counted; 1 is never again. A tenacity ``stop`` object decides by itself.
        sleep: seconds (or a timedelta) before the second attempt. A tenacity ``wait`` object decides by itself.
        backoff: the factor from one wait to the next, at least 1.
        jitter: the part of a wait that is left to chance, from 0 (none) to 1.
        max_sleep: seconds a wait is at most.
        on: which errors are worth another attempt: exception types; a function of the exception that gives
            True, False, or the seconds (or timedelta) to wait; or a tenacity ``retry`` object. By default
            every ``Exception`` is.

    Raises:
        TypeError, ValueError: an argument is not what it should be; zero, negative and boolean counts are not.

    >>> policy = Try(retry=4, sleep=1, jitter=0)
    >>> [policy.delay(n) for n in (1, 2, 3)]
    [1.0, 2.0, 4.0]
    >>> @Try(retry=2, sleep=0)
    ... def halve(n: int) -> float:
    ...     return n / 2
    >>> halve(3)
    1.5
    """

    retry: Any = 3
    sleep: Any = 0.5
    backoff: float = 2.0
    jitter: float = 0.5
    max_sleep: Any = 60.0
    on: Any = Exception

    def __post_init__(self) -> None:
        if not _is_tenacity(self.retry):
            check_count("retry", self.retry)
        if not _is_tenacity(self.sleep):
            object.__setattr__(self, "sleep", seconds("sleep", self.sleep))
        object.__setattr__(self, "max_sleep", seconds("max_sleep", self.max_sleep))
        if seconds("backoff", self.backoff) < 1:
            raise ValueError(f"backoff must be at least 1, not {self.backoff}")
        if seconds("jitter", self.jitter) > 1:
            raise ValueError(f"jitter must be between 0 and 1, not {self.jitter}")
        if isinstance(self.on, list | set | frozenset):
            object.__setattr__(self, "on", tuple(self.on))
        types = self.on if isinstance(self.on, tuple) else (self.on,)
        if isinstance(self.on, tuple | type):
            for kind in types:
                if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                    raise TypeError(f"on= takes exception types or a function of the exception, not {kind!r}")
        elif not callable(self.on):
            raise TypeError(f"on= takes exception types or a function of the exception, not {self.on!r}")

    @classmethod
    def of(cls, retry: Try | int | None) -> Try:
        """Accept a policy, or the number of calls that is short for one; None is a single call."""
        if retry is None:
            return ONCE
        if isinstance(retry, Try):
            return retry
        return cls(retry=check_count("retry", retry))

    @property
    def limit(self) -> int:
        """Calls in all; where a tenacity object stops, a number it will not reach."""
        return self.retry if isinstance(self.retry, int) else 1 << 62

    def delay(self, failed: int) -> float:
        """Seconds to wait after so many failed attempts, when no tenacity object decides."""
        if self.sleep == 0:
            return 0.0
        try:
            wait = min(self.max_sleep, self.sleep * self.backoff ** (failed - 1))
        except OverflowError:
            wait = self.max_sleep
        if self.jitter:
            wait *= 1 - self.jitter * random.random()
        return float(wait)

    def judge(self, error: BaseException, failed: int, elapsed: float) -> float | None:
        """Decide about another attempt: the seconds to wait before it, or None for no further one.

        Args:
            error: what the attempt raised.
            failed: how many charged attempts have failed, this one counted.
            elapsed: seconds since the item's first attempt.
        """
        state = None
        if _is_tenacity(self.retry) or _is_tenacity(self.sleep) or _is_tenacity(self.on):
            state = _tenacity_state(error, failed, elapsed)
        wait: float | None = None
        if isinstance(self.on, type | tuple):
            if not isinstance(error, self.on):
                return None
        elif _is_tenacity(self.on):
            # Some of tenacity's predicates say yes to KeyboardInterrupt.
            if not isinstance(error, Exception) or not self.on(state):
                return None
        else:
            answer = self.on(error)
            if answer is False or answer is None:
                return None
            if answer is not True:
                wait = seconds("the answer of on=", answer)
        if wait is None:
            said = self.sleep(state) if _is_tenacity(self.sleep) else self.delay(failed)
            wait = seconds("the tenacity wait", said)
        if state is not None:
            state.upcoming_sleep = wait
            if _is_tenacity(self.retry) and self.retry(state):
                return None
        return wait

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]]
    ) -> Fetcher[P, Coroutine[None, None, T], T]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Fetcher[P, R, R]: ...
    def __call__(self, function: Callable[..., Any]) -> Fetcher[..., Any, Any]:
        """Make an unregistered fetcher of a function: called directly it retries in place."""
        from fetchline.fetchers import Fetcher

        return Fetcher.of(function, retry=self)

    def with_session(self, session_cls: Any) -> TryWithSession:
        """The same policy with a session for each call."""
        return TryWithSession(self.retry, self.sleep, session_cls, policy=self)


ONCE = Try(retry=1, sleep=0)


class TryWithSession:
    """A retry policy and a session in one decorator.

    Args:
        retry: calls in all, as in ``Try``.
        sleep: seconds before the second attempt.
        session_cls: a context-manager class or factory; what it gives is passed where a parameter's default
            is ``fetchline.injected``, and is ambient otherwise.
    """

    __slots__ = ("policy", "session_cls")

    def __init__(
        self, retry: Any = 3, sleep: Any = 0.5, session_cls: Any = None, *, policy: Try | None = None
    ) -> None:
        self.policy = policy or Try(retry=retry, sleep=sleep)
        self.session_cls = session_cls

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]]
    ) -> Fetcher[P, Coroutine[None, None, T], T]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Fetcher[P, R, R]: ...
    def __call__(self, function: Callable[..., Any]) -> Fetcher[..., Any, Any]:
        from fetchline.fetchers import Fetcher

        return Fetcher.of(function, retry=self.policy, session=self.session_cls)

    def __repr__(self) -> str:
        return f"{self.policy!r}.with_session({self.session_cls!r})"


def _tenacity_state(error: BaseException, failed: int, elapsed: float) -> Any:
    import tenacity

    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = failed
    state.set_exception((type(error), error, error.__traceback__))
    # stop_after_delay reads the difference of the two.
    state.start_time = 0.0
    state.outcome_timestamp = elapsed
    return state
