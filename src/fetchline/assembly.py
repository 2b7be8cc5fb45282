"""One run, put together: fetcher, items, executor, sessions, schedule; started, hosted, and brought to an end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from fetchline.batch import Batch
from fetchline.binding import bind_check
from fetchline.catalog import catalog
from fetchline.collector import Collector
from fetchline.config import BatchConfig, resolve
from fetchline.core.limits import NEVER, Limits
from fetchline.core.schedule import Schedule
from fetchline.drive.feed import Intake, KeyCheck
from fetchline.drive.gates import LoopGate
from fetchline.drive.host import Host, Interrupted, LoopHost
from fetchline.drive.source import Source
from fetchline.errors import BatchCancelled, BatchError, BatchFailed, BatchInterrupted, InputFailed
from fetchline.executors import Crew, choose
from fetchline.fetchers import Fetcher
from fetchline.interfaces import LoopWorker, PullExecutor, RunInfo, SessionSpec, Use
from fetchline.items import Grid, check_items, uniform_type
from fetchline.registry import Registry, default
from fetchline.results import Result
from fetchline.retry import Try
from fetchline.sizes import parse_size
from fetchline.verdict import Judge
from fetchline.waiting import waits
from fetchline.worker.attempt import Program
from fetchline.worker.sessions import SessionUse

# Items in a row without an answer: fewer may be at fault themselves.
_OUTAGE = 10

__all__ = ["Decided", "Run", "decide", "find", "registry_of", "session_use"]

if TYPE_CHECKING:
    from fetchline.drive.push import Pusher

T = TypeVar("T")
_log = logging.getLogger("fetchline")
_LEAVE_S = 6.5  # longer than our own workers wait for a logout
_WHOLE = (list, tuple, range, Grid)


def find(fetcher: Any, registry: Any = None) -> Fetcher[Any, Any, Any]:
    """Get the fetcher meant by a fetcher, a name or a plain function."""
    if registry is not None and not isinstance(registry, Registry):
        raise TypeError(f"registry must be a fetchline.Registry, not {registry!r}")
    if isinstance(fetcher, Fetcher):
        return fetcher
    if isinstance(fetcher, str):
        found: Fetcher[Any, Any, Any] = (registry if registry is not None else default)[fetcher]
        return found
    if callable(fetcher):
        return Fetcher.of(fetcher)
    raise TypeError(f"a fetcher, its name or a function is wanted, not {fetcher!r}")


def registry_of(options: Mapping[str, Any], config: BatchConfig | None) -> Any:
    said = options.get("registry")
    return said if said is not None else getattr(config, "registry", None)


def session_use(fetcher: Fetcher[Any, Any, Any]) -> SessionUse | None:
    """Resolve what the fetcher declared as ``session=``."""
    session, parameter = fetcher.policies.session, fetcher.session_parameter
    if session is None:
        if parameter is not None:
            raise TypeError(
                f"{fetcher.name!r} wants a session in {parameter!r}, but declares none: @fetcher(session=...)"
            )
        return None
    named = Use(session) if isinstance(session, str) else session
    options: dict[str, Any] = {}
    if isinstance(named, Use):
        session, options = catalog().session(named.name), dict(named.options)
    if not isinstance(session, SessionSpec):
        name = getattr(session, "__qualname__", None) or type(session).__name__
        session = SessionSpec(name=name, factory=session)
    if session.login is not None:
        session = replace(session, login=Try.of(session.login))
    only_async = session.factory is None or (
        isinstance(session.factory, type)
        and hasattr(session.factory, "__aenter__")
        and not hasattr(session.factory, "__enter__")
    )
    if only_async and not fetcher.is_async:
        raise TypeError(
            f"{fetcher.name!r} is not async, but session {session.name!r} is for async functions only"
            + (f": {session.summary}" if session.summary else "")
        )
    return SessionUse.of(session, options, parameter)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a run is, before its items: nothing of it has been started."""

    fetcher: Fetcher[Any, Any, Any]
    config: BatchConfig
    use: SessionUse | None
    crew: Crew

    @property
    def key(self) -> Callable[[Any], str] | None:
        return self.config.key if self.config.key is not None else self.fetcher.policies.key

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.config.params or {})


