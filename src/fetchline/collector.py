"""What the host does with every finished item: count, keep, tell, show."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fetchline.batch import Batch
from fetchline.catalog import catalog
from fetchline.columns import Columns, Hit, Reading, Row, to_result
from fetchline.core.groups import BulkSchedule
from fetchline.core.slots import DONE, Slot
from fetchline.interfaces import AttemptInfo, Progress, ProgressBackend, Use, Verdict
from fetchline.results import Failure, Result, Success
from fetchline.rows import StoredColumns
from fetchline.summary import Summary

if TYPE_CHECKING:
    from fetchline.assembly import Run

__all__ = ["Collector"]

_log = logging.getLogger("fetchline")


class Collector:
    """Takes settled slots on the host, in completion order; ``raised`` is what ``on_error="raise"`` met."""

    def __init__(self, run: Run, items: Sequence[Any] | None) -> None:
        self._run = run
        config = run.config
        self.reading = Reading(
            fetcher=run.fetcher.name,
            key=run.key,
            schema=run.fetcher.policies.schema,
            decode=run.fetcher.policies.decode,
            call=_caller(run),
            store=run.store,
        )
        self.hold = None if run.emits else self._hold
        self._key = run.key
        kind = Columns if run.store is None else StoredColumns
        self._columns = None if run.emits else kind(self.reading, items)
        self._observers = catalog().observers(config.plugins) if config.plugins else None
        self._logs = _log.isEnabledFor(logging.DEBUG)
        self.wants_attempts = self._logs or (self._observers is not None and self._observers.wants_attempts)
        self.summary = Summary(
            fetcher=run.fetcher.name, executor=run.crew.name, concurrency=run.crew.concurrency
        )
        self.progress = Progress(total=run.total)
        self._display: ProgressBackend | None = _display(config.progress)
        self._on_progress = config.on_progress
        self._stop_on_failure = config.on_error == "raise"
        self._first_index: dict[str, int] = {}
        self.raised: Failure | None = None
        self.cancelled = False
        self._started = 0.0
        self._shown = 0.0

    # -- the run --------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._started = time.monotonic()
        info = self._run.info
        _log.info(
            "run %s of %r starts: %s items on %s x %d",
            info.id,
            info.fetcher,
            "?" if info.total is None else info.total,
            info.executor,
            info.concurrency,
        )
        if self._observers is not None:
            self._observers.run_started(info)
        if self._display is not None:
            self._display.start(info.total, info.fetcher)
            self._shown = self._started

    def take(self, settled: list[Slot]) -> None:
        """Keep slots."""
        if self._columns is not None:
            self._columns.add(settled)
        summary = self.summary
        summary.total += len(settled)
        ran = 0.0
        troubled = 0
        for slot in settled:
            if slot.troubles is None:
                ran += slot.ended - slot.began
            else:
                troubled += 1
                self._take_troubled(slot)
        plain = len(settled) - troubled
        summary.succeeded += plain
        summary.attempts += plain
        summary.ran_s += ran
        if self._on_progress is not None or (self._observers is not None and self._observers.wants_items):
            self._tell(settled)
        else:
            self.progress.done += len(settled)
        if self.wants_attempts:
            self._tell_attempts()

    def _hold(self, index: int, row: Row) -> None:
        assert isinstance(self._columns, StoredColumns)
        self._columns.hold(index, row)

    def take_hits(self, slots: list[Slot]) -> None:
        """Take slots whose values were in the store before."""
        if isinstance(self._columns, StoredColumns):
            self._columns.add_hits(slots)
        self.summary.total += len(slots)
        self.summary.succeeded += len(slots)
        self.summary.stored += len(slots)
        self.progress.done += len(slots)

    def _take_troubled(self, slot: Slot) -> None:
        summary, verdict = self.summary, slot.verdict
        summary.attempts += slot.attempts
        if slot.attempts:
            summary.ran_s += max(0.0, slot.ended - slot.began)
        if isinstance(slot.value, Hit):
            summary.stored += 1
        else:
            summary.shared += not slot.attempts and slot.state == DONE
        if slot.state == DONE:
            summary.succeeded += 1
            summary.empty += verdict is not None
            return
        assert verdict is not None
        summary.failed += 1
        self.progress.failed += 1
        if slot.index < self._first_index.get(verdict.code, slot.index + 1):
            self._first_index[verdict.code] = slot.index
            summary.first_keys[verdict.code] = self.reading.key_of(slot.item)
        summary.codes[verdict.code] += 1
        if self._stop_on_failure and self.raised is None and not _is_of_the_stop(verdict):
            result = self.record(slot)
            assert isinstance(result, Failure)
            self.raised = result
            self._run.source.stop()  # one whose value could not be stored has stopped nothing yet

    def _tell(self, settled: list[Slot]) -> None:
        for slot in settled:
            self.progress.done += 1
            if isinstance(slot.value, Hit):
                continue
            if self._observers is not None and self._observers.wants_items:
                self._observers.item_finished(self._run.info, self.record(slot))
            if self._on_progress is not None:
                try:
                    self._on_progress(self.progress.done, self.progress.total)
                except BaseException:
                    self._on_progress = None  # it ends the run, and is not asked again while that ends
                    raise

    def _tell_attempts(self) -> None:
        attempts = self._run.source.attempts
        while attempts:
            slot, number, verdict, ran_s = attempts.popleft()
            for one, came_to in _each(slot, verdict):
                self._tell_attempt(one, number, came_to, ran_s)

    def _tell_attempt(self, slot: Slot, number: int, verdict: Verdict | None, ran_s: float) -> None:
        # Made here: the key may be the user's own function.
        attempt = AttemptInfo(self.reading.key_of(slot.item), slot.index, number, verdict, ran_s)
        if self._logs:
            _log.debug(
                "%s: attempt %d of %r ran %.3f s: %s",
                self._run.info.fetcher,
                attempt.number,
                attempt.key,
                attempt.ran_s,
                "success" if attempt.verdict is None else f"{attempt.verdict.kind}, {attempt.verdict.code}",
            )
        if self._observers is not None:
            self._observers.attempt_finished(self._run.info, attempt)

    @property
    def tick(self) -> Callable[[], None] | None:
        """What the host calls a few times a second; None where nobody looks."""
        looked_at = self._display is not None or self._run.feeder or self._run.schedule.limits.breaker > 0
        told = self._on_progress is not None or self._observers is not None
        return self._tick if looked_at or told else None

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._shown < 0.05:
            return
        self._shown = now
        self.look(now)
        self._show()

    def _show(self, *, last: bool = False) -> None:
        """Bring the display up to date; one that raises is closed and not asked again."""
        display = self._display
        if display is None:
            return
        try:
            display.update(self.progress)
            if last:
                display.close()
        except Exception:
            self._display = None
            _log.exception(
                "the progress display %s failed; the run goes on without it", type(display).__name__
            )
            with contextlib.suppress(Exception):
                display.close()

    def look(self, now: float) -> Progress:
        """Bring the progress up to date."""
        schedule, progress = self._run.schedule, self.progress
        if progress.total is None and schedule.closed:
            progress.total = schedule.fed
        self._look_at_traffic(now)
        progress.running = schedule.running
        progress.retrying = schedule.held
        progress.waiting = schedule.waiting
        elapsed = now - self._started
        progress.rate = progress.done / elapsed if elapsed > 0 else 0.0
        if progress.total is not None and progress.rate > 0:
            progress.eta_s = (progress.total - progress.done) / progress.rate
        return progress

    def _look_at_traffic(self, now: float) -> None:
        traffic, progress = self._run.schedule.traffic, self.progress
        if traffic is None:
            return
        allowed, outage = traffic.allowed, traffic.outage
        progress.allowed = int(allowed) if allowed < self.summary.concurrency else None
        progress.cooldown_s = max(0.0, traffic.gate.cool_until - now)
        down = None if outage is None else outage.since
        if down is not None and not progress.outage_s:
            _log.warning(
                "run %s of %r: nobody gets an answer any more; asking one by one whether there is one again, for "
                "%g s at the most",
                self._run.info.id,
                self.summary.fetcher,
                self._run.fetcher.policies.patience,
            )
        if down is None and progress.outage_s:
            _log.info("run %s of %r: answers again", self._run.info.id, self.summary.fetcher)
        progress.outage_s = 0.0 if down is None else max(now - down, 0.001)

    def finish(self) -> None:
        """The run has ended, in whatever way."""
        now = time.monotonic()
        summary, run = self.summary, self._run
        summary.wall_s = now - self._started
        self.look(now)
        traffic = run.schedule.traffic
        if traffic is not None:
            # Of a pause that goes on after the run, only what was waited.
            summary.cooled_s = max(0.0, traffic.cooled_s - self.progress.cooldown_s)
            summary.limited_s = traffic.limited_s
            summary.refused = traffic.refused
            summary.outage_s = traffic.outage_s + self.progress.outage_s
            summary.found = traffic.found
        session = run.program.session
        if session is not None:
            summary.logins, summary.logouts = session.counts.opened, session.counts.closed
        summary.calls = summary.attempts
        if isinstance(run.schedule, BulkSchedule):
            summary.calls, summary.ran_s = run.schedule.calls, run.schedule.ran_s
        summary.retried = run.source.trials
        summary.abandoned = run.source.abandoned
        summary.stopped = run.schedule.stopping
        if self.wants_attempts:
            self._tell_attempts()
        self._show(last=True)
        if self._observers is not None:
            self._observers.run_finished(run.info, summary)
            summary.observer_errors = self._observers.errors
        if summary.failed > summary.codes["cancelled"]:
            _log.warning(
                "run %s of %r: %d of %d items failed: %s",
                run.info.id,
                summary.fetcher,
                summary.failed,
                summary.total,
                summary.failures_by_code,
            )
        _log.info("run %s of %r ended after %.3f s", run.info.id, summary.fetcher, summary.wall_s)

    # -- what comes of it -----------------------------------------------------------------------------------

    def record(self, slot: Slot) -> Result[Any]:
        """Make the record of one slot that users see."""
        if slot.troubles is None:
            item, began = slot.item, slot.began
            key = item if item.__class__ is str and self._key is None else self.reading.key_of(item)
            return Success(slot.value, key, slot.index, item, 1, began - slot.fed, slot.ended - began)
        began = slot.began if slot.attempts else slot.fed
        return to_result(
            self.reading,
            slot.index,
            slot.item,
            slot.value,
            slot.attempts,
            slot.verdict,
            began - slot.fed,
            slot.ended - began if slot.attempts else 0.0,
        )

    def batch(self) -> Batch[Any]:
        columns = self._columns if self._columns is not None else Columns(self.reading, ())
        return Batch(
            columns,
            reading=self.reading,
            summary=self.summary,
            complete=self._run.schedule.stopping is None and (
                self._run.intake is None or self._run.intake.error is None
            ),
            again=self._run.again,
            undo=self._run.undo,
        )  # fmt: skip


def _is_of_the_stop(verdict: Verdict) -> bool:
    return verdict.code in ("cancelled", "deadline") or (
        verdict.kind == "stop" and verdict.code == "unknown_outcome"
    )


def _each(slot: Slot, verdict: Verdict | None) -> Iterator[tuple[Slot, Verdict | None]]:
    """The items of an attempt, and what came of it for each."""
    if not slot.members:
        yield slot, verdict
        return
    misses = slot.value.misses if verdict is None else {}
    for at, member in enumerate(slot.members):
        yield member, misses[at][1] if at in misses else verdict


def _caller(run: Run) -> Callable[[Any], Any]:
    """What ``failure.rerun()`` calls: one plain call, in the caller's thread."""
    fetcher, params = run.fetcher, dict(run.config.params or {})

    def call(item: Any) -> Any:
        from fetchline.items import Args

        once = fetcher.replace(retry=None)
        args, kwargs = (item.args, item.kwargs) if isinstance(item, Args) else ((item,), {})
        if fetcher.policies.bulk is not None:
            args, kwargs = ([item],), {}
        value = once(*args, **{**params, **kwargs})
        return _awaited(value) if fetcher.is_async else value

    return call


def _awaited(coroutine: Any) -> Any:
    """Run a coroutine here; inside a running loop, which cannot wait for itself, it is given to be awaited."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    return coroutine


def _display(progress: Any) -> ProgressBackend | None:
    if progress is None or progress is False or progress == "none":
        return None
    if progress is True:
        progress = "auto"
    if isinstance(progress, str):
        progress = Use(progress)
    if isinstance(progress, Use):
        return catalog().progress(progress.name).factory(**progress.options)
    if isinstance(progress, type):
        progress = progress()
    if not isinstance(progress, ProgressBackend):
        raise TypeError(
            "progress must be a name, fetchline.use(name, ...), None, or an object with start, update and "
            f"close, not {progress!r}"
        )
    return progress
