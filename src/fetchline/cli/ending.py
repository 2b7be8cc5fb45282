"""What ``fetchline run`` does around a batch: start it, end it in whatever way, write and print it."""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fetchline.cli.common import Problem, Trouble
from fetchline.cli.logs import log_at
from fetchline.cli.misfits import join_most, join_plain
from fetchline.cli.signals import Signals
from fetchline.cli.streams import printing_to_standard_error
from fetchline.cli.tables import check_target, write
from fetchline.cli.text import columns, fitted, one_line
from fetchline.errors import (
    BatchCancelled,
    BatchError,
    BatchFailed,
    BatchInterrupted,
    StoredError,
    StoreError,
)
from fetchline.items import Grid
from fetchline.summary import counted

if TYPE_CHECKING:
    import polars as pl

    from fetchline.batch import Batch
    from fetchline.fetchers import Fetcher
    from fetchline.results import Failure

__all__ = ["Ending", "key_of_option", "run_batch", "table_of_failures"]


def run_batch(
    ctx: click.Context,
    fetcher: Fetcher[Any, Any, Any],
    items: Sequence[Any],
    ending: Ending,
    *,
    progress: bool | None,
    **options: Any,
) -> int:
    """Run a batch and bring it to its end; give the exit code."""
    from fetchline.runner import run

    if progress is not None:
        options["progress"] = _display() if progress else None
    log_at(None, ctx, progress=progress is True)
    with Signals() as signals:
        try:
            with ending.quiet():
                batch = run(fetcher, items, **options)
        except BatchInterrupted as stop:
            ending.take(stop.batch)
            click.echo(_stopped(stop.batch, signals), err=True)
            return signals.exit_code
        except BatchError as stop:
            batch = stop.batch
            if not isinstance(stop, BatchFailed | BatchCancelled):
                click.echo(f"fetchline: the run broke: {one_line(str(stop.__cause__ or stop))}", err=True)
        except StoreError as stop:
            if stop.batch is None:  # nothing was started
                raise
            batch = stop.batch
            click.echo(f"fetchline: {one_line(str(stop))}", err=True)
        except KeyboardInterrupt:
            if signals.exit_code == 130:
                raise
            click.echo("fetchline: terminated before anything was finished", err=True)
            return signals.exit_code
        except (TypeError, ValueError) as error:
            raise Problem(str(error)) from error
        try:
            misfits = ending.take(batch)
        except StoreError as error:  # a value that is read only now
            click.echo(f"fetchline: {one_line(str(error))}", err=True)
            return 1
    return 1 if batch.n_failed or misfits or not batch.complete else 0


def _display() -> Any:
    """What ``--progress`` shows: the display of the settings, unless that is none."""
    from fetchline.config import settings

    return settings().get("progress", "none").replace("none", "auto")


def key_of_option(text: str) -> str | tuple[str, ...] | None:
    """Make what ``frame(key=)`` takes of ``--key-column``."""
    names = tuple(name.strip() for name in text.split(","))
    return None if text == "none" else names if len(names) > 1 else text


