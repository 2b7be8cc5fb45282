"""``fetchline runs``: runs that were stored."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fetchline.cli.common import Problem, Trouble, common_options
from fetchline.cli.tables import check_target, sink
from fetchline.cli.text import counted, table

if TYPE_CHECKING:
    from fetchline.runs import RunState

__all__ = ["runs", "store_options", "stored_options"]

F = TypeVar("F", bound=Callable[..., Any])
_SHOWN = 10


class _Reuse(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    name = "reuse"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from fetchline.reuse import except_last, fresh

        kind, _, amount = str(value).partition("=")
        if kind in ("successes", "all", "none") and not amount:
            return kind
        if kind not in ("fresh", "except-last"):
            self.fail(f"{value!r} is none of successes, all, none, fresh=1d, except-last=2", param, ctx)
        try:
            return fresh(amount) if kind == "fresh" else except_last(int(amount))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_STORE = (
    click.option(
        "--store",
        metavar="PLACE",
        help="Keep results in a directory or at a URL, and do not fetch what is there; with {names} in it, a "
        "file for each item: 'daily/{symbol}.parquet'.",
    ),
    click.option(
        "--reuse",
        type=_Reuse(),
        metavar="WHICH",
        help="What of the store is used: successes, all, none, fresh=1d, except-last=2.  [default: successes]",
    ),
    click.option(
        "--on-change",
        type=click.Choice(["refuse", "keep", "refetch"]),
        help="If the store is of another version, schema or parameters.  [default: refuse]",
    ),
)


def store_options(command: F) -> F:
    """Add the options that say where results are kept."""
    for option in reversed(_STORE):
        command = option(command)
    return command


def stored_options(options: dict[str, Any]) -> dict[str, Any]:
    """Make a run's options of them."""
    from fetchline.journal.files import Files

    store = options.get("store")
    if store is None:
        unused = [name for name in ("reuse", "on_change") if name in options]
        if unused:
            raise Problem(f"--{unused[0].replace('_', '-')} says what of a store is used: give --store too")
        return options
    return {**options, "store": Files(store) if "{" in store else store}


@click.group()
def runs() -> None:
    """Look at runs that were stored, go on with them, look after them."""


_PLACE = click.argument("store", metavar="STORE")


@runs.command("list")
@click.argument("folder", default=".", type=click.Path(file_okay=False, exists=True))
@common_options
def list_(folder: str) -> None:
    """List the runs in FOLDER and below it."""
    from fetchline.runs import list_runs

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
        for state in list_runs(folder)
    ]
    if rows:
        click.echo(table(("store", "fetcher", "status", "succeeded", "failed", "size", "updated"), rows))
    else:
        click.echo(f"there are no runs in {folder}", err=True)


@runs.command()
@_PLACE
@common_options
@click.pass_context
def show(ctx: click.Context, store: str) -> None:
    """Show how a run stands, and how its failures read."""
    from fetchline.runs import open_run, run_state

    state = run_state(store)
    click.echo(f"{_shown(state.store)}: {state.fetcher}, {state.status}")
    for name, value in _facts(state).items():
        click.echo(f"  {name:<10} {value}")
    seen: set[str] = set()
    for failure in open_run(store).failures if state.failed else ():
        if failure.error_code not in seen and failure.error_code != "cancelled":
            seen.add(failure.error_code)
            click.echo(f"  {failure.error_code:<10} {failure.key}: {failure.message}")
    if state.status == "interrupted" or state.missing or state.failed:
        click.echo(f"fetchline runs resume {shlex.quote(_shown(store))} goes on with it", err=True)


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
@click.option("--executor", metavar="NAME", help="thread, process, asyncio, serial, or a plugin's.")
@click.option("-j", "--workers", type=click.IntRange(min=1), metavar="N", help="Threads or processes.")
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Attempts in flight, at most.")
@click.option("--progress/--no-progress", default=None, help="A bar on a terminal, or log lines; or nothing.")
@common_options
@click.pass_context
def resume(ctx: click.Context, /, store: str, progress: bool | None, **options: Any) -> None:
    """Go on with a run: the same fetcher, parameters and items as the last time.

    Exit codes are those of run. The results stay in the store: export writes them.
    """
    from fetchline.cli.apps import find_fetcher
    from fetchline.cli.ending import Ending, run_batch
    from fetchline.runs import asked_before, run_state

    fetcher = find_fetcher(ctx, run_state(store).fetcher)
    _, items, options = asked_before(store, fetcher, {n: v for n, v in options.items() if v is not None})
    ctx.exit(
        run_batch(
            ctx, fetcher, items, Ending(None, None, "key", _SHOWN, frame=False), progress=progress, **options
        )
    )


@runs.command()
@_PLACE
@click.option("--repair", is_flag=True, help="Put aside what is damaged: the next run fetches it again.")
@common_options
@click.pass_context
def verify(ctx: click.Context, store: str, repair: bool) -> None:
    """Read every file of a run, and see whether it is what was written.

    Exit code 1 if anything is not; with --repair, 0.
    """
    from fetchline.runs import verify

    problems = verify(store, repair=repair)
    for name, what in problems.items():
        click.echo(f"{name} {what}")
    if not problems:
        click.echo("all files are as they were written", err=True)
    elif repair:
        click.echo(
            f"put aside {counted(len(problems), 'file')}; the next run fetches again what was in them",
            err=True,
        )
    ctx.exit(1 if problems and not repair else 0)


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
@common_options
@click.pass_context
def export(ctx: click.Context, store: str, out: str) -> None:
    """Write the rows of a run to OUT: .parquet, .csv, .ndjson or .arrow, the key first.

    Rows come in the order in which they were stored. The fetcher is asked how its bodies are decoded, if they are.
    """
    from fetchline.cli.apps import try_apps
    from fetchline.runs import open_run

    check_target(out, "OUT")
    list(try_apps(ctx))
    batch = open_run(store)
    try:
        rows = batch.scan()
    except (TypeError, ValueError) as error:
        raise Trouble(f"the values make no frame: {error}") from error
    sink(rows, out)
    click.echo(f"wrote {counted(batch.n_succeeded, 'item')} to {out}", err=True)


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
