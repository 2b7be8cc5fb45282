"""``fetchline runs``: runs that were stored."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fetchline.cli.common import Common, Problem, Trouble, common_options
from fetchline.cli.options import crew_options, file_options, kept_options, progress_option
from fetchline.cli.tables import SUFFIXES, check_target, sink, write
from fetchline.cli.text import one_line, table
from fetchline.summary import counted

if TYPE_CHECKING:
    from fetchline.runs import RunState

__all__ = ["runs"]

_SHOWN = 10


@click.group(invoke_without_command=True)
@click.pass_context
def runs(ctx: click.Context) -> None:
    """Look at runs that were stored, go on with them, look after them."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


_PLACE = click.argument("store", metavar="STORE")


@runs.command("list")
@click.argument("folder", default=".", type=click.Path(file_okay=False, exists=True))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
@common_options
@click.pass_context
def list_(ctx: click.Context, folder: str, as_json: bool) -> None:
    """List the runs in FOLDER and below it.

    Exit code 1 if one of them cannot be read: it is named on standard error.
    """
    from fetchline.errors import StoreError
    from fetchline.runs import run_places, run_state

    states: list[RunState] = []
    problems: list[StoreError] = []
    for place in run_places(folder):
        try:
            states.append(run_state(place))
        except StoreError as error:
            problems.append(error)
    if as_json:
        for state in states:
            click.echo(_json(state))
    elif states:
        click.echo(_table(states))
    elif not problems:
        click.echo(f"there are no runs in {folder}", err=True)
    for problem in problems:
        click.echo(f"fetchline: {one_line(str(problem))}", err=True)
    ctx.exit(1 if problems else 0)


def _table(states: list[RunState]) -> str:
    rows = [
        (
            _shown(state.store),
            state.fetcher,
            state.status,
            f"{state.succeeded:,}" + (f" of {state.total:,}" if state.total is not None else ""),
            f"{state.failed:,}",
            _size(state.size),
            _time(state.updated),
        )
        for state in states
    ]
    return table(("store", "fetcher", "status", "succeeded", "failed", "size", "updated"), rows)


def _json(state: RunState) -> str:
    facts = {one.name: getattr(state, one.name) for one in dataclasses.fields(state)}
    facts["missing"] = state.missing
    return json.dumps(facts, default=datetime.isoformat)


@runs.command()
@_PLACE
@click.option(
    "--json", "as_json", is_flag=True, help="How it stands as one JSON object, as list --json has it."
)
@click.option("--failures", metavar="FILE", type=click.Path(), help="Write a row for each failed item.")
@common_options
@click.pass_context
def show(ctx: click.Context, store: str, as_json: bool, failures: str | None) -> None:
    """Show how a run stands, and how its failures read."""
    from fetchline.cli.ending import table_of_failures
    from fetchline.runs import open_run, run_state

    if failures is not None:
        check_target(failures, "--failures")
    state = run_state(store)
    if failures is not None:
        failed = [one for one in open_run(store).failures if one.error_code != "cancelled"]
        write(table_of_failures(failed), failures)
        click.echo(f"wrote {counted(len(failed), 'failure')} to {failures}", err=True)
    if as_json:
        click.echo(_json(state))
        return
    click.echo(f"{_shown(state.store)}: {state.fetcher}, {state.status}")
    for name, value in _facts(state).items():
        click.echo(f"  {name:<10} {value}")
    seen: set[str] = set()
    for failure in open_run(store).failures if state.failed else ():
        if failure.error_code not in seen and failure.error_code != "cancelled":
            seen.add(failure.error_code)
            click.echo(f"  {failure.error_code:<10} {failure.key}: {failure.message}")
    if state.status != "running" and (state.status == "interrupted" or state.missing or state.failed):
        apps = [f"--app {shlex.quote(app)}" for app in ctx.ensure_object(Common).apps]
        again = " ".join(["fetchline", *apps, "runs resume", shlex.quote(_shown(store))])
        click.echo(f"{again} goes on with it", err=True)


def _facts(state: RunState) -> dict[str, str]:
    facts = {
        "succeeded": f"{state.succeeded:,}" + (f" of {state.total:,}" if state.total is not None else "")
    }
    if state.failed:
        codes = ", ".join(f"{count:,} {code}" for code, count in state.codes.most_common(_SHOWN))
        facts["failed"] = f"{state.failed:,}: {codes}"
    if state.missing:
        facts["missing"] = f"{state.missing:,}"
    facts["values"] = f"{counted(state.rows, 'row')} in {_size(state.size)}"
    if state.params:
        facts["params"] = ", ".join(f"{name}={text}" for name, text in state.params.items())
    facts["version"] = state.version
    facts["started"], facts["updated"] = _time(state.started), _time(state.updated)
    return facts


@runs.command()
@_PLACE
@crew_options
@progress_option
@file_options
@kept_options
@common_options
@click.pass_context
def resume(
    ctx: click.Context,
    /,
    store: str,
    progress: bool | None,
    out: str | None,
    failures: str | None,
    **options: Any,
) -> None:
    """Go on with a run: the same fetcher, parameters and items as the last time.

    Exit codes are those of run. The results stay in the store; export writes them in the order they came.
    """
    from fetchline.cli.apps import find_fetcher
    from fetchline.cli.ending import Ending, run_batch
    from fetchline.runs import asked_before, run_state

    fetcher = find_fetcher(ctx, run_state(store).fetcher)
    _, items, options = asked_before(store, fetcher, {n: v for n, v in options.items() if v is not None})
    ending = Ending(out, failures, "key", _SHOWN, frame=out is not None)
    ending.check(items)
    ctx.exit(run_batch(ctx, fetcher, items, ending, progress=progress, **options))


