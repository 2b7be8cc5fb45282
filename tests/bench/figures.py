"""What was measured, and the file it is kept in: table and plot are drawn from it, now or later."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from .cases import Case, Goal
from .peers import NEEDS

__all__ = ["Measured", "Run", "load", "save", "where"]

FILE = "bench.json"


@dataclass(slots=True)
class Measured:
    """What a case came to: every round's figure of every subject, and why a subject has none."""

    row: str
    name: str
    unit: str
    better: Literal["lower", "higher"]
    goals: tuple[Goal, ...]
    rounds: dict[str, list[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case) -> Measured:
        return cls(case.row, case.name, case.unit, case.better, case.goals)

    def medians(self) -> dict[str, float]:
        return {subject: statistics.median(figures) for subject, figures in self.rounds.items()}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmark; ``where`` tells machine and versions, without naming the machine."""

    where: str
    quick: bool
    cases: list[Measured]


def where() -> str:
    """Describe the machine and the versions a run is made with."""
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


def save(run: Run, folder: Path) -> Path:
    """Keep a run in ``folder``, with the five digits that mean more than enough."""
    data = asdict(run)
    for case in data["cases"]:
        case["rounds"] = {
            subject: [float(f"{figure:.5g}") for figure in figures]
            for subject, figures in case["rounds"].items()
        }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    # A list of figures is one line.
    text = re.sub(r"\[[^][{}]*\]", lambda each: " ".join(each[0].split()), json.dumps(data, indent=1))
    path.write_text(text + "\n", encoding="utf-8")
    return path


def load(folder: Path) -> Run:
    """Read the run that is kept in ``folder``.

    Raises:
        OSError: there is none.
    """
    data = json.loads((folder / FILE).read_text(encoding="utf-8"))
    cases = []
    for case in data["cases"]:
        goals = tuple(Goal(goal["bound"], tuple(goal["of"]), goal["ours"]) for goal in case.pop("goals"))
        cases.append(Measured(**case, goals=goals))
    return Run(data["where"], data["quick"], cases)
