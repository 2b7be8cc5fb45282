"""Text for a terminal: tables, and lines that fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TextIO

__all__ = ["columns", "fitted", "one_line", "table"]


def one_line(text: str) -> str:
    """Put a text of several lines on one; what is indented is a list.

    >>> one_line("a run is damaged:\\n  one is missing\\n  two is empty\\nrepair it")
    'a run is damaged: one is missing; two is empty; repair it'
    """
    lines = [line for line in text.splitlines() if line.strip()]
    said = ""
    for before, line in pairwise(["", *lines]):
        is_listed = before[:1].isspace() or line[:1].isspace()
        gap = "; " if is_listed and said and not said.endswith(":") else " "
        said += gap + " ".join(line.split())
    return said.strip()


def columns(stream: TextIO) -> int | None:
    """How wide a line may be; None where nobody watches, so that nothing is cut off in a file."""
    import shutil

    if not stream.isatty() and "COLUMNS" not in os.environ:
        return None
    return shutil.get_terminal_size().columns


def fitted(text: str, width: int | None) -> str:
    """Cut a line to a width, with an ellipsis where something is missing."""
    if width is None or len(text) <= width:
        return text
    return text[: max(width - 1, 1)].rstrip() + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align rows in columns; the last one is cut where the terminal ends."""
    lines = [[name.upper() for name in header], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)][:-1]
    width = columns(sys.stdout)
    return "\n".join(
        fitted(
            "  ".join([*(cell.ljust(room) for cell, room in zip(line, widths, strict=False)), line[-1]]),
            width,
        ).rstrip()
        for line in lines
    )
