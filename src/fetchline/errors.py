"""Every exception fetchline raises.

    FetchlineError
    ├── UnknownName (LookupError)         a name nobody registered; the near ones are listed
    ├── DuplicateName (ValueError)        one name, two origins; both are named
    ├── PluginError (ImportError)         a plugin did not import or breaks the contract
    ├── SessionFailed                     a session could not be opened
    ├── BatchError                        carries ``.batch``
    │   ├── BatchFailed                   nothing succeeded, or on_error="raise"
    │   ├── InputFailed                   the iterable of items raised
    │   └── BatchCancelled                the run was cancelled
    ├── AttemptTimeout (TimeoutError)     one attempt took longer than ``timeout``
    ├── Unpicklable (TypeError)           something could not cross to a worker
    ├── Undecodable (ValueError)          a fetched body does not parse; ``.key`` says whose
    ├── WrongAnswer (ValueError)          the answer to something else than was asked
    ├── Missing (LookupError)             a bulk answer has nothing for this item
    ├── StoreError                        of a store; one that ended a run carries ``.batch``
    │   ├── StoreFailed (OSError)         it could not be read or written
    │   ├── StoreBusy                     another run is at it, or has taken it over
    │   ├── StoreMismatch (ValueError)    it holds the results of something else
    │   ├── StoreDamaged (ValueError)     files are missing or not what was written; ``.files`` names them
    │   └── StoreTooNew                   a newer fetchline wrote it
    ├── StoredError                       the error of a failure that was read from a store
    └── Signal                            raised by fetch functions on purpose
        ├── NoData                        there is nothing: an empty success
        ├── NotReady                      ask again later; the slot is free meanwhile
        └── RetryAfter                    the server asked for a pause
    WorkerCrashed (BrokenProcessPool)     the worker died under its item
    BatchInterrupted (KeyboardInterrupt)  Ctrl-C; carries ``.batch``

Bad arguments are plain ``TypeError`` and ``ValueError``.
"""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fetchline.durations import check_seconds
from fetchline.durations import seconds as _seconds

if TYPE_CHECKING:
    from fetchline.batch import Batch
    from fetchline.results import Failure

__all__ = [
    "AttemptTimeout",
    "BatchCancelled",
    "BatchError",
    "BatchFailed",
    "BatchInterrupted",
    "DuplicateName",
    "FetchlineError",
    "InputFailed",
    "Missing",
    "NoData",
    "NotReady",
    "PluginError",
    "RetryAfter",
    "SessionFailed",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFailed",
    "StoreMismatch",
    "StoreTooNew",
    "StoredError",
    "Undecodable",
    "UnknownName",
    "Unpicklable",
    "WrongAnswer",
]


def text_of(error: BaseException) -> str:
    """The error's text; an error whose own code fails to say it has none."""
    try:
        return str(error)
    except Exception:
        return "<no text>"


class FetchlineError(Exception):
    """The base of fetchline's own errors."""


class UnknownName(FetchlineError, LookupError):
    """A name that nobody registered.

    The message lists the near names and, where a plugin could provide it, what to install.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        super().__init__(kind, name, tuple(sorted(known)), hint)
        self.kind, self.name, self.known, self.hint = self.args

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __str__(self) -> str:
        near = difflib.get_close_matches(self.name, self.known, n=3, cutoff=0.5)
        if near:
            rest = f"did you mean {' or '.join(map(repr, near))}?"
        elif self.known:
            rest = f"known: {', '.join(self.known[:12])}{', ...' if len(self.known) > 12 else ''}."
        else:
            rest = f"no {self.kind} is registered yet."
        return f"no {self.kind} is named {self.name!r}; {rest}{' ' + self.hint if self.hint else ''}"


class DuplicateName(FetchlineError, ValueError):
    """Two origins claim one name."""


class PluginError(FetchlineError, ImportError):
    """A plugin could not be imported, or what it registered breaks the contract."""


LoginTrouble: TypeAlias = Literal["", "unreachable", "refused", "throttled"]
_logins = itertools.count(1)


class SessionFailed(FetchlineError):
    """A session could not be opened; the cause is chained.

    Attributes:
        reason: ``"unreachable"`` if nobody answered, or with a 5xx; ``"refused"`` for good; ``"throttled"``, to come
            again later; or ``""``.
        login: which login it was; whoever waited for the same one has the same.
    """

    def __init__(self, message: str = "", *, reason: LoginTrouble = "", login: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.login = login or f"{os.getpid()}.{next(_logins)}"


class BatchError(FetchlineError):
    """A run that did not end well; ``batch`` holds everything that was finished."""

    def __init__(self, message: str, batch: Batch[Any]) -> None:
        super().__init__(message)
        self.batch = batch


class BatchFailed(BatchError):
    """Nothing succeeded, or ``on_error="raise"`` met a failure, which ``failure`` holds."""

    def __init__(self, message: str, batch: Batch[Any], failure: Failure | None = None) -> None:
        super().__init__(message, batch)
        self.failure = failure


class InputFailed(BatchError):
    """The iterable of items raised; its error is the cause."""


class BatchCancelled(BatchError):
    """The run was cancelled before its end."""


class BatchInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run; ``batch`` holds everything that was finished."""

    def __init__(self, message: str, batch: Batch[Any]) -> None:
        super().__init__(message)
        self.batch = batch