def decide(fetcher: Any, options: Mapping[str, Any], *, progress: Any) -> Decided:
    """Find the fetcher, its session and the executor, and every option's value.

    Raises:
        UnknownName, TypeError, ValueError: what ``run`` refuses before it looks at the items.
    """
    options = dict(options)
    config = options.pop("config", None)
    found = find(fetcher, registry_of(options, config))
    chosen = resolve(options, config, {"progress": progress, "on_error": "collect"})
    use = session_use(found)
    crew = choose(
        chosen.executor,
        asynchronous=found.is_async,
        workers=chosen.workers,
        concurrency=chosen.concurrency,
        session=None if use is None else use.spec,
    )
    return Decided(found, chosen, use, crew)


class Run:
    """One run, with everything decided and nothing started."""

    def __init__(
        self,
        fetcher: Any,
        items: Any,
        options: Mapping[str, Any],
        *,
        progress: Any,
        emits: bool = False,
        ordered: bool = False,
        on_loop: bool = False,
        feeder: bool = False,
    ) -> None:
        decided = self.decided = decide(fetcher, options, progress=progress)
        self.fetcher, self.config, self.crew, self.key = (
            decided.fetcher,
            decided.config,
            decided.crew,
            decided.key,
        )
        check_items(items)
        self.emits, self.ordered = emits, ordered
        self.feeder = feeder or emits
        if hasattr(items, "__aiter__") and not on_loop:
            raise TypeError("an async iterable of items needs an event loop: use arun or astream")
        self.total = _length(items)
        self.info = RunInfo(
            id=str(uuid.uuid4()),
            fetcher=self.fetcher.name,
            executor=self.crew.name,
            concurrency=self.crew.concurrency,
            total=self.total,
            params=decided.params,
        )
        self.program = self._program()
        self.whole = self._take_whole(items)
        self.collector = Collector(self, items=self.whole)
        limits = self._limits()
        self.schedule = Schedule(limits, ordered=ordered)
        self.source = Source(
            self.schedule,
            self.program,
            context=copy_context(),
            width=self.crew.width,
            max_abandoned=2 * self.crew.concurrency,
            trace=self.collector.wants_attempts,
            pace=self.fetcher.policies.pace if limits.granted else None,
        )
        self._pusher: Pusher | None = None
        self.intake: Intake | None = None
        if self.whole is None:
            bind_check(self.fetcher, decided.params, (), decided.use)
            # A batch keeps its keys anyway; a stream must not grow.
            check = KeyCheck(self.key, remember=limits.window if emits else None)
            self.intake = Intake(self.source, items, check)

    def _program(self) -> Program:
        policies, use, plugins = self.fetcher.policies, self.decided.use, self.config.plugins
        return Program(
            function=self.fetcher.function,
            reference=self.fetcher,
            name=self.fetcher.name,
            judge=Judge(policies.retry, use.spec if use else None, policies.idempotent, policies.patience),
            version=policies.version,
            params=self.decided.params,
            session=use,
            middleware=catalog().middleware(plugins, self.info) if plugins else (),
            timeout=policies.timeout,
            key=self.key,
        )

    def _limits(self) -> Limits:
        policies, crew = self.fetcher.policies, self.crew
        pace = policies.pace
        # A batch keeps every result anyway: its window only spares the host's time.
        usual = max(1024 if self.emits else 1 << 16, 10 * crew.concurrency)
        window = self.config.window
        return Limits(
            concurrency=crew.concurrency,
            window=window if isinstance(window, int) else usual,
            retry=policies.retry.limit,
            timeout=None if crew.times_itself else policies.timeout,
            fail_fast=self.config.on_error == "raise",
            patience=policies.patience,
            rates=pace.windows if pace and waits() and not pace.name else (),
            granted=pace is not None and pace.name is not None and waits(),
            adaptive=pace is not None and pace.adaptive and waits(),
            # Without a retry policy an item gets its one call, whatever becomes of the others.
            breaker=_OUTAGE if policies.retry.limit > 1 and waits() else 0,
            hold=parse_size(window) if isinstance(window, str) and self.emits else NEVER,
        )

    def _take_whole(self, items: Any) -> Sequence[Any] | None:
        """Check an input that is at hand, before anything starts."""
        if type(items) is not Grid and type(items) not in _WHOLE and _length(items) is not None:
            items = list(items)
        if type(items) not in _WHOLE:
            return None
        whole: Sequence[Any] = tuple(items) if type(items) is list else items
        if self.key is not None or (not isinstance(whole, range) and uniform_type(whole) is None):
            check = KeyCheck(self.key)
            for item in whole:
                check(item)
        bind_check(self.fetcher, self.decided.params, whole, self.decided.use)
        return whole

    # -- on the caller's thread -----------------------------------------------------------------------------

    def batch_here(self) -> Batch[Any]:
        """Run to the end on this thread."""
        host = self._host()
        # All of it under one handler: between two waits the default one would raise anywhere at all.
        with host.signals, self._started(host), contextlib.suppress(Interrupted):
            host.run()
        return self._outcome(host)

    def results_here(self) -> Iterator[Result[Any]]:
        """Hand out results on this thread."""
        host = self._host()
        record = self.collector.record
        with (
            self._started(host),
            contextlib.suppress(Interrupted),
            contextlib.closing(host.stream()) as stream,
        ):
            for slots in stream:
                for slot in slots:
                    yield record(slot)
        self._outcome(host)

    def _host(self) -> Host:
        inline = self.crew.spec.inline
        intake = self.intake if inline or not self.feeder else None
        return Host(self.source, intake, inline=inline, **self._desk())

    def _desk(self) -> dict[str, Any]:
        return {
            "sink": self.collector.take,
            "tick": self.collector.tick,
            "ordered": self.ordered,
            "emits": self.emits,
            "deadline": self.config.deadline and time.monotonic() + self.config.deadline,
        }

    @contextlib.contextmanager
    def _started(self, host: Host) -> Iterator[None]:
        crew = self.crew
        pool: Any = None
        self.collector.start()
        try:
            with host.signals:
                if self.whole is not None:
                    self.schedule.feed_from(self.whole)
                if not crew.spec.inline:
                    pool = crew.start()
                    self._set_to_work(pool, crew)
                    if self.intake is not None and self.feeder:
                        self.intake.in_thread()
                self._keep_time()
            yield
        finally:
            with host.signals:
                if not self.schedule.finished:
                    self.source.stop()
                    self.source.interrupt()
                    self.source.give_up()
                self.source.close()
                if host.intake is not None:
                    host.intake.let_go()
                if pool is not None:
                    self._leave_interruptibly(pool, host)
                self.collector.finish()

    def _keep_time(self) -> None:
        if self.source.pacer is not None:
            self.source.pacer.start()
        self.source.watch()

    def _leave_interruptibly(self, pool: Any, host: Host) -> None:
        host.signals.raising = True
        try:
            self._leave(pool)
        except KeyboardInterrupt:
            host.signals.count += 1  # a logout that hangs: it is not waited for any longer
        finally:
            host.signals.raising = False

    def _set_to_work(self, pool: Any, crew: Crew) -> None:
        workers = crew.workers
        if self.whole is not None:
            workers = max(1, min(workers, len(self.whole)))
        if isinstance(pool, PullExecutor):
            pool.work(self.source, workers)
        else:
            from fetchline.drive.push import push

            self._pusher = push(
                self.source,
                pool,
                crew.concurrency,
                run_id=self.info.id,
                pickled=crew.spec.needs_pickling,
                renew=crew.start if crew.given is None else None,
            )

    def _leave(self, pool: Any) -> None:
        """Wait for the workers, which close their sessions on leaving; not for those that were given up."""
        wait = not self.source.gave_up
        if self._pusher is not None and self._pusher.thread is not None:
            self._pusher.thread.join(_LEAVE_S if wait else 0.1)
            pool = self._pusher.executor  # another one, if it broke
        if self.crew.given is None:
            # Our own pools have let go of what is stuck; a stranger's would wait for it.
            self._shut_down(pool, wait and (isinstance(pool, PullExecutor) or self.source.abandoned == 0))

    def _shut_down(self, pool: Any, wait: bool) -> None:
        """End a pool of the run's own; sessions close there, and a logout that hangs is not waited for."""
        if not wait or self.program.session is None:
            pool.shutdown(wait=wait)
            return
        ending = threading.Thread(target=pool.shutdown, name="fetchline-ending", daemon=True)
        ending.start()
        ending.join(_LEAVE_S)
        if ending.is_alive():
            _log.warning(
                "run %s: a session of %r did not close within %g s, and is left",
                self.info.id,
                self.fetcher.name,
                _LEAVE_S,
            )

    # -- on the caller's loop -------------------------------------------------------------------------------

    async def batch_on_loop(self) -> Batch[Any]:
        """Run to the end as part of the caller's task."""
        async with contextlib.aclosing(self._slots_on_loop()) as stream:
            async for _ in stream:
                raise AssertionError("a run hands nothing out")
        return self._outcome(None)

    async def results_on_loop(self) -> AsyncIterator[Result[Any]]:
        """Hand out results to the caller's task."""
        record = self.collector.record
        async with contextlib.aclosing(self._slots_on_loop()) as stream:
            async for slots in stream:
                for slot in slots:
                    yield record(slot)
        self._outcome(None)

    async def _slots_on_loop(self) -> AsyncGenerator[Any, None]:
        loop = asyncio.get_running_loop()
        host = LoopHost(self.source, None, gate=LoopGate(loop), **self._desk())
        here = self.crew.spec.on_a_loop and self.fetcher.is_async
        pool: Any = None
        worker = LoopWorker()
        self.collector.start()
        try:
            if self.whole is not None:
                self.schedule.feed_from(self.whole)
            elif self.intake is not None:
                if self.intake.asynchronous:
                    worker.start(self.intake.on_loop(LoopGate(loop)))
                else:
                    self.intake.in_thread()
            if here:
                tasks = self.crew.concurrency
                self.source.aserve(worker, tasks if self.total is None else max(1, min(tasks, self.total)))
            else:
                pool = self.crew.start()
                self._set_to_work(pool, self.crew)
            self._keep_time()
            async with contextlib.aclosing(host.stream()) as stream:
                async for slots in stream:
                    yield slots
        finally:
            # A task that is cancelled a second time leaves at once; what has to be closed is closed all the same.
            await asyncio.shield(asyncio.ensure_future(self._end_on_loop(host, worker, pool)))

    async def _end_on_loop(self, host: LoopHost, worker: LoopWorker, pool: Any) -> None:
        try:
            await host.end()
            self.source.close()
            for task in worker.tasks:
                task.cancel()
            if worker.tasks:
                await asyncio.wait(worker.tasks, timeout=1.0)
            await worker.aclose()
            if pool is not None:
                await asyncio.to_thread(self._leave, pool)
        finally:
            self.source.close()
            self.collector.finish()

    # -- the end --------------------------------------------------------------------------------------------

    def _outcome(self, host: Host | None) -> Batch[Any]:
        batch = self.collector.batch(again=self._again)
        if self.source.bug is not None:
            bug = self.source.bug
            raise BatchError(
                f"the run of {self.fetcher.name!r} broke: {type(bug).__name__}: {bug}", batch
            ) from bug
        summary = batch.summary
        if host is not None and host.signals.count:
            raise self._interrupted()
        if self.intake is not None and self.intake.error is not None:
            error = self.intake.error
            raise InputFailed(
                f"the items for {self.fetcher.name!r} ended with {type(error).__name__}: {error}, after "
                f"{summary.total} of them",
                batch,
            ) from error
        if self.collector.raised is not None:
            failure = self.collector.raised
            raise BatchFailed(
                f"{self.fetcher.name!r} failed for item {failure.index}, key {failure.key!r}: {failure.message}; "
                f"{summary.succeeded} items had succeeded",
                batch,
                failure,
            ) from failure.error
        if self.collector.cancelled:
            raise BatchCancelled(
                f"the run of {self.fetcher.name!r} was cancelled after {summary.succeeded} of {summary.total} items",
                batch,
            )
        return batch

    def _interrupted(self) -> BatchInterrupted:
        batch = self.collector.batch(again=self._again)
        done = batch.summary.total - batch.summary.codes["cancelled"]
        where = "had been handed out" if self.emits else "are in this exception's .batch"
        return BatchInterrupted(
            f"interrupted: {done} of {batch.summary.total} items of {self.fetcher.name!r} are finished; they {where}",
            batch,
        )

    def _again(self, items: list[Any]) -> Batch[Any]:
        config = replace(self.config, executor=self._executor_again())
        return Run(self.fetcher, items, {"config": config}, progress="auto").batch_here()

    def _executor_again(self) -> Any:
        return self.config.executor if self.crew.given is None else self.crew.given


def _length(items: Any) -> int | None:
    try:
        return len(items)
    except TypeError:
        return None
