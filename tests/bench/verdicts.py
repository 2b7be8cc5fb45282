"""What the figures say: for every goal, fetchline beside the peer that the goal names."""

from __future__ import annotations

from dataclasses import dataclass

from .cases import OURS, Goal
from .figures import Measured

__all__ = ["Verdict", "verdicts"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal of one case.

    Attributes:
        row, case, unit: what was measured; ``case`` names the variant of ours, if it is one.
        figure: ours; None where it could not be measured.
        against: the best of the peers that the goal names; None for a goal that is a plain figure.
        peers: the figures of all peers.
        lower: whether less is better.
        goal: the bound on ``ratio``, or on ``figure`` for a goal without peers.
    """

    row: str
    case: str
    unit: str
    figure: float | None
    against: str | None
    peers: dict[str, float]
    lower: bool
    goal: Goal

    @property
    def ratio(self) -> float | None:
        """``figure`` over the peer's."""
        if self.figure is None or self.against is None or not self.peers[self.against]:
            return None
        return self.figure / self.peers[self.against]

    @property
    def met(self) -> bool | None:
        """None where something could not be measured."""
        judged = self.ratio if self.goal.of else self.figure
        if judged is None:
            return None
        return judged <= self.goal.bound if self.lower else judged >= self.goal.bound


def verdicts(measured: Measured) -> list[Verdict]:
    """Judge a case: one verdict for each of its goals."""
    return [_verdict(measured, goal) for goal in measured.goals]


def _verdict(measured: Measured, goal: Goal) -> Verdict:
    medians = measured.medians()
    peers = {name: figure for name, figure in medians.items() if not name.startswith(OURS)}
    rivals = [name for name in goal.of if name in peers]
    lower = measured.better == "lower"
    return Verdict(
        row=measured.row,
        case=measured.name + goal.ours.removeprefix(OURS),
        unit=measured.unit,
        figure=medians.get(goal.ours),
        against=(min if lower else max)(rivals, key=peers.__getitem__) if rivals else None,
        peers=peers,
        lower=lower,
        goal=goal,
    )
