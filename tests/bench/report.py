"""The report: lines of a table, the same as Markdown, JSON and a plot."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .cases import OURS, Goal
from .measure import Measured
from .peers import NEEDS
from .plot import number, plot

__all__ = ["Line", "lines", "table", "write"]

HEAD = ("row", "case", "unit", "subject", "figure", "peers", "against", "ratio", "goal", "met")


@dataclass(frozen=True, slots=True)
class Line:
    """One goal of one case: ``ratio`` is ``figure`` over the best of the goal's peers, ``against``.

    For a goal without peers ``ratio`` is None and the bound is on the figure itself. ``met`` is None where
    something could not be measured.
    """

    row: str
    case: str
    unit: str
    subject: str
    figure: float | None
    peers: dict[str, float]
    against: str | None
    ratio: float | None
    goal: str
    met: bool | None


def lines(measured: Measured) -> list[Line]:
    """Judge a case: a line for each of its goals."""
    return [_line(measured, goal) for goal in measured.case.goals]


def _line(measured: Measured, goal: Goal) -> Line:
    case = measured.case
    medians = {name: figure for name in case.subjects if (figure := measured.median(name)) is not None}
    lower = case.better == "lower"
    figure = medians.get(goal.ours)
    rivals = {name: medians[name] for name in goal.of if name in medians}
    against = (min if lower else max)(rivals, key=rivals.__getitem__) if rivals else None
    ratio = figure / medians[against] if figure is not None and against and medians[against] else None
    judged = ratio if goal.of else figure
    sign = "<=" if lower else ">="
    unit = f"x {' / '.join(goal.of)}" if goal.of else f" {case.unit}"
    return Line(
        row=case.row,
        case=case.name,
        unit=case.unit,
        subject=goal.ours,
        figure=figure,
        peers={name: value for name, value in medians.items() if not name.startswith(OURS)},
        against=against,
        ratio=ratio,
        goal=f"{sign} {goal.bound:g}{unit}",
        met=None if judged is None else judged <= goal.bound if lower else judged >= goal.bound,
    )


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.row,
        line.case,
        line.unit,
        line.subject,
        number(line.figure),
        ", ".join(f"{name} {number(figure)}" for name, figure in line.peers.items()) or "-",
        line.against or "-",
        number(line.ratio),
        line.goal,
        "-" if line.met is None else "yes" if line.met else "no",
    )


def table(found: Iterable[Line]) -> str:
    """Lay the lines out as a Markdown table that also reads well in a terminal."""
    cells = [HEAD, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    padded.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(padded)


def absences(results: Sequence[Measured]) -> list[str]:
    """Say who could not take part, and why."""
    reasons: dict[str, list[str]] = {}
    for measured in results:
        for subject, why in measured.absent.items():
            reasons.setdefault(f"{subject}: {why}", []).append(measured.case.name)
    return [f"{reason} ({len(where)} cases, first {where[0]!r})" for reason, where in reasons.items()]


def where() -> str:
    """Describe the machine and the versions a run was made with."""
    versions = []
    for package in sorted({"fetchline", "polars", "pyarrow", *NEEDS.values()}):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{python} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores; {', '.join(versions)}"
    )


def write(folder: Path, results: Sequence[Measured], *, quick: bool) -> list[Path]:
    """Write ``bench.md``, ``bench.json`` and ``bench.svg`` into ``folder``, and say where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [line for measured in results for line in lines(measured)]
    note = "A quick run: too small for a verdict.\n\n" if quick else ""
    absent = "".join(f"- {text}\n" for text in absences(results))
    text = f"# Benchmark\n\n{where()}\n\n{note}Medians; only figures of one run compare with each other.\n"
    text += f"\n{table(found)}\n"
    if absent:
        text += f"\nDid not take part:\n\n{absent}"
    data = {
        "where": where(),
        "quick": quick,
        "lines": [
            dict(zip(Line.__slots__, (getattr(line, name) for name in Line.__slots__), strict=True))
            for line in found
        ],
        "rounds": [
            {"row": m.case.row, "case": m.case.name, "unit": m.case.unit, **m.rounds} for m in results
        ],
        "absent": absences(results),
    }
    files = {"bench.md": text, "bench.json": json.dumps(data, indent=1) + "\n", "bench.svg": plot(results)}
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in files]
