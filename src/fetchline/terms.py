"""What the schedule and the workers of a run keep to, of what was decided."""

from __future__ import annotations

from fetchline.bulk import Bulk
from fetchline.catalog import catalog
from fetchline.config import BatchConfig
from fetchline.core.limits import NEVER, Dedupe, Limits
from fetchline.deciding import Decided
from fetchline.fetchers import Policies
from fetchline.interfaces import RunInfo
from fetchline.journal.files import Files
from fetchline.sizes import parse_size
from fetchline.verdict import Judge
from fetchline.waiting import waits
from fetchline.worker.answers import Shape
from fetchline.worker.attempt import Program

__all__ = ["limits_of", "program_of"]

# Items in a row without an answer: fewer may be at fault themselves.
_OUTAGE = 10


def program_of(decided: Decided, run: RunInfo) -> Program:
    """What a worker needs to make the attempts of a run."""
    policies, use, plugins = decided.fetcher.policies, decided.use, decided.config.plugins
    return Program(
        function=decided.fetcher.function,
        reference=decided.fetcher,
        name=decided.fetcher.name,
        judge=Judge(policies.retry, use.spec if use else None, policies.idempotent, policies.patience),
        version=policies.version,
        params=decided.params,
        session=use,
        middleware=catalog().middleware(plugins, run) if plugins else (),
        timeout=policies.timeout,
        key=decided.key,
        shape=_shape(policies),
    )


def _shape(policies: Policies) -> Shape | None:
    # Bodies that are parsed later have no columns yet.
    schema = policies.schema if policies.decode is None else None
    shape = Shape(policies.bulk is not None, policies.check, policies.key_column, schema)
    return None if shape == Shape() else shape


def limits_of(decided: Decided, *, emits: bool) -> Limits:
    """What a run's schedule keeps to; ``emits``: its results are handed out as it goes on."""
    policies, crew, config = decided.fetcher.policies, decided.crew, decided.config
    pace = policies.pace
    # A batch keeps every result anyway: its window only spares the host's time.
    bulk = policies.bulk or Bulk(1)
    usual = max(1024 if emits else 1 << 16, 10 * crew.concurrency, 2 * crew.concurrency * bulk.size)
    window = config.window
    return Limits(
        concurrency=crew.concurrency,
        window=window if isinstance(window, int) else usual,
        retry=policies.retry.limit,
        timeout=policies.timeout,
        timed=not crew.times_itself,
        fail_fast=config.on_error == "raise",
        patience=policies.patience,
        rates=pace.windows if pace and waits() and not pace.name else (),
        granted=pace is not None and pace.name is not None and waits(),
        adaptive=pace is not None and pace.adaptive and waits(),
        # Without a retry policy an item gets its one call, whatever becomes of the others.
        breaker=_OUTAGE if policies.retry.limit > 1 and waits() else 0,
        hold=parse_size(window) if isinstance(window, str) and emits else NEVER,
        dedupe=_dedupe(config, emits),
        bulk=bulk.size,
        linger=bulk.linger if waits() else 0.0,
        idempotent=policies.idempotent,
        # Files have no log to write it in.
        write_ahead=not (policies.idempotent or config.store is None or isinstance(config.store, Files)),
    )


def _dedupe(config: BatchConfig, emits: bool) -> Dedupe | None:
    if config.store is not None:
        return "store"
    if not config.dedupe:
        return None
    return "window" if emits else "run"
