"""Commands of plugins: entry points of the group ``fetchline.commands``, imported when they are called.

An entry point's name is the command's, its value a click command or group. ``FETCHLINE_BLOCK`` forbids them
by name or by distribution, as it does plugins.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from fetchline._provider import distribution, forbidden, normal
from fetchline.cli.common import Problem

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["PluginCommand", "plugin_command", "plugin_commands"]

GROUP = "fetchline.commands"


class PluginCommand(click.Command):
    """The place of a command that is not imported yet.

    Attributes:
        provider, version: the distribution that declares it.
        status: ``installed`` or ``blocked``.
    """

    def __init__(self, points: list[EntryPoint]) -> None:
        self._points = points
        about = [distribution(point) for point in points]
        self.provider = " and ".join(provider for provider, _, _ in about)
        self.version, summary = about[0][1:]
        names = {points[0].name, *(provider for provider, _, _ in about)}
        self.status = "installed" if forbidden().isdisjoint(map(normal, names)) else "blocked"
        text = f"{summary or 'A command'} ({self.provider} {self.version})".replace(" )", ")")
        super().__init__(points[0].name, short_help=text, help=text, hidden=self.status == "blocked")

    def load(self) -> click.Command:
        """Import the command.

        Raises:
            Problem: it is blocked, provided twice, does not import or is no command.
        """
        title = f"the command {self.name!r} of {self.provider} {self.version}".rstrip()
        if self.status == "blocked":
            raise Problem(f"{title} is blocked; take it out of FETCHLINE_BLOCK to use it")
        if len(self._points) > 1:
            raise Problem(
                f"the command {self.name!r} is provided by {self.provider}; uninstall one, "
                "or block it in FETCHLINE_BLOCK by the name of its distribution"
            )
        try:
            command = self._points[0].load()
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything
            raise Problem(f"{title} is broken: {type(error).__name__}: {error}") from error
        if not isinstance(command, click.Command):
            raise Problem(f"{title} is broken: {self._points[0].value} is no click command, but {command!r}")
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return self.load().make_context(info_name, args, parent, **extra)


def plugin_commands() -> dict[str, PluginCommand]:
    """The commands of installed plugins, by name; none of them is imported."""
    return _found() if _any_declared() else {}


def plugin_command(name: str) -> PluginCommand | None:
    """The command of that name; found in whatever way distributions are stored."""
    return _found().get(name)


def _found() -> dict[str, PluginCommand]:
    from importlib.metadata import entry_points

    points: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        points.setdefault(point.name, {})[f"{distribution(point)[0]}:{point.value}"] = point
    return {name: PluginCommand([each[key] for key in sorted(each)]) for name, each in sorted(points.items())}


def _any_declared() -> bool:
    """Look for the group in the files that declare entry points.

    ``importlib.metadata`` takes half as long to import as click does, and nearly always for nothing.
    """
    for folder in sys.path:
        try:
            with os.scandir(folder or ".") as entries:
                found = [entry.path for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for path in found:
            try:
                with open(os.path.join(path, "entry_points.txt"), "rb") as file:  # noqa: PTH118, PTH123  # fast
                    if f"[{GROUP}]".encode() in file.read():
                        return True
            except OSError:
                pass
    return False
