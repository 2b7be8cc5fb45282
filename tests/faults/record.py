"""What a row of the matrix says: a fault, how it is injected, and what the user gets on each executor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .executors import EXECUTORS, FAR, NEAR
from .injections import Inject

__all__ = [
    "LOST",
    "NOT_MET",
    "OK",
    "Cell",
    "Ends",
    "Fault",
    "Gets",
    "Never",
    "Raises",
    "cells",
    "crashed",
    "everywhere",
    "failure",
    "lost",
]

Others: TypeAlias = Literal["fine", "same"]


@dataclass(frozen=True, slots=True)
class Gets:
    """The run comes to its end; what becomes of the item that the fault hits.

    Attributes:
        code: its ``error_code``; empty for a success.
        attempts: as its result tells; None where it is a matter of luck who is charged.
        others: ``fine``: all succeed, in order, at the first attempt; ``same``: the fault is everybody's.
        fires: whether the fault is met at all there. Where it is not, the test makes sure of that too.
        says: what is in ``failure.message``.
        trace: what is in the error's traceback, printed.
        patient: whether the run ends only when a call that takes too long has come back; None: nobody looks.
    """

    code: str = ""
    attempts: int | None = 1
    others: Others = "fine"
    fires: bool = True
    says: tuple[str, ...] = ()
    trace: str = ""
    patient: bool | None = None

    def __str__(self) -> str:
        said = f"`{self.code}`" if self.code else "ok"
        if self.attempts is not None and self.attempts > 1:
            said += f" {self.attempts}x"
        return said + {"fine": "", "same": ", all"}[self.others]


@dataclass(frozen=True, slots=True)
class Ends:
    """The user's program ends, with that exit code."""

    code: int

    def __str__(self) -> str:
        return "*ends*"


@dataclass(frozen=True, slots=True)
class Raises:
    """The run raises; ``done`` items from the first on had been finished. None is an error without a batch."""

    error: str
    done: int | None
    says: str = ""

    def __str__(self) -> str:
        return f"`{self.error}`"


@dataclass(frozen=True, slots=True)
class Never:
    """It cannot happen there."""

    why: str

    def __str__(self) -> str:
        return "-"


Cell: TypeAlias = Gets | Ends | Raises | Never

OK = Gets()
NOT_MET = Gets(fires=False)


def failure(
    code: str,
    *says: str,
    attempts: int | None = 1,
    others: Others = "fine",
    trace: str = "",
    fires: bool = True,
) -> Gets:
    return Gets(code, attempts, others, fires, says, trace)


def crashed(how: str, others: Others = "fine") -> Gets:
    """A process of ours died under it, three times."""
    return failure("crashed", "WorkerCrashed", how, attempts=3, others=others)


def lost(others: Others = "fine") -> Gets:
    """A process of somebody else's pool died under it, three times; the run made the pool, and makes another."""
    return failure("crashed", "WorkerCrashed", "BrokenProcessPool", attempts=3, others=others)


LOST = lost()


def everywhere(cell: Cell) -> dict[str, Cell]:
    return {executor.name: cell for executor in EXECUTORS}


def cells(near: Cell, far: Cell, **own: Cell) -> dict[str, Cell]:
    """A row: what is the same in this process, what is the same in others, and who differs."""
    common: dict[str, Cell] = {**dict.fromkeys(NEAR, near), **dict.fromkeys(FAR, far)}
    assert own.keys() <= common.keys()
    return {executor.name: own.get(executor.name, common[executor.name]) for executor in EXECUTORS}


@dataclass(frozen=True, slots=True)
class Fault:
    """One row.

    Attributes:
        name: in the ids of tests: ``test_fault[name-executor]``.
        what: the fault, in the words of the page.
        inject: puts it into a run.
        cells: what the user gets, by the names of the executors.
        note: what else there is to know, after the table.
    """

    name: str
    what: str
    inject: Inject
    cells: Mapping[str, Cell] = field(repr=False)
    note: str = ""

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Why it cannot happen where it cannot, and on which executors."""
        out: dict[str, list[str]] = {}
        for executor in EXECUTORS:
            cell = self.cells[executor.name]
            if isinstance(cell, Never):
                out.setdefault(cell.why, []).append(executor.name)
        return out
