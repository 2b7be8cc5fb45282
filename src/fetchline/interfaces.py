"""What plugins provide: the protocols of the four kinds of backend, and the records that announce them."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, ExitStack
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from fetchline.durations import check_seconds
from fetchline.results import ErrorCode

if TYPE_CHECKING:
    import asyncio

    from fetchline.retry import Try

__all__ = [
    "AttemptInfo",
    "Executor",
    "ExecutorSpec",
    "LoopWorker",
    "ObjectStore",
    "Progress",
    "ProgressBackend",
    "ProgressSpec",
    "PullExecutor",
    "RemoteWorker",
    "RunInfo",
    "SessionScope",
    "SessionSpec",
    "Source",
    "StoreSpec",
    "StoredObject",
    "Use",
    "Verdict",
    "VerdictKind",
    "Worker",
    "held_back",
    "keywords",
]

# -- naming a backend with options -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """A backend by name, with options for its factory; made by ``fetchline.use``."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


# -- what an attempt came to -------------------------------------------------------------------------------

VerdictKind: TypeAlias = Literal["retry", "throttled", "not_ready", "expired", "permanent", "no_data", "stop"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one failed attempt means for its item.

    Attributes:
        kind: ``retry`` (charged), ``throttled`` (everybody pauses, uncharged), ``not_ready`` (this item
            waits, uncharged), ``expired`` (the session logs in again), ``permanent`` (no further attempt),
            ``no_data`` (an empty success), ``stop`` (the whole run ends).
        code: the failure's code, should this be the last attempt.
        delay: seconds until the item may start again.
        memo: what the item's next attempt is told (``NotReady(memo=...)``).
        patience: seconds the item may be held back uncharged, if not as long as the fetcher says.
        timeout: seconds the item's next attempt may take, if not as long as the fetcher says (``not_ready``).
        alike: any other item would have failed in the same way: a bulk call is not halved for it.
    """

    kind: VerdictKind
    code: ErrorCode = "error"
    delay: float = 0.0
    memo: Any = None
    patience: float | None = None
    timeout: float | None = None
    alike: bool = False


# -- executors ---------------------------------------------------------------------------------------------


@runtime_checkable
class Executor(Protocol):
    """What carries attempts: any ``concurrent.futures.Executor`` is one."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]: ...

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...


def _stays(task: object) -> None: ...


def _never() -> bool:
    return False


def _nothing() -> None: ...


class Worker(ExitStack):
    """One worker of a ``PullExecutor``: what it keeps from run to run, such as open sessions.

    The executor makes one for each of its workers, enters nothing, and closes it on that worker when the
    worker ends; it hands it to every source the worker serves.

    Args:
        replace: called from another thread: this worker is stuck in the task given, so put another in its
            place at it.
        queue: called from any thread: have the task done by whichever worker of the executor is free first.
        wanted: whether tasks wait for a worker. One that has nothing to do leaves its source for them.

    Attributes:
        call: set by the source while it is served: have the worker look whether it is wanted. The executor
            calls it, from any thread, when a task finds no worker free.
        abandon: set by the source while it is served: called from any thread when the worker is stuck in closing a
            session, which is no attempt's fault. What it has in hand goes to others.
    """

    def __init__(
        self,
        replace: Callable[[Callable[[Worker], None]], None] = _stays,
        queue: Callable[[Callable[[Worker], None]], None] = _stays,
        wanted: Callable[[], bool] = _never,
    ) -> None:
        super().__init__()
        self.kept: dict[Any, Any] = {}
        self.replace = replace
        self.queue = queue
        self.wanted = wanted
        self.call: Callable[[], None] = _nothing
        self.abandon: Callable[[], None] = _nothing


class LoopWorker(AsyncExitStack):
    """The same for an event loop, whose attempts are tasks that share what it keeps.

    ``tasks`` are those at work; whoever owns the loop cancels what is left of them before closing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[Any, Any] = {}
        self.tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], context: Context | None = None) -> None:
        """Run ``work`` as one of the tasks; call it on the loop."""
        import asyncio  # only where a loop runs: importing this module must stay cheap

        task = asyncio.get_running_loop().create_task(work, context=context)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class RemoteWorker(Worker):
    """A worker process, as the thread sees it that owns its end of the pipe; frames are of ``worker.child``."""

    @property
    @abstractmethod
    def process(self) -> Any:
        """The process behind it, started if it is not running."""

    @abstractmethod
    def ask(self, kind: bytes, payload: bytes = b"") -> None:
        """Send a frame; one to a process that has died is lost."""

    @abstractmethod
    def answer(self, timeout: float | None) -> tuple[bytes, bytes | bytearray, Sequence[Any]] | None:
        """Wait for a frame: kind, payload and the shared memory that came along; None after so many seconds.

        Raises:
            WorkerCrashed: the process died; the next ``ask`` starts another.
        """

    @abstractmethod
    def lost(self, process: Any) -> Exception:
        """Bury a process that has died; the ``WorkerCrashed`` it is mourned by."""

    @abstractmethod
    def kill(self) -> None:
        """End the process now; safe from any thread."""


class Source(Protocol):
    """Where the workers of a ``PullExecutor`` find attempts to make; safe to use from any thread."""

    def serve(self, worker: Worker) -> None:
        """Take and make attempts on this thread until the run is over."""

    def aserve(self, worker: LoopWorker, tasks: int) -> None:
        """Start that many tasks that take and make attempts on this loop."""


@runtime_checkable
class PullExecutor(Executor, Protocol):
    """An executor whose workers take attempts themselves: no future and no queue for each item."""

    def work(self, source: Source, workers: int) -> None:
        """Set ``workers`` workers to ``source`` and return at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSpec:
    """An executor by name, with honest flags; drivers adapt to the flags and the suites test them.

    Attributes:
        name: what a user writes, ``executor="name"``.
        factory: ``factory(max_workers=n, **options)`` gives an ``Executor``.
        needs_pickling: functions and items must pickle.
        runs_coroutines: it runs coroutine functions itself.
        isolates_crashes: a crash of the function cannot take the caller down.
        can_kill: a running attempt can be ended.
        remote: workers may be on other machines.
        inline: there are no workers: attempts are made one by one in the thread that waits for the run.
        piped: each worker is a ``RemoteWorker``: cheap items travel in chunks, coroutines run side by side in
            each process, and a timeout counts from where the item begins.
        summary: one line for ``fetchline plugins``.
    """

    name: str
    factory: Callable[..., Any]
    needs_pickling: bool = False
    runs_coroutines: bool = False
    isolates_crashes: bool = False
    can_kill: bool = False
    remote: bool = False
    inline: bool = False
    piped: bool = False
    summary: str = ""

    @property
    def on_a_loop(self) -> bool:
        """Whether coroutine functions run on an event loop of this process."""
        return self.runs_coroutines and not self.needs_pickling


# -- sessions ----------------------------------------------------------------------------------------------

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
        for name in ("open_timeout", "max_age"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_seconds(name, getattr(self, name)))

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


# -- progress ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: items in all; None while the input has not ended and has no length.
        done: items with a result, failed ones included.
        failed: items whose result is a Failure.
        running: attempts in flight.
        retrying: items waiting for another attempt.
        waiting: items taken from the input that have not started.
        rate: items a second, over the run.
        eta_s: seconds to the end at that rate; None when unknown.
        allowed: attempts at once while that is less than the run's concurrency: an adaptive pace, or the
            start after a cooldown; else None.
        cooldown_s: seconds until anything may start again; 0 while there is no cooldown.
        outage_s: seconds for which nobody has got an answer; 0 while there is no outage.
    """

    total: int | None = None
    done: int = 0
    failed: int = 0
    running: int = 0
    retrying: int = 0
    waiting: int = 0
    rate: float = 0.0
    eta_s: float | None = None
    allowed: int | None = None
    cooldown_s: float = 0.0
    outage_s: float = 0.0


def held_back(progress: Progress) -> dict[str, float]:
    """Say what holds a run back now, for a display: ``at once``, ``cooldown`` and ``outage``, the latter in seconds.

    >>> held_back(Progress(allowed=4, cooldown_s=1.5))
    {'at once': 4, 'cooldown': 1.5}
    """
    held = {
        "at once": progress.allowed or 0,
        "cooldown": progress.cooldown_s,
        "outage": progress.outage_s,
    }
    return {name: value for name, value in held.items() if value}


@runtime_checkable
class ProgressBackend(Protocol):
    """Shows a run's progress; called on the host thread only, a few times a second."""

    def start(self, total: int | None, label: str) -> None: ...

    def update(self, progress: Progress) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSpec:
    """A progress display by name; ``factory(**options)`` gives a ``ProgressBackend``."""

    name: str
    factory: Callable[..., ProgressBackend]
    summary: str = ""


# -- stores ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of an ``ObjectStore``: its name, its size in bytes, and seconds since it was written."""

    name: str
    size: int
    age_s: float


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under names: a directory, a bucket's prefix, a dict.

    Names are relative and have ``/`` between their parts. An object is whole or not there: nobody ever sees a part
    of one, whatever is killed when. What a method that returned has done survives a crash of the machine. Failures of
    the system are an ``OSError``. Methods may be called from any thread.

    Attributes:
        url: where it is, for people and for polars.
        storage_options: what polars needs to read there; None if it cannot.
    """

    url: str
    storage_options: Mapping[str, str] | None

    def put(self, name: str, data: bytes) -> None:
        """Write an object, in place of one of that name."""

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one of that name; whether it was written. Of several at once, one wins."""

    def get(self, name: str) -> bytes:
        """Read an object.

        Raises:
            FileNotFoundError: there is none of that name.
        """

    def rename(self, name: str, to: str) -> None:
        """Give an object another name, in place of one of that name. Interrupted, it has one of them, or both.

        Raises:
            FileNotFoundError: there is none of that name.
        """

    def delete(self, name: str) -> None:
        """Take an object away, if there is one."""

    def list(self, prefix: str = "") -> Iterable[StoredObject]:
        """Every object whose name begins with ``prefix``, in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec:
    """A kind of store by name.

    Attributes:
        name: what a user writes, ``store=fetchline.use("name", ...)``.
        factory: ``factory(where, **options)`` gives an ``ObjectStore``; ``where`` is the path or the whole URL.
        schemes: URL schemes it answers to: ``store="s3://..."``.
        summary: one line for ``fetchline plugins``.
    """

    name: str
    factory: Callable[..., ObjectStore]
    schemes: Sequence[str] = ()
    summary: str = ""


# -- what hooks are told -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run, as hooks see it.

    Attributes:
        id: a UUID as text.
        fetcher: the fetcher's name.
        executor: the executor's name.
        concurrency: attempts at once, at the most.
        total: items, where the input has a length.
        params: the run's ``params``.
    """

    id: str
    fetcher: str
    executor: str
    concurrency: int
    total: int | None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """One finished attempt: which item, which number (from 1), how it ended and how long it ran in seconds."""

    key: str
    index: int
    number: int
    verdict: Verdict | None
    ran_s: float
