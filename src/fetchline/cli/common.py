"""What all commands share: the options ``--app`` and ``--log-level``, and the errors that end a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["Common", "Problem", "Trouble", "common_options"]

F = TypeVar("F", bound=Callable[..., Any])


class Problem(click.UsageError):
    """What the user asked for cannot be done, in one line; nothing was started. Exit code 2."""


class Trouble(click.ClickException):
    """Something went wrong after the start, in one line. Exit code 1."""


class Common:
    """What was said before and after the command's name; a context's ``obj``."""

    def __init__(self) -> None:
        self.apps: list[str] = []


def _add_apps(ctx: click.Context, option: click.Parameter, apps: tuple[str, ...]) -> None:
    ctx.ensure_object(Common).apps.extend(apps)


def _set_log_level(ctx: click.Context, option: click.Parameter, level: str | None) -> None:
    if level is not None:
        from fetchline.cli.logs import log_at

        log_at(level, ctx)


_APP = click.option(
    "--app",
    metavar="MODULE|FILE.py",
    multiple=True,
    expose_value=False,
    callback=_add_apps,
    help="Import fetchers from a module or a file; may be repeated.",
)
_LOG_LEVEL = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    expose_value=False,
    callback=_set_log_level,
    help="Log to standard error; debug shows tracebacks.",
)


def common_options(command: F) -> F:
    """Add the options that stand before or after the command's name alike."""
    return _APP(_LOG_LEVEL(command))
