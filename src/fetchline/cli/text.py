"""Text for a terminal: tables, and lines that fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

__all__ = ["columns", "fitted", "one_line", "table"]


def one_line(text: str) -> str:
    """Put a text of several lines on one."""
    return " ".join(text.split())


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
