"""Where items come from: arguments, a file of lines, a column of a table, a grid."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetchline.cli.common import Problem
from fetchline.cli.parameters import Parameters
from fetchline.summary import counted

if TYPE_CHECKING:
    from fetchline.items import Grid

__all__ = ["gather", "read_lines"]


def gather(
    parameters: Parameters,
    arguments: Sequence[str],
    lines: str | None,
    column: str | None,
    grid: bool,
    refused: list[tuple[Any, str]] | None = None,
) -> Sequence[Any]:
    """Collect all items, converted by the annotation of the parameter they are passed as.

    Args:
        arguments: the items themselves; with ``grid`` the axes.
        lines: a file with one item a line; ``-`` is standard input.
        column: ``FILE:COLUMN`` of a table.
        refused: takes those that do not convert, and why; without it they are a Problem.

    Raises:
        Problem: there are no items, they come from two places, or one does not convert.
    """
    given = [
        what
        for what, there in (
            ("arguments", bool(arguments) and not grid),
            ("--from", lines is not None),
            ("--column", column is not None),
            ("--grid", grid),
        )
        if there
    ]
    if not given:
        raise Problem("there are no items: give them as arguments, or by --from, --column or --grid")
    if len(given) > 1:
        raise Problem(f"items come from one place, not from {' and '.join(given)}")
    if grid:
        return _grid(parameters, arguments, refused)
    if lines is not None:
        place = f"{_named(lines)}, item {{}}".format
        return _converted(parameters, parameters.first, read_lines(lines), place, refused)
    if column is not None:
        from fetchline.cli.tables import read_column

        place = f"{column}, item {{}}".format
        return _converted(parameters, parameters.first, read_column(column), place, refused)
    return _converted(parameters, parameters.first, list(arguments), "item {}".format, refused)


def _grid(parameters: Parameters, texts: Sequence[str], refused: list[tuple[Any, str]] | None) -> Grid:
    from fetchline.items import grid

    if not texts:
        raise Problem(
            "--grid needs axes, such as symbol=A,B or symbol=@symbols.txt or period=2024-Q1:2024-Q4"
        )
    axes: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, spec = text.partition("=")
        if not equals:
            raise Problem(f"--grid takes axes as NAME=VALUES, not {text!r}")
        parameters.check(name, "--grid")
        if name in axes:
            raise Problem(f"the grid axis {name!r} is given twice")
        if spec.startswith("@"):
            values = read_lines(spec[1:])
        else:
            values = [part.strip() for part in spec.split(",") if part.strip()]
        if not values:
            raise Problem(f"the grid axis {name!r} has no values in {_named(spec.lstrip('@')) or 'it'}")
        axes[name] = _converted(parameters, name, values, f"{name} value {{}}".format, refused)
    return grid(**axes)


def _converted(
    parameters: Parameters,
    name: str | None,
    values: list[Any],
    place: Callable[[int], str],
    refused: list[tuple[Any, str]] | None,
) -> list[Any]:
    if parameters.text_stays(name) and all(isinstance(value, str) for value in values):
        return values
    out: list[Any] = []
    wrong: list[str] = []
    for index, value in enumerate(values):
        try:
            out += parameters.values(name, value)
        except ValueError as error:
            if refused is not None:
                refused.append((value, str(error)))
                continue
            wrong.append(f"{place(index + 1)}: {error}" if not wrong else "")
    if wrong:
        more = f"; {counted(len(wrong) - 1, 'more item')} too" if len(wrong) > 1 else ""
        raise Problem(f"{wrong[0]}{more}. Nothing was started")
    return out


def read_lines(name: str) -> list[Any]:
    """The lines of a file that are not blank, stripped."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        content = raw.decode("utf-8-sig")
    except OSError as error:
        raise Problem(f"{_named(name)} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Problem(f"{_named(name)} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    return [line.strip() for line in content.split("\n") if line.strip()]


def _named(name: str) -> str:
    return "standard input" if name == "-" else name
