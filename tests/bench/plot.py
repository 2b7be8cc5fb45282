"""The plot: a panel of bars for each case, written as SVG by hand so that nothing has to be installed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .cases import OURS
from .measure import Measured

__all__ = ["number", "plot"]

WIDTH, LABEL, BAR, VALUE = 760, 200, 440, 100
LINE, GAP, TITLE = 20, 18, 24
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.ours { fill: #1f6feb } .peer { fill: #afb8c1 } .goal { stroke: #cf222e; stroke-width: 2 }
"""


def number(figure: float | None) -> str:
    """Write a figure with the three digits that mean anything here."""
    if figure is None:
        return "-"
    return f"{figure:.3g}" if abs(figure) < 999.5 else f"{figure:.0f}"


def plot(results: Sequence[Measured]) -> str:
    """Draw every measured case; a red stroke on a bar of ours marks what its goal asks for."""
    parts, top = [], GAP
    for measured in results:
        if measured.rounds:
            panel, height = _panel(measured, top)
            parts += panel
            top += height + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(measured: Measured, top: int) -> tuple[list[str], int]:
    case = measured.case
    medians = {name: figure for name in case.subjects if (figure := measured.median(name)) is not None}
    marks = {}
    for goal in case.goals:
        rivals = [medians[name] for name in goal.of if name in medians]
        if rivals or not goal.of:
            best = (min if case.better == "lower" else max)(rivals) if rivals else 1.0
            marks.setdefault(goal.ours, goal.bound * best)
    scale = BAR / (max([*medians.values(), *(marks[name] for name in marks if name in medians)]) or 1.0)
    title = f"{case.row}  {case.name}, {case.unit} ({case.better} is better)"
    parts = [f'<text class="title" x="8" y="{top + 14}">{escape(title)}</text>']
    y = top + TITLE
    for name, figure in medians.items():
        length = max(figure * scale, 1.0)
        kind = "ours" if name.startswith(OURS) else "peer"
        middle = y + LINE // 2 + 4
        parts.append(f'<text x="{LABEL - 6}" y="{middle}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect class="{kind}" x="{LABEL}" y="{y + 2}" width="{length:.1f}" height="{LINE - 4}"/>'
        )
        edge = length
        if name in marks:
            at = marks[name] * scale
            edge = max(length, at)
            x = LABEL + at
            parts.append(f'<line class="goal" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + LINE}"/>')
        parts.append(f'<text x="{LABEL + edge + 6:.1f}" y="{middle}">{number(figure)}</text>')
        y += LINE
    return parts, y - top
