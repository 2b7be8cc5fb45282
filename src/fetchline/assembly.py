"""One run, put together: fetcher, items, executor, sessions, schedule; started, hosted, and brought to an end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fetchline.batch import Batch
from fetchline.binding import bind_check
from fetchline.collector import Collector
from fetchline.config import BatchConfig
from fetchline.core.groups import BulkSchedule
from fetchline.core.schedule import Schedule
from fetchline.core.slots import Slot
from fetchline.deciding import decide
from fetchline.drive.feed import Intake, KeyCheck
from fetchline.drive.gates import LoopGate
from fetchline.drive.host import Host, Interrupted, LoopHost
from fetchline.drive.source import Source
from fetchline.errors import StoreError
from fetchline.executors import Crew
from fetchline.interfaces import LoopWorker, PullExecutor, RunInfo
from fetchline.items import Grid, are_told_apart, check_items, key_of, uniform_type
from fetchline.keeping import Book, item_text, may_repeat, whole_keys
from fetchline.outcome import outcome
from fetchline.results import Result
from fetchline.stores import RunStore
from fetchline.terms import limits_of, program_of

__all__ = ["Run"]

if TYPE_CHECKING:
    from fetchline.drive.push import Pusher

T = TypeVar("T")
_log = logging.getLogger("fetchline")
_LEAVE_S = 6.5  # longer than our own workers wait for a logout
_HURRY_S = 0.4  # after an interrupt, and where threads are stuck: with 1 s of grace, control is back in 1.5 s
_WHOLE = (list, tuple, range, Grid)


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
        alike: bool = False,
        part: bool = False,
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
        if hasattr(items, "__aiter__") and not on_loop:
            raise TypeError("an async iterable of items needs an event loop: use arun or astream")
        self.total = _length(items)
        config = decided.config
        self.store: RunStore | None = None
        if config.store is not None:
            self.store = RunStore(
                config.store,
                config.reuse,
                config.on_change,
                fetcher=decided.fetcher,
                params=decided.params,
                key=decided.key,
                part=part,  # of the items of a run before
            )
        self.book: Book | None = None
        self.info = RunInfo(
            id=str(uuid.uuid4()),
            fetcher=self.fetcher.name,
            executor=self.crew.name,
            concurrency=self.crew.concurrency,
            total=self.total,
            params=decided.params,
        )
        self._alike = alike  # different items may have equal keys
        self.program = program_of(decided, self.info)
        self.whole = self._take_whole(items)
        self.collector = Collector(self, items=self.whole)
        limits = limits_of(decided, emits=emits)
        # In a thread, where the host must hand out or write while somebody draws.
        self.feeder = feeder or emits or limits.write_ahead
        kind = Schedule if self.fetcher.policies.bulk is None else BulkSchedule
        self.schedule = kind(limits, ordered=ordered, known=None if self.store is None else self.store.known)
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
            self.intake = Intake(self.source, items, self._keyed(check) if limits.dedupe else check)

    def _keyed(self, check: KeyCheck) -> Callable[[Any], tuple[str, Any]]:
        store = self.store
        if store is None:
            return check.keyed

        def keyed(item: Any) -> tuple[str, Any]:
            key, _ = check.keyed(item)
            store.meet(item, key)
            return key, item

        return keyed

    def _take_whole(self, items: Any) -> Sequence[Any] | None:
        """Check an input that is at hand, before anything starts."""
        if type(items) is not Grid and type(items) not in _WHOLE and _length(items) is not None:
            items = list(items)
        if type(items) not in _WHOLE:
            return None
        whole: Sequence[Any] = tuple(items) if type(items) is list else items
        if not self._alike and (
            self.key is not None or not (isinstance(whole, range) or are_told_apart(whole))
        ):
            check = KeyCheck(self.key)
            for item in whole:
                check(item)
        bind_check(self.fetcher, self.decided.params, whole, self.decided.use)
        return whole

    def _keys(self) -> Sequence[Any] | None:
        """What says which items of a whole input are the same; None if nobody asks."""
        whole = self.whole
        if whole is None or self.schedule.limits.dedupe is None:
            return None
        if self.store is not None:
            return whole_keys(whole, self.key)
        if self.key is not None:
            return [self.key(item) for item in whole]
        return whole if uniform_type(whole) is not None else [key_of(item) for item in whole]

    # -- on the caller's thread -----------------------------------------------------------------------------

    def open_store(self) -> None:
        """Take the store, if there is one and it was not taken; it is let go at the end of the run.

        Raises:
            StoreError: it is busy, damaged, of something else, or cannot be read or written.
        """
        if self.store is None or self.book is not None:
            return
        keys = self._keys()
        whole = self.whole or ()
        numbers = self.key is None and uniform_type(whole) is int
        texts = None if numbers else partial(map, item_text, whole, keys or ())
        ledger = self.store.open(self.info, keys, texts)
        assert self.schedule.memos is not None
        self.book = Book(
            ledger,
            self.store.known,
            self.collector.reading,
            self.schedule.memos,
            to_write=self.source.to_write,
            admit=self.source.admit,
            report=self.collector.take,
            report_hits=self.collector.take_hits,
            whole=keys is not None,
            repeats=may_repeat(self.whole, keys),
            stored=self._is_stored,
            hold=self.collector.hold,
            idempotent=self.schedule.limits.idempotent,
        )
        if keys is not None and self.store.meets:
            for item, key in zip(whole, keys, strict=True):
                self.store.meet(item, key)

    def _is_stored(self, slots: list[Slot]) -> None:
        with self.source.lock:
            assert self.schedule.twins is not None
            self.schedule.twins.stored(slots)

    def _close_store(self) -> None:
        if self.book is not None:
            # After an error of the host's own there may be some that it had not come to.
            try:
                self.book.take(self.source.collect(ordered=False, limit=0)[0])
            finally:
                summary = self.collector.summary
                self.book.close(
                    {
                        "stopped": self.schedule.stopping,
                        "total": summary.total,
                        "succeeded": summary.succeeded,
                        "failed": summary.failed,
                    }
                )

    @contextlib.contextmanager
    def _with_batch(self) -> Iterator[None]:
        """An error of the store brings along what was reported."""
        try:
            yield
        except StoreError as error:
            error.batch = self.collector.batch()
            raise

    def batch_here(self) -> Batch[Any]:
        """Run to the end on this thread."""
        self.open_store()
        host = self._host()
        # All of it under one handler: between two waits the default one would raise anywhere at all.
        with self._with_batch(), host.signals, self._started(host), contextlib.suppress(Interrupted):
            host.run()
        return self._outcome(host)

    def results_here(self) -> Iterator[Result[Any]]:
        """Hand out results on this thread."""
        self.open_store()
        host = self._host()
        record = self.collector.record
        with (
            self._with_batch(),
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
            "sink": self.collector.take if self.book is None else self.book.take,
            "book": self.book,
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
                    self.schedule.feed_from(self.whole, self._keys())
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
                try:
                    if pool is not None:
                        self._leave_interruptibly(pool, host)
                    self._close_store()
                finally:
                    self.collector.finish()

    def _keep_time(self) -> None:
        if self.source.pacer is not None:
            self.source.pacer.start()
        self.source.watch()

    def _leave_interruptibly(self, pool: Any, host: Host) -> None:
        host.signals.raising = True
        try:
            self._leave(pool, host.grace_left() + _HURRY_S if host.signals.count else _LEAVE_S)
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

    def _leave(self, pool: Any, patience: float = _LEAVE_S) -> None:
        """Wait for the workers, which close their sessions on leaving; not for those that were given up."""
        if self.source.gave_up:
            # What could be ended and has not has had its time, and its session with it.
            patience = 0.1 if self.crew.spec.can_kill else _HURRY_S
        if self._pusher is not None and self._pusher.thread is not None:
            self._pusher.thread.join(patience)
            pool = self._pusher.executor  # another one, if it broke
        if self.crew.given is None:
            self._shut_down(pool, patience)

    def _shut_down(self, pool: Any, patience: float) -> None:
        """End a pool of the run's own; sessions close there, and a logout that hangs is not waited for."""
        if not isinstance(pool, PullExecutor) and self.source.abandoned:
            pool.shutdown(wait=False)  # our own have let go of what is stuck; a stranger's would wait for it
        elif self.program.session is None:
            pool.shutdown(wait=not self.source.gave_up)
        else:
            ending = threading.Thread(target=pool.shutdown, name="fetchline-ending", daemon=True)
            ending.start()
            ending.join(patience)
            if ending.is_alive():
                _log.warning(
                    "run %s: a session of %r did not close within %g s, and is left",
                    self.info.id,
                    self.fetcher.name,
                    patience,
                )

    # -- on the caller's loop -------------------------------------------------------------------------------

    async def batch_on_loop(self) -> Batch[Any]:
        """Run to the end as part of the caller's task."""
        with self._with_batch():
            async with contextlib.aclosing(self._slots_on_loop()) as stream:
                async for _ in stream:
                    raise AssertionError("a run hands nothing out")
        return self._outcome(None)

    async def results_on_loop(self) -> AsyncIterator[Result[Any]]:
        """Hand out results to the caller's task."""
        record = self.collector.record
        with self._with_batch():
            async with contextlib.aclosing(self._slots_on_loop()) as stream:
                async for slots in stream:
                    for slot in slots:
                        yield record(slot)
        self._outcome(None)

    async def _slots_on_loop(self) -> AsyncGenerator[Any, None]:
        loop = asyncio.get_running_loop()
        clerk: ThreadPoolExecutor | None = None
        if self.store is not None:
            clerk = ThreadPoolExecutor(1, "fetchline-store")  # the loop must not wait for a disk or a network
            await self._open_store_on(clerk)
        host = LoopHost(self.source, None, gate=LoopGate(loop), clerk=clerk, **self._desk())
        here = self.crew.spec.on_a_loop and self.fetcher.is_async
        pool: Any = None
        worker = LoopWorker()
        self.collector.start()
        try:
            if self.whole is not None:
                self.schedule.feed_from(self.whole, self._keys())
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
            again = isinstance(sys.exception(), asyncio.CancelledError)
            ending = asyncio.ensure_future(self._end_on_loop(host, worker, pool, clerk))
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                if not again:
                    await asyncio.shield(ending)
                raise

    async def _open_store_on(self, clerk: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(clerk, self.open_store)
        except BaseException:
            # Whoever was cancelled has it opened all the same.
            self.source.stop()
            await asyncio.shield(loop.run_in_executor(clerk, self._close_store))
            clerk.shutdown(wait=False)
            raise

    async def _end_on_loop(
        self, host: LoopHost, worker: LoopWorker, pool: Any, clerk: ThreadPoolExecutor | None
    ) -> None:
        try:
            # A process that is ended in the middle of an attempt does not log out.
            await host.end(at_once=self.program.session is None or not self.crew.spec.piped)
        except BaseException:
            self.source.give_up()  # nobody takes their answers any more
            raise
        finally:
            self.source.close()
            try:
                for task in worker.tasks:
                    task.cancel()
                if worker.tasks:
                    await asyncio.wait(worker.tasks, timeout=1.0)
                await worker.aclose()
                if pool is not None:
                    await asyncio.to_thread(self._leave, pool)
                if clerk is not None:
                    await asyncio.get_running_loop().run_in_executor(clerk, self._close_store)
            finally:
                if clerk is not None:
                    clerk.shutdown(wait=False)
                self.collector.finish()

    # -- the end --------------------------------------------------------------------------------------------

    def _outcome(self, host: Host | None) -> Batch[Any]:
        return outcome(self, interrupted=host is not None and host.signals.count > 0)

    def again(self, items: list[Any]) -> Batch[Any]:
        """Run some items once more, with the same options."""
        # What failed once may again: that is told with the rest, not raised in their place.
        config = replace(self._config_again(), on_error="collect")
        return Run(self.fetcher, items, {"config": config}, progress="auto", part=True).batch_here()

    def undo(self, results: Sequence[Result[Any]], undone: set[int], options: dict[str, Any]) -> Batch[Any]:
        """Undo the successes among some results."""
        from fetchline.undo import undo

        return undo(self.fetcher, results, undone, self._config_again(), self.key, options)

    def _config_again(self) -> BatchConfig:
        executor = self.config.executor if self.crew.given is None else self.crew.given
        return replace(self.config, executor=executor)


def _length(items: Any) -> int | None:
    try:
        return len(items)
    except TypeError:
        return None