class AttemptTimeout(FetchlineError, TimeoutError):
    """One attempt took longer than the fetcher's ``timeout``."""


class Unpicklable(FetchlineError, TypeError):
    """A function, item or value could not be sent to or from a worker."""


class Undecodable(FetchlineError, ValueError):
    """A body does not parse as what ``decode=`` says; ``key`` is its item's, the parser's error the cause."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message, key)
        self.key = key

    def __str__(self) -> str:
        return str(self.args[0])


class WrongAnswer(FetchlineError, ValueError):
    """An answer that is not the answer to what was asked: other rows, other columns.

    Raised by ``check=``, ``key_column=`` and ``schema=``, and by fetch functions that see it themselves. It is
    charged as an error is.

    Args:
        suspect: the session may mix up its answers: the next attempt gets a fresh one.
    """

    def __init__(self, message: str, *, suspect: bool = True) -> None:
        super().__init__(message)
        self.suspect = suspect

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(WrongAnswer, suspect=self.suspect), self.args


class Missing(FetchlineError, LookupError):
    """A bulk answer has nothing for this item."""


class StoreError(FetchlineError):
    """Something is wrong with a store; what was reported as done is in it all the same.

    Where it ended a run, ``batch`` holds what was reported. What was not is not in the store: the same call again
    fetches it.
    """

    batch: Batch[Any] | None = None


class StoreFailed(StoreError, OSError):
    """A store could not be read or written: a full disk, say; the system's own error is the cause."""


class StoreBusy(StoreError):
    """Another run is at this store, or has taken it over from this one."""


class StoreMismatch(StoreError, ValueError):
    """A store holds the results of another fetcher, or of other params, version or schema.

    Attributes:
        store: where it is.
        differences: what is different, by name: what is stored, and what it is now.
    """

    def __init__(self, store: str, differences: Mapping[str, tuple[Any, Any]]) -> None:
        super().__init__(store, differences)
        self.store = store
        self.differences = differences

    @property
    def finding(self) -> str:
        """What is wrong, without what to do about it."""
        lines = (f"\n  {name}: stored {was!r}, now {now!r}" for name, (was, now) in self.differences.items())
        return f"{self.store} holds results of something else:{''.join(lines)}"

    def __str__(self) -> str:
        return (
            f'{self.finding}\nGive another store; or say on_change="keep" if they count all the same, or '
            'on_change="refetch" to fetch everything again'
        )


class StoreDamaged(StoreError, ValueError):
    """Files of a store are missing, or are not what was written; ``files`` names them, with what is wrong."""

    def __init__(self, message: str, files: Mapping[str, str]) -> None:
        super().__init__(message, files)
        self.files = files

    def __str__(self) -> str:
        return str(self.args[0])


class StoreTooNew(StoreError):
    """A newer fetchline wrote this store, in a format that this one does not know."""


class StoredError(FetchlineError):
    """What a failure that was read from a store says: type and text of the error of then."""


class Signal(FetchlineError):
    """What a fetch function raises to say something other than "it failed"."""


class NoData(Signal):
    """There is nothing for this item: an empty success, not an error.

    >>> raise NoData("no trades on a holiday")
    Traceback (most recent call last):
    fetchline.errors.NoData: no trades on a holiday
    """


class NotReady(Signal):
    """The remote side is still working: ask again, and hold no worker meanwhile.

    Args:
        after: seconds (or a timedelta) until the next attempt.
        memo: what the next attempt finds in ``fl.attempt().memo``, such as a task id; picklable.
        limit: seconds the item may be not ready in all, since it first was; None is the fetcher's ``patience``.
        timeout: seconds the next attempt may take; None is the fetcher's ``timeout``. So a task can have one limit
            for being submitted, another for being asked about, and another for its download.
    """

    def __init__(
        self,
        after: float = 1.0,
        *,
        memo: Any = None,
        limit: float | None = None,
        timeout: float | None = None,
    ) -> None:
        self.after = _seconds("after", after)
        self.memo = memo
        self.limit = None if limit is None else _seconds("limit", limit)
        self.timeout = None if timeout is None else check_seconds("timeout", timeout)
        super().__init__(self.after)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_not_ready, (self.after, self.memo, self.limit, self.timeout))

    def __str__(self) -> str:
        return f"not ready; ask again in {self.after:g} s"


def _not_ready(after: float, memo: Any, limit: float | None, timeout: float | None) -> NotReady:
    return NotReady(after, memo=memo, limit=limit, timeout=timeout)


class RetryAfter(Signal):
    """The server asked for a pause of ``seconds``: nothing starts meanwhile, no retry is charged."""

    def __init__(self, seconds: float) -> None:
        # A server may say anything: what lies in the past is no pause.
        self.seconds = _seconds("seconds", max(seconds, 0) if isinstance(seconds, int | float) else seconds)
        super().__init__(self.seconds)

    def __str__(self) -> str:
        return f"the server asked to wait {self.seconds:g} s"


def __getattr__(name: str) -> Any:
    # BrokenProcessPool lives in concurrent.futures.process, which imports multiprocessing: only on use.
    if name == "WorkerCrashed":
        from fetchline.worker.crash import WorkerCrashed

        return WorkerCrashed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
