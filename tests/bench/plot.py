"""The plot: a line for each goal, on one logarithmic scale of how far ahead of its peer fetchline is.

It is written as SVG by hand, so that nothing has to be installed, and brings its own background, light or
dark as the reader's is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from .verdicts import Verdict

__all__ = ["plot"]

WIDTH, LABEL, LEFT, RIGHT = 886, 50, 366, 676
HEAD, LINE, FOOT, DOT = 66, 22, 12, 5
LEAST, MOST = 0.1, 1000.0
"""Who is further behind or ahead is drawn at the edge."""

STYLE = """
text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
.row { font-weight: 600 } .faint { fill: #59636e }
.ground { fill: #ffffff } .rule { stroke: #dfe4e9 } .level { stroke: #59636e }
.met { stroke: #1f6feb; fill: #1f6feb } .missed { stroke: #cf5a00; fill: #cf5a00 }
.peer { stroke: #818b98; fill: #ffffff } .goal { stroke: #1f2328; stroke-width: 2 }
.stem { stroke-width: 4 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .faint { fill: #9198a1 }
.ground { fill: #0d1117 } .rule { stroke: #262c36 } .level { stroke: #9198a1 }
.met { stroke: #4493f8; fill: #4493f8 } .missed { stroke: #f0883e; fill: #f0883e }
.peer { stroke: #7d8590; fill: #0d1117 } .goal { stroke: #e6edf3 }
}
"""


def plot(verdicts: Iterable[Verdict]) -> str:
    """Draw every verdict that is a ratio; further right is better, whatever the unit."""
    drawn = [verdict for verdict in verdicts if verdict.ratio is not None]
    scale = _Scale(place for verdict in drawn for place in _places(verdict))
    height = HEAD + LINE * len(drawn) + FOOT
    parts = [
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        *_legend(),
        *scale.rules(HEAD - 4, height - FOOT),
    ]
    row = ""
    for nth, verdict in enumerate(drawn):
        top = HEAD + LINE * nth
        if verdict.row != row:
            row = verdict.row
            parts.append(_text(10, top + 15, row, "row"))
            if nth:
                parts.append(_stroke("rule", 10, top, WIDTH - 10, top))
        parts += _line(verdict, scale, top + LINE // 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img"><title>How far fetchline is ahead of its peers</title>'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


class _Scale:
    """Factors to pixels; as wide as ``places`` need, in steps of 1, 2 and 5."""

    def __init__(self, places: Iterable[float]) -> None:
        places = [_clipped(place) for place in places]
        steps = [digit * 10.0**power for power in range(-1, 4) for digit in (1, 2, 5)]
        low = max(step for step in steps if step <= min([0.5, *places]))
        high = min(step for step in steps if step >= max([2.0, *places]))
        self._steps = [step for step in steps if low <= step <= high]
        self._low, self._unit = math.log(low), (RIGHT - LEFT) / math.log(high / low)

    def __call__(self, place: float) -> float:
        return LEFT + (math.log(_clipped(place)) - self._low) * self._unit

    def rules(self, top: int, bottom: int) -> list[str]:
        parts = []
        for step in self._steps:
            x = self(step)
            parts.append(_stroke("level" if step == 1 else "rule", x, top, x, bottom))
            if math.log10(step).is_integer():
                parts.append(_text(x, top - 5, f"{step:g}x", "faint", "middle"))
        return parts


def _clipped(place: float) -> float:
    return min(max(place, LEAST), MOST)


def _ahead(verdict: Verdict, figure: float | None) -> float:
    """How many times better than the verdict's peer a figure is."""
    assert verdict.against is not None
    assert figure is not None
    peer = verdict.peers[verdict.against]
    better, worse = (peer, figure) if verdict.lower else (figure, peer)
    return better / worse if worse else math.inf


def _asked(verdict: Verdict) -> float:
    return 1 / verdict.goal.bound if verdict.lower else verdict.goal.bound


def _places(verdict: Verdict) -> list[float]:
    figures = [verdict.figure, *verdict.peers.values()]
    return [_asked(verdict), *(_ahead(verdict, figure) for figure in figures)]


def _line(verdict: Verdict, scale: _Scale, y: int) -> list[str]:
    ahead = _ahead(verdict, verdict.figure)
    x, goal = scale(ahead), scale(_asked(verdict))
    kind = "met" if verdict.met else "missed"
    others = [figure for name, figure in verdict.peers.items() if name != verdict.against]
    times = f"{ahead:.2f}" if ahead < 2 else f"{ahead:.2g}"
    return [
        _text(LABEL, y + 4, verdict.case),
        _stroke(f"{kind} stem", scale(1), y, x, y),
        *(_dot("peer", scale(_ahead(verdict, figure)), y, DOT - 1) for figure in others),
        _dot(kind, x, y),
        _stroke("goal", goal, y - 8, goal, y + 8),
        _text(RIGHT + 14, y + 4, f"{times}x {verdict.against}"),
    ]


def _legend() -> list[str]:
    parts = [_text(10, 24, "How many times better than the peer on the right", "row")]
    x, y = LEFT + 24, 20
    for kind, what in (
        ("met", "goal met"),
        ("missed", "goal missed"),
        ("goal", "goal"),
        ("peer", "other peers"),
    ):
        mark = _stroke(kind, x, y - 8, x, y + 8) if kind == "goal" else _dot(kind, x, y)
        parts += [mark, _text(x + 11, y + 4, what)]
        x += 30 + 7 * len(what)
    return parts


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    told = f' class="{kind}"' if kind else ""
    return f'<text{told} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _stroke(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _dot(kind: str, x: float, y: float, radius: float = DOT) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'
