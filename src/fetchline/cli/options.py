"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import click

from fetchline.cli.common import Problem
from fetchline.cli.completion import executor_names

__all__ = [
    "crew_options",
    "file_options",
    "kept_options",
    "progress_option",
    "store_options",
    "stored_options",
]

F = TypeVar("F", bound=Callable[..., Any])
Option: TypeAlias = Callable[[F], F]


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


def _all(*options: Option[Any]) -> Option[Any]:
    """One decorator of several; their order is that of the help."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


crew_options = _all(
    click.option(
        "--executor",
        metavar="NAME",
        shell_complete=executor_names,
        help="thread, process, asyncio, serial, or a plugin's.",
    ),
    click.option("-j", "--workers", type=click.IntRange(min=1), metavar="N", help="Threads or processes."),
    click.option(
        "--concurrency", type=click.IntRange(min=1), metavar="N", help="Attempts in flight, at most."
    ),
)
"""Who makes the attempts."""

progress_option = click.option(
    "--progress/--no-progress", default=None, help="A bar on a terminal, or log lines; or nothing."
)

file_options = _all(
    click.option(
        "--out",
        metavar="FILE",
        type=click.Path(allow_dash=True),
        help="Write the frame: .parquet, .csv, .ndjson or .arrow; - is CSV on standard output.",
    ),
    click.option("--failures", metavar="FILE", type=click.Path(), help="Write a row for each failed item."),
)
"""Where a batch is written."""

kept_options = _all(
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
"""What is done with results that are there."""

store_options = _all(
    click.option(
        "--store",
        metavar="PLACE",
        help="Keep results in a directory or at a URL, and do not fetch what is there; with {names} in it, a "
        "file for each item: 'daily/{symbol}.parquet'.",
    ),
    kept_options,
)
"""Where results are kept."""


def stored_options(options: dict[str, Any]) -> dict[str, Any]:
    """Make a run's options of those that say where results are kept."""
    from fetchline.journal.files import Files

    store = options.get("store")
    if store is None:
        unused = [name for name in ("reuse", "on_change") if name in options]
        if unused:
            raise Problem(f"--{unused[0].replace('_', '-')} says what of a store is used: give --store too")
        return options
    return {**options, "store": Files(store) if "{" in store else store}
