"""Executors: the protocols, the workers they hand to a run, and the record that announces one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import asyncio

__all__ = ["Executor", "ExecutorSpec", "LoopWorker", "PullExecutor", "RemoteWorker", "Source", "Worker"]


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
        abandon: set where another can take its place: called from any thread when the worker is stuck in closing
            a session, which is no attempt's fault. What it has in hand goes to others.
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
        self.abandon: Callable[[], None] | None = None


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
