"""What a run came to, for the one who called it: its batch, or the error that brings it along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fetchline.errors import BatchCancelled, BatchError, BatchFailed, BatchInterrupted, InputFailed
from fetchline.summary import counted

if TYPE_CHECKING:
    from fetchline.assembly import Run
    from fetchline.batch import Batch

__all__ = ["outcome"]


def outcome(run: Run, *, interrupted: bool) -> Batch[Any]:
    """Give the batch of a run that has ended.

    Raises:
        BatchError: it was interrupted or cancelled, its input or an item failed, or it broke; with the batch.
    """
    batch, name, source = run.collector.batch(), run.fetcher.name, run.source
    summary = batch.summary
    if source.bug is not None:
        bug = source.bug
        raise BatchError(
            f"the run of {name!r} broke: {type(bug).__name__}: {bug} (what was finished is in its .batch)",
            batch,
        ) from bug
    if interrupted:
        done = summary.total - summary.codes["cancelled"]
        where = "had been handed out" if run.emits else "are in this exception's .batch"
        if run.book is not None:
            where += ", and in the store: the same call goes on"
        raise BatchInterrupted(
            f"interrupted: {done} of {summary.total} items of {name!r} are finished; they {where}", batch
        )
    if run.intake is not None and run.intake.error is not None:
        error = run.intake.error
        raise InputFailed(
            f"the items for {name!r} ended with {type(error).__name__}: {error}, after {summary.total} of them",
            batch,
        ) from error
    failure = run.collector.raised
    if failure is not None:
        raise BatchFailed(
            f"{name!r} failed for item {failure.index}, key {failure.key!r}: {failure.message}; "
            f"{counted(summary.succeeded, 'item')} had succeeded",
            batch,
            failure,
        ) from failure.error
    if run.collector.cancelled:
        raise BatchCancelled(
            f"the run of {name!r} was cancelled after {summary.succeeded} of {summary.total} items", batch
        )
    return batch
