"""The command ``fetchline``: its subcommands and its global options."""

from __future__ import annotations

import click

import fetchline
from fetchline.cli import listing, running, stored
from fetchline.cli.common import common_options
from fetchline.cli.completion import completion
from fetchline.cli.group import Commands

__all__ = ["cli"]


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@common_options
@click.version_option(fetchline.__version__, prog_name="fetchline", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run fetchers over ordered batches: concurrent, retried, accounted for, into one frame.

    Fetchers are found in the modules named by --app and by [tool.fetchline] apps, and in installed plugins.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def demo(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Fetch real stock prices from a web service on this machine, offline."""
    from fetchline.demo.program import main

    ctx.exit(main(arguments))


for _command in (
    listing.list_,
    listing.show,
    running.run,
    running.plan,
    stored.runs,
    listing.plugins,
    demo,
    completion,
):
    cli.add_command(_command)
