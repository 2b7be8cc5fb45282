"""Shell completion: the names it offers, and the line that switches it on."""

from __future__ import annotations

import contextlib
import io

import click

__all__ = ["completion", "executor_names", "fetcher_names"]

_LINES = {
    "bash": ('eval "$(_FETCHLINE_COMPLETE=bash_source fetchline)"', "~/.bashrc"),
    "zsh": ('eval "$(_FETCHLINE_COMPLETE=zsh_source fetchline)"', "~/.zshrc, after compinit"),
    "fish": (
        "_FETCHLINE_COMPLETE=fish_source fetchline | source",
        "~/.config/fish/completions/fetchline.fish",
    ),
}


@click.command()
@click.argument("shell", type=click.Choice(list(_LINES)))
def completion(shell: str) -> None:
    """Print the line that switches on completion in a SHELL."""
    line, file = _LINES[shell]
    click.echo(line)
    click.echo(f"Add this line to {file}", err=True)


def fetcher_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The fetchers of the apps, and the namespaces of installed plugins, unimported."""
    from fetchline._discovery import Installed
    from fetchline.cli.apps import try_apps
    from fetchline.registry import default

    # Whatever an app says or breaks while it is imported must not reach the line being typed.
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
        list(try_apps(ctx))
    names = [*default, *(f"{plugin.name}." for plugin in Installed(None, None).all() if not plugin.blocked)]
    return [name for name in names if name.startswith(incomplete)]


def executor_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The built-in executors, and the namespaces of installed plugins, unimported."""
    from fetchline._discovery import Installed
    from fetchline._plugin import EXECUTOR

    names = [
        *EXECUTOR.built_in,
        *(plugin.name for plugin in Installed(None, None).all() if not plugin.blocked),
    ]
    return [name for name in names if name.startswith(incomplete)]