class Ending:
    """Where a batch goes.

    Args:
        out: the file of the frame; None prints it, ``-`` writes CSV to standard output.
        failures: the file of the failures, which is written if there are none, too.
        key_column: a name, ``none``, or the names of a grid's axes separated by commas.
        limit: rows and failures to print.
        frame: whether a frame is made of it.
    """

    def __init__(
        self, out: str | None, failures: str | None, key_column: str, limit: int, *, frame: bool = True
    ) -> None:
        self._makes_frame = frame
        self._out = out
        self._failures = failures
        self._key = key_of_option(key_column)
        self._limit = limit

    def check(self, items: Sequence[Any]) -> None:
        """Refuse what could not be done at the end."""
        if self._out is not None and self._out != "-":
            check_target(self._out, "--out")
        if self._failures is not None:
            check_target(self._failures, "--failures")
        if isinstance(self._key, tuple):
            axes = items.axes if isinstance(items, Grid) else {}
            unknown = [name for name in self._key if name not in axes]
            if unknown:
                raise Problem(f"--key-column names {unknown[0]!r}, which is no axis of --grid")

    def quiet(self) -> contextlib.AbstractContextManager[None]:
        """While CSV goes to standard output, keep out what fetchers print."""
        return printing_to_standard_error() if self._out == "-" else contextlib.nullcontext()

    def take(self, batch: Batch[Any]) -> int:
        """Write, then print, then say what became of it all; how many values did not fit the others.

        Raises:
            Trouble: the values make no frame, or a file cannot be written.
        """
        wrote: list[str] = []
        misfits: list[Failure] = []
        try:
            if self._makes_frame and (batch.n_succeeded or (not len(batch) and batch.complete)):
                frame, misfits = self._frame(batch)
                if self._out is None:
                    self._print(frame)
                else:
                    self._write(frame, self._out)
                    if self._out != "-":
                        wrote.append(f"{counted(frame.height, 'row')} to {self._out}")
            elif self._out is not None:
                click.echo(f"no item succeeded, so {self._out} is not written", err=True)
        finally:
            failures = [*batch.failures, *misfits]
            if self._failures is not None:
                write(table_of_failures(failures), self._failures)
                wrote.append(f"{counted(len(failures), 'failure')} to {self._failures}")
            self._tell(batch, failures, wrote)
        return len(misfits)

    def _frame(self, batch: Batch[Any]) -> tuple[pl.DataFrame, list[Failure]]:
        """Join the values; those that do not fit most of the others become failures, not the end of all."""
        try:
            return batch.frame(key=self._key), []
        except (TypeError, ValueError) as error:
            try:
                plain = join_plain(batch, self._key)
                if plain is not None:
                    return plain, []
                frame, misfits = join_most(batch, self._key)
            except (TypeError, ValueError) as again:
                raise Trouble(f"the values make no frame: {again}") from error
            if not misfits:
                raise Trouble(f"the values make no frame: {error}") from error
            return frame, misfits

    def _write(self, frame: pl.DataFrame, out: str) -> None:
        """Write what was fetched; where the file cannot hold it, beside it, so that it is not lost."""
        try:
            write(frame, out)
        except Trouble as trouble:
            spare = Path(out).with_suffix(".parquet")
            if out == "-" or spare.exists():
                raise
            try:
                write(frame, str(spare))
            except Trouble:
                raise trouble from trouble.__cause__
            raise Trouble(f"{trouble.message}. What was fetched is in {spare}") from trouble

    def _print(self, frame: pl.DataFrame) -> None:
        if not self._limit:
            return
        import polars as pl

        width = columns(sys.stdout) or 100
        with pl.Config(tbl_rows=self._limit, tbl_width_chars=width, tbl_cols=-1):
            click.echo(str(frame))

    def _tell(self, batch: Batch[Any], failures: list[Failure], wrote: list[str]) -> None:
        width = columns(sys.stderr)
        for line in str(batch.summary).splitlines():
            wrapped = [line] if width is None else textwrap.wrap(line, width, subsequent_indent=" " * 12)
            click.echo("\n".join(wrapped), err=True)
        shown = 0
        for failure in failures:
            if failure.error_code == "cancelled":
                continue
            if shown == self._limit:
                click.echo("  ...", err=True)
                break
            shown += 1
            how = f"after {counted(failure.attempts, 'attempt')}" if failure.attempts else "before it started"
            if isinstance(failure.error, StoredError):
                how = "stored before"
            line = f"  {failure.key}: {failure.error_code} {how}: {one_line(failure.message)}"
            click.echo(fitted(line, width), err=True)
        if wrote:
            click.echo(f"wrote {', '.join(wrote)}", err=True)


def _stopped(batch: Batch[Any], signals: Signals) -> str:
    done = len(batch) - batch.summary.codes["cancelled"]
    how = "interrupted" if signals.exit_code == 130 else "terminated"
    return f"fetchline: {how} after {done:,} of {counted(len(batch), 'item')}"


def table_of_failures(failures: Sequence[Failure]) -> pl.DataFrame:
    """A row for each failed item."""
    import polars as pl

    rows = [
        (
            failure.key,
            failure.index,
            failure.error_code,
            failure.attempts,
            failure.message,
            repr(failure.item),
        )
        for failure in failures
    ]
    schema = {
        "key": pl.String,
        "index": pl.Int64,
        "error_code": pl.String,
        "attempts": pl.Int64,
        "error": pl.String,
        "item": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
