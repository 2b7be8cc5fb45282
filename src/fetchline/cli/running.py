"""``fetchline run`` and ``fetchline plan``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from fetchline.cli.common import Problem, common_options
from fetchline.cli.completion import fetcher_names
from fetchline.cli.options import (
    crew_options,
    file_options,
    progress_option,
    store_options,
    stored_options,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fetchline.fetchers import Fetcher

__all__ = ["plan", "run"]

Command: TypeAlias = Callable[..., None]

_WHAT = (
    click.argument("name", shell_complete=fetcher_names),
    click.argument("items", nargs=-1),
    click.option(
        "--from", "lines", metavar="FILE", help="Items from a file, one a line; - is standard input."
    ),
    click.option(
        "--column", metavar="FILE:COLUMN", help="Items from a column of a .csv, .parquet, ... file."
    ),
    click.option(
        "--grid",
        is_flag=True,
        help="ITEMS are axes, and every combination is an item: symbol=A,B symbol=@symbols.txt "
        "period=2024-Q1:2024-Q4.",
    ),
    click.option(
        "-p", "--param", "params", metavar="NAME=VALUE", multiple=True, help="The same for every item."
    ),
    crew_options,
    click.option("--dedupe", is_flag=True, default=None, help="Fetch equal items once."),
    common_options,
)


def _over_items(command: Command) -> Command:
    """Give a command the arguments that say what to run, and call it with what they come to.

    It takes the context, the fetcher, the items and the params, then its own options; one that was not
    given is left to the settings. A command that has a ``refused`` gets the items that do not convert in it.
    """
    lists = "refused" in inspect.signature(command).parameters

    @functools.wraps(command)
    def called(
        ctx: click.Context,
        /,
        name: str,
        items: tuple[str, ...],
        lines: str | None,
        column: str | None,
        grid: bool,
        params: tuple[str, ...],
        **options: Any,
    ) -> None:
        from fetchline.cli.apps import find_fetcher
        from fetchline.cli.parameters import Parameters
        from fetchline.cli.sources import gather
        from fetchline.items import Grid

        fetcher = find_fetcher(ctx, name)
        parameters = Parameters(fetcher)
        given = parameters.params(params)
        refused: list[tuple[Any, str]] | None = [] if lists else None
        chosen = gather(parameters, items, lines, column, grid, refused)
        if refused is not None:
            options["refused"] = refused
        axes = list(chosen.axes) if isinstance(chosen, Grid) else [parameters.first]
        twice = [axis for axis in axes if axis in given]
        if twice:
            raise Problem(f"{twice[0]!r} is given by the items and by -p {twice[0]}=; leave one out")
        parameters.check_complete([*given, *(axis for axis in axes if axis is not None)])
        said = stored_options({name: value for name, value in options.items() if value is not None})
        command(ctx, fetcher, chosen, given, **said)

    told: Command = click.pass_context(store_options(called))
    for option in reversed(_WHAT):
        told = option(told)
    return told


class _Seconds(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
        try:
            seconds = float(text[:-1] if unit else text) * (unit or 1)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{text!r} is no time such as 90, 90s, 15m or 2h", param, ctx)
        return seconds


@click.command()
@_over_items
@progress_option
@click.option(
    "--on-error",
    type=click.Choice(["collect", "raise"]),
    help="Go on after a failure, or stop at the first.  [default: collect]",
)
@click.option("--deadline", type=_Seconds(), metavar="TIME", help="Stop after 90, 90s, 15m or 2h.")
@click.option(
    "--key-column",
    metavar="NAME|none",
    default="key",
    show_default=True,
    help="The column that says which item a row is of; symbol,period takes a grid's axes apart.",
)
@file_options
@click.option(
    "--limit-print",
    type=click.IntRange(min=0),
    metavar="N",
    default=10,
    show_default=True,
    help="Rows and failures to print.",
)
def run(
    ctx: click.Context,
    fetcher: Fetcher[Any, Any, Any],
    items: Sequence[Any],
    params: dict[str, Any],
    /,
    key_column: str,
    limit_print: int,
    out: str | None = None,
    failures: str | None = None,
    progress: bool | None = None,
    **options: Any,
) -> None:
    """Run the fetcher NAME over ITEMS, and print or write one frame.

    ITEMS and parameters are converted by the annotations of the function. Without --out the frame is printed;
    the summary goes to standard error.

    \b
    Exit codes: 0  all went well
                1  some items failed, the good ones are written
                2  wrong usage, nothing was started
              130  stopped by Ctrl-C (143: by SIGTERM), what was finished is written
    """
    from fetchline.cli.ending import Ending, run_batch

    ending = Ending(out, failures, key_column, limit_print)
    ending.check(items)
    ctx.exit(run_batch(ctx, fetcher, items, ending, progress=progress, params=params, **options))


@click.command()
@_over_items
@click.option(
    "--call-time", "call_s", type=_Seconds(), metavar="TIME", help="Say how long it takes if a call does."
)
def plan(
    ctx: click.Context,
    fetcher: Fetcher[Any, Any, Any],
    items: Sequence[Any],
    params: dict[str, Any],
    /,
    refused: list[tuple[Any, str]],
    call_s: float | None = None,
    **options: Any,
) -> None:
    """Say what run would do with the same arguments; nothing is called."""
    from fetchline.errors import StoreError
    from fetchline.planner import plan

    try:
        planned = plan(fetcher, items, params=params, **options)
    except StoreError:
        raise
    except (TypeError, ValueError) as error:
        raise Problem(str(error)) from error
    planned.refused.extend(refused)
    click.echo(str(planned))
    if call_s is not None:
        click.echo(f"  expected  {planned.expected_s(call_s):.1f} s, if a call takes {call_s:g} s")
    ctx.exit(1 if planned.refused else 0)