@runs.command()
@_PLACE
@click.option("--repair", is_flag=True, help="Put aside what is damaged: the next run fetches it again.")
@common_options
@click.pass_context
def verify(ctx: click.Context, store: str, repair: bool) -> None:
    """Read every file of a run, and see whether it is what was written.

    Exit code 1 if anything is not; with --repair, 0.
    """
    from fetchline.errors import StoreDamaged, StoreError
    from fetchline.runs import run_state, verify

    with contextlib.suppress(StoreDamaged):
        run_state(store)  # where there is none, nothing is damaged either
    problems = verify(store, repair=repair)
    for name, what in problems.items():
        click.echo(f"{name} {what}")
    if not problems:
        click.echo("all files are as they were written", err=True)
    elif repair:
        said = f"put aside {counted(len(problems), 'file')}; the next run fetches again what was there"
        with contextlib.suppress(StoreError):  # nothing may be left of it
            state = run_state(store)
            if state.missing:
                said += f": {counted(state.missing, 'item')} without an outcome now"
            if unknown := state.codes["unknown_outcome"]:
                said += f"; {counted(unknown, 'write')} of unknown outcome now: they are not sent again"
        click.echo(said, err=True)
    ctx.exit(1 if problems and not repair else 0)


@runs.command()
@_PLACE
@click.option(
    "--sent",
    metavar="KEY|@FILE",
    multiple=True,
    help="One that has arrived, or a file with one in each line; may be repeated.",
)
@click.option(
    "--not-sent",
    metavar="KEY|@FILE",
    multiple=True,
    help="The same of those that have not: the next run sends them.",
)
@common_options
def settle(store: str, sent: tuple[str, ...], not_sent: tuple[str, ...]) -> None:
    """Say what became of writes of unknown outcome, after a look on the other side.

    Those that have arrived count as done, without a value; in Python, settle() takes values too.
    """
    from fetchline.errors import StoreError
    from fetchline.runs import settle

    arrived, missing = _keys_of(sent), _keys_of(not_sent)
    if not arrived and not missing:
        raise Problem(
            f"nothing is said: give --sent or --not-sent; fetchline runs show {shlex.quote(store)} --failures FILE "
            "lists what is unknown"
        )
    try:
        settle(store, sent=arrived, not_sent=missing)
    except ValueError as error:
        if isinstance(error, StoreError):
            raise
        raise Problem(str(error)) from error
    click.echo(f"settled {counted(len({*arrived, *missing}), 'write')}", err=True)


def _keys_of(texts: Sequence[str]) -> list[str]:
    from fetchline.cli.sources import read_lines

    return [key for text in texts for key in (read_lines(text[1:]) if text.startswith("@") else [text])]


@runs.command()
@_PLACE
@common_options
def compact(store: str) -> None:
    """Put the values of a run into few files, and its log into one record."""
    from fetchline.runs import compact, run_state

    before = run_state(store)
    compact(store)
    click.echo(f"{_size(before.size)} before, {_size(run_state(store).size)} now", err=True)


@runs.command()
@_PLACE
@click.argument("out", type=click.Path(dir_okay=False))
@click.option(
    "--format",
    "suffix",
    type=click.Choice([suffix[1:] for suffix in SUFFIXES]),
    help="Of OUT, whatever its suffix.",
)
@click.option(
    "--key-column",
    metavar="NAME|none",
    default="key",
    show_default=True,
    help="The column that says which item a row is of; with another one the rows are held in memory.",
)
@common_options
@click.pass_context
def export(ctx: click.Context, store: str, out: str, suffix: str | None, key_column: str) -> None:
    """Write the rows of a run to OUT: .parquet, .csv, .ndjson or .arrow, the key first; - prints them as CSV.

    Rows come in the order in which they were stored. The fetcher is asked how its bodies are decoded, if they are.
    """
    from fetchline.cli.apps import try_apps
    from fetchline.cli.ending import key_of_option
    from fetchline.cli.misfits import join_plain
    from fetchline.errors import BatchFailed, StoreError
    from fetchline.runs import open_run

    form = None if suffix is None else SUFFIXES[f".{suffix}"]
    if out != "-":
        check_target(out, "OUT", form)
    elif form not in (None, "csv"):
        raise Problem("- is CSV on standard output; give a file for another format")
    for problem in try_apps(ctx):  # most runs can be read without them
        click.echo(f"fetchline: {one_line(problem.message)}", err=True)
    batch, key = open_run(store), key_of_option(key_column)
    try:
        try:
            rows = batch.scan() if key_column == "key" else batch.frame(key=key).lazy()
        except (TypeError, ValueError):
            plain = join_plain(batch, key)
            if plain is None:
                raise
            rows = plain.lazy()
    except BatchFailed as error:
        raise Trouble(f"no item succeeded, so {out} is not written") from error
    except (TypeError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise Trouble(f"the values make no frame: {error}{_who_knows(batch.summary.fetcher)}") from error
    sink(rows, out, form)
    if out != "-":
        click.echo(f"wrote {counted(batch.n_succeeded, 'item')} to {out}", err=True)


def _who_knows(name: str) -> str:
    """Where a fetcher is not known, nobody says how its bodies are decoded."""
    from fetchline.errors import UnknownName
    from fetchline.registry import default

    try:
        default[name]
    except (UnknownName, ImportError):
        return f"; {name} may say so: name its module, --app module"
    return ""


def _shown(store: str) -> str:
    """A place as one would write it: below the working directory, without it."""
    path = Path(store)
    if "://" in store or not path.is_absolute() or not path.is_relative_to(Path.cwd()):
        return store
    return path.relative_to(Path.cwd()).as_posix()


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _time(at: datetime | None) -> str:
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
