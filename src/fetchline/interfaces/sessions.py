"""Sessions: the record that announces one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fetchline.durations import check_seconds
from fetchline.interfaces.verdicts import Verdict

if TYPE_CHECKING:
    from fetchline.retry import Try

__all__ = ["SessionScope", "SessionSpec", "keywords"]


_FUNCTIONS = {"factory", "async_factory", "accepts", "expired", "judge", "portable"}
SessionScope: TypeAlias = Literal["attempt", "worker", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """A session by name: opened in the worker that uses it, closed by it, never pickled.

    Attributes:
        name: what a user writes, ``session="name"``.
        factory: ``factory(**options)`` gives a context manager; for sync functions.
        async_factory: ``async_factory(**options)`` gives an async context manager; for async functions.
        accepts: gives the names of the options where the factory's signature does not; others are refused early.
        scope: ``attempt``, ``worker`` (a thread, a process, a loop) or ``process``.
        thread_safe: False refuses a scope that shares one session between threads.
        max_open: how many may be open at once in a process: a run there has no more workers. None is no limit.
        workers: how many workers a run has, or attempts at once on a loop, where nobody says; None is what the
            executor has by default.
        expired: exception types, or a predicate, that say the login is no longer valid; one that raises has not
            said so.
        judge: gives a ``Verdict`` for an exception this session knows, None for any other. It is asked about those of
            opening too: what is permanent there is not tried again by ``login``, and ``stop`` ends the run.
        portable: turns an exception into one that pickles; runs in the worker.
        login: how often opening is tried, and what is waited in between; None is once. The attempt that wants the
            session is not charged for it. An answer of 4xx is not asked for again.
        open_timeout: seconds opening may take, each time. A sync session is then opened on a thread of its own,
            which is abandoned when the time is over; one that async functions use on their loop has no such limit.
        max_age: seconds after which a session is closed and opened anew before its next use.
        summary: one line for ``fetchline plugins``.
    """

    name: str
    factory: Callable[..., AbstractContextManager[Any]] | None = None
    async_factory: Callable[..., AbstractAsyncContextManager[Any]] | None = None
    accepts: Callable[[], Collection[str]] | None = None
    scope: SessionScope = "worker"
    thread_safe: bool = True
    max_open: int | None = None
    workers: int | None = None
    expired: tuple[type[BaseException], ...] | Callable[[BaseException], bool] = ()
    judge: Callable[[BaseException], Verdict | None] | None = None
    portable: Callable[[BaseException], BaseException] | None = None
    login: Try | None = None
    open_timeout: float | None = None
    max_age: float | None = None
    summary: str = ""

    def __post_init__(self) -> None:
        if self.scope not in ("attempt", "worker", "process"):
            raise ValueError(f'scope must be "attempt", "worker" or "process", not {self.scope!r}')
        if self.factory is None and self.async_factory is None:
            raise TypeError(f"session {self.name!r} needs a factory=, or an async_factory=")
        kinds = self.expired if isinstance(self.expired, tuple) else (self.expired,)
        if not all(callable(kind) for kind in kinds):
            raise TypeError(
                f"expired= takes exception types or a function of the exception, not {self.expired!r}; for a status "
                'write: lambda error: getattr(getattr(error, "response", None), "status_code", None) == 401'
            )
        for kind in kinds:
            if inspect.iscoroutinefunction(kind):
                raise TypeError("expired= takes a plain function of the exception, not a coroutine function")
        for name in ("max_open", "workers"):
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise ValueError(f"{name} must be a whole number of at least 1, not {number!r}")
        for name in ("open_timeout", "max_age"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_seconds(name, getattr(self, name)))

    def __repr__(self) -> str:
        """What is neither a function, which may have a password bound to it, nor as it is without being said."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {field.name for field in fields(self) if told[field.name] == field.default}
        shown = [f"{name}={value!r}" for name, value in told.items() if name not in plain | _FUNCTIONS]
        return f"SessionSpec({', '.join(shown)})"

    def is_expired(self, error: BaseException) -> bool:
        """Whether ``expired`` says that this error means that the login is no longer valid.

        Raises:
            Exception: whatever the predicate raises.
        """
        expired = self.expired
        return isinstance(error, expired) if isinstance(expired, type | tuple) else bool(expired(error))


def keywords(*functions: Callable[..., Any]) -> set[str]:
    """Give the names of the keyword arguments of functions or classes, for ``SessionSpec.accepts``.

    >>> sorted(keywords(lambda base_url, *, total=None, **options: None))
    ['base_url', 'total']
    """
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = (inspect.signature(function).parameters.values() for function in functions)
    return {parameter.name for some in parameters for parameter in some if parameter.kind in named}
