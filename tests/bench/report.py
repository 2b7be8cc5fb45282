"""The report: verdicts as a table, and the files that the documentation shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .cases import ROWS
from .figures import Run
from .plot import plot
from .verdicts import Verdict, verdicts

__all__ = ["absences", "number", "table", "write"]

HEAD = ("row", "case", "unit", "fetchline", "the peer", "ratio", "goal", "met", "other peers")


def number(figure: float | None) -> str:
    """Write a figure with the three digits that mean anything here."""
    if figure is None:
        return "-"
    return f"{figure:.3g}" if abs(figure) < 999.5 else f"{figure:.0f}"


def _cells(verdict: Verdict) -> tuple[str, ...]:
    said = {name: f"{name} {number(figure)}" for name, figure in verdict.peers.items()}
    against = verdict.against or ""
    goal = f"{'<=' if verdict.lower else '>='} {verdict.goal.bound:g}"
    goal += f"x {' / '.join(verdict.goal.of)}" if verdict.goal.of else f" {verdict.unit}"
    return (
        verdict.row,
        verdict.case,
        verdict.unit,
        number(verdict.figure),
        said.pop(against, "-"),
        number(verdict.ratio),
        goal,
        "-" if verdict.met is None else "yes" if verdict.met else "no",
        ", ".join(said.values()) or "-",
    )


def table(run: Run) -> str:
    """Lay the verdicts out as a Markdown table that also reads well in a terminal."""
    cells = [HEAD, *map(_cells, _all(run))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    padded.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(padded)


def absences(run: Run) -> list[str]:
    """Say who could not take part, and why."""
    reasons: dict[str, list[str]] = {}
    for case in run.cases:
        for subject, why in case.absent.items():
            reasons.setdefault(f"{subject}: {why}", []).append(case.name)
    return [f"{reason} ({len(names)} cases, first {names[0]!r})" for reason, names in reasons.items()]


def write(run: Run, folder: Path) -> list[Path]:
    """Write ``bench.md`` and ``bench.svg`` into ``folder``, and say where they are."""
    note = "A quick run: too small for a verdict.\n\n" if run.quick else ""
    text = f"# Benchmark\n\n{run.where}\n\n{note}Medians; only figures of one run compare with each other.\n"
    text += f"\n{table(run)}\n"
    absent = "".join(f"- {reason}\n" for reason in absences(run))
    if absent:
        text += f"\nDid not take part:\n\n{absent}"
    left_out = ", ".join(row for row in ROWS if row not in {case.row for case in run.cases})
    if left_out:
        text += f"\nNot in this run: {left_out}.\n"
    files = {"bench.md": text, "bench.svg": plot(_all(run))}
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in files]


def _all(run: Run) -> Iterable[Verdict]:
    return [verdict for case in run.cases for verdict in verdicts(case)]
