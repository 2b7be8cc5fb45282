"""What ``forks`` is asked to do: each in a new process, the answer as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chores
from chores import CHORES, Notes
from sabotage import How, Sabotage

import fetchline as fl
import fetchline.assembly
import fetchline.builtin.directory
import fetchline.builtin.serial
import fetchline.builtin.thread
import fetchline.journal.compacting
import fetchline.journal.repairing
import fetchline.runs

__all__ = ["TASKS"]

logging.getLogger("fetchline").setLevel(logging.CRITICAL)


def do(
    store: Path,
    notes: str,
    *,
    chore: str,
    at: int = 0,
    how: How = "before",
    lasting: bool = False,
    again: str | None = None,
    mended: bool = False,
) -> dict[str, Any]:
    """Do a chore, with a call that goes wrong: what was called, how it ended, and what is not as it must be.

    Args:
        again: notes for the same call after that, in the same process.
    """
    sabotage = Sabotage(store, at, how, lasting=lasting)
    sabotage.install()
    said = Notes(notes)
    ended: dict[str, Any] = {"raised": None}
    try:
        CHORES[chore](store, said)
    except fl.StoreError as error:
        batch = error.batch
        ended = {
            "raised": type(error).__name__,
            "message": str(error),
            "reported": None if batch is None else [r.key for r in batch if _is_of_this_run(r)],
        }
    sabotage.remove()
    return {
        **ended,
        "calls": sabotage.calls,
        "heard": sabotage.heard,
        "failed": sabotage.failed,
        "threads": chores.threads_left(),
        "problems": None
        if again is None
        else check(store, again, told=said.all("told"), mended=mended)["problems"],
    }


def _is_of_this_run(result: Any) -> bool:
    return result.origin != "store" if result.is_success else result.error_code != "cancelled"


def make(store: Path, notes: str, *, what: str) -> dict[str, Any]:
    """Make a store to begin with."""
    {"in parts": chores.in_parts, "spoilt": chores.spoil}[what](store, Notes(notes))
    return {}


def check(store: Path, notes: str, *, told: list[str], mended: bool = False) -> dict[str, Any]:
    """Run the same call again; what is not as it must be."""
    if mended:
        fl.verify(store, repair=True)
    return {"problems": chores.problems_of(store, told, Notes(notes), mended=mended)}


def check_writes(store: Path, notes: str, **before: Any) -> dict[str, Any]:
    """Run the same call again, of writes; what is not as it must be."""
    return chores.writes_again(store, notes=Notes(notes), **before)


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "do": do,
    "make": make,
    "check": check,
    "check writes": check_writes,
}
