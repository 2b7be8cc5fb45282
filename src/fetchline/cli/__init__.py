"""The command line: ``fetchline list | show | run | plan | plugins | demo | completion``.

Each command imports what it needs when it is called, so that ``fetchline --help`` answers at once.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command that ``sys.argv`` names, and leave with its exit code.

    0: all went well. 1: some items failed, the good ones are written. 2: wrong usage, nothing was started.
    130, 143: stopped by Ctrl-C or SIGTERM, what was finished is written.
    """
    from fetchline.cli.app import cli

    cli.main(prog_name="fetchline")
