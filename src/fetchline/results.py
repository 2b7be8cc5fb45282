"""One outcome of one item: ``Success`` or ``Failure``, and the codes that failures carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from fetchline.errors import StoredError, text_of

__all__ = ["ERROR_CODES", "ErrorCode", "Failure", "Origin", "Result", "Success"]

T = TypeVar("T")

Origin: TypeAlias = Literal["fetched", "shared", "store"]

ErrorCode: TypeAlias = Literal[
    "error",
    "timeout",
    "deadline",
    "crashed",
    "unpicklable",
    "cancelled",
    "throttled",
    "unavailable",
    "not_ready",
    "permanent",
    "session",
    "banned",
    "wrong_answer",
    "missing",
    "undecodable",
    "unknown_outcome",
]
ERROR_CODES: tuple[ErrorCode, ...] = ErrorCode.__args__  # type: ignore[attr-defined]  # typing's own tuple


@dataclass(slots=True)
class Success(Generic[T]):
    """An item that was fetched.

    Attributes:
        value: what the function returned, usually a frame.
        key: the item's identity in reports and stores.
        index: the item's place in the input, from 0.
        item: the item itself.
        attempts: how often the function was called for it.
        waited_s: seconds between being taken from the input and its last start.
        ran_s: seconds its last attempt ran.
        origin: ``fetched``, ``shared`` (with an equal key) or ``store``.
        empty: True where the function raised ``NoData``.

    >>> Success(3, key="AAPL").is_success
    True
    """

    value: T
    key: str = ""
    index: int = 0
    item: Any = None
    attempts: int = 1
    waited_s: float = 0.0
    ran_s: float = 0.0
    origin: Origin = "fetched"
    empty: bool = False

    @property
    def is_success(self) -> Literal[True]:
        return True

    @property
    def is_failure(self) -> Literal[False]:
        return False

    @property
    def status(self) -> Literal["success", "empty"]:
        return "empty" if self.empty else "success"


@dataclass(slots=True)
class Failure:
    """An item that has no value, and why.

    Attributes:
        error: the last attempt's exception, with its traceback.
        error_code: one of ``ERROR_CODES``.
        key, index, item, attempts, waited_s, ran_s: as on ``Success``.

    >>> failure = Failure.from_exception(ValueError("no such ticker"), key="XXXX")
    >>> failure.error_code, failure.message
    ('error', 'ValueError: no such ticker')
    """

    error: BaseException
    key: str = ""
    index: int = 0
    item: Any = None
    attempts: int = 1
    waited_s: float = 0.0
    ran_s: float = 0.0
    error_code: ErrorCode = "error"
    _rerun: Callable[[Any], Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_exception(
        cls,
        error: BaseException,
        *,
        key: str = "",
        index: int = 0,
        item: Any = None,
        attempts: int = 1,
        error_code: ErrorCode = "error",
    ) -> Failure:
        """Make a failure of an exception, for your own code that returns Results."""
        return cls(error, key, index, item, attempts, error_code=error_code)

    @property
    def is_success(self) -> Literal[False]:
        return False

    @property
    def is_failure(self) -> Literal[True]:
        return True

    @property
    def status(self) -> Literal["failure"]:
        return "failure"

    @property
    def message(self) -> str:
        """The error in one line: its type and its text."""
        text = " ".join(text_of(self.error).split())
        if isinstance(self.error, StoredError):
            return text
        name = type(self.error).__name__
        return f"{name}: {text}" if text else name

    def rerun(self) -> Any:
        """Call the fetcher for this item here, in this thread, so that a debugger stops in it.

        An async fetcher is run to its end too; inside a running loop you get its coroutine, to be awaited.

        Raises:
            RuntimeError: the failure did not come from a run.
            Exception: whatever the function raises.
        """
        if self._rerun is None:
            raise RuntimeError(
                f"the failure of {self.key!r} did not come from a run, so nothing can be rerun"
            )
        return self._rerun(self.item)

    def __reduce__(self) -> tuple[Any, ...]:
        state = (self.error, self.key, self.index, self.item, self.attempts, self.waited_s, self.ran_s)
        return (Failure, (*state, self.error_code))


Result: TypeAlias = Success[T] | Failure
"""The one final outcome of one item."""
