"""The group of commands: those of plugins beside the built-in ones, and errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from fetchline.cli.common import Problem
from fetchline.cli.plugged import plugin_command, plugin_commands
from fetchline.cli.text import one_line

__all__ = ["Commands"]

_ON_CHANGE = (
    "give another store, or --on-change keep if they count all the same, or --on-change refetch to start anew"
)


class Commands(click.Group):
    """Built-in commands in the order they were added, then those of installed plugins, unimported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *(name for name in plugin_commands() if name not in self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.commands.get(cmd_name) or plugin_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            import difflib

            known = self.list_commands(ctx)
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            rest = (
                f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(known)}"
            )
            raise Problem(f"there is no command {name!r}; {rest}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> int:
        """Invoke a command; what it returns is no exit code, ``ctx.exit(code)`` says one."""
        try:
            super().invoke(ctx)
        except Exception as error:
            if error.__cause__ is not None or not isinstance(
                error, click.ClickException | click.exceptions.Exit
            ):
                _trace()
            raise
        return 0

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, "fetchline", complete_var, standalone_mode=False, **extra)
        except click.Abort:
            code = _tell("interrupted", 130)
        except click.ClickException as error:
            code = _tell(_said(error), error.exit_code)
        except Exception as error:
            from fetchline.errors import FetchlineError, StoreMismatch

            if isinstance(error, StoreMismatch):
                code = _tell(f"{error.finding}; {_ON_CHANGE}", 2)
            elif isinstance(error, FetchlineError):
                code = _tell(str(error), 2)
            else:
                code = _tell(f"{type(error).__name__}: {error} (--log-level debug shows where)", 1)
        sys.exit(code)


def _said(error: click.ClickException) -> str:
    message = error.format_message()
    if isinstance(error, click.UsageError) and not isinstance(error, Problem):
        where = "fetchline" if error.ctx is None else error.ctx.command_path
        return f"{message.rstrip('.')}; see {where} --help"
    return message


def _tell(message: str, code: int) -> int:
    click.echo(f"fetchline: {one_line(message)}", err=True)
    return code


def _trace() -> None:
    """Show all of what is being handled, under ``--log-level debug``."""
    logging = sys.modules.get("logging")
    if logging is not None and logging.getLogger("fetchline").isEnabledFor(logging.DEBUG):
        import traceback

        click.echo(traceback.format_exc(), err=True, nl=False)
