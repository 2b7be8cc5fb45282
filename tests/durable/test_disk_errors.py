"""A disk that fails, or is full, at any system call: the run says so, and nothing is told of that is not stored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from chores import ITEMS, Notes
from forks import Forks
from test_killed import LONG

WORDS = {"EIO": "Input/output error", "ENOSPC": "No space left", "short": "No space left"}


def _points(calls: list[str], how: str) -> list[int]:
    return [at for at, name in enumerate(calls, 1) if how != "short" or name == "write"]


def _what_is_wrong(ended: dict[str, Any], told: list[str], how: str) -> list[str]:
    wrong = list(ended["problems"])
    if not ended["failed"]:
        wrong.append("nothing failed")
    if ended["raised"] not in (None, "StoreFailed"):
        wrong.append(f"raised {ended['raised']}: {ended['message']}")
    if ended["raised"] and WORDS[how] not in ended["message"]:
        wrong.append(f"said {ended['message']}")
    if ended["raised"] and sorted(ended["reported"] or []) != sorted(told):
        wrong.append(f"reported {told}, and the batch has {ended['reported']}")
    if ended["threads"]:
        wrong.append(f"left {ended['threads']}")
    return wrong


def _notes(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("how", ["EIO", "ENOSPC", "short"])
@pytest.mark.parametrize("chore", ["run", "threads", "refetch", "compact", "repair"])
def test_a_disk_may_fail_at_any_call(
    chore: str, how: str, lasting: bool, forks: Forks, tmp_path: Path
) -> None:
    """The same process makes the same call again when there is room, and finds nothing in its way."""
    start, store, notes, again = (tmp_path / name for name in ("start", "store", "notes", "again"))
    if chore in ("refetch", "compact", "repair"):
        forks("make", start, tmp_path / "made", what="spoilt" if chore == "repair" else "in parts")
        shutil.copytree(start, store)
    calls = forks("do", store, notes, chore=chore)["calls"]
    points = _points(calls, how)
    if not LONG and how != "short":
        # Of either error every second call, so that each is met by one of them.
        points = points[how == "EIO" :: 2 if chore == "run" else 6]
    survived = 0
    for at in points:
        shutil.rmtree(store)
        if start.exists():
            shutil.copytree(start, store)
        ended = forks(
            "do",
            store,
            _notes(notes),
            chore=chore,
            at=at,
            how=how,
            lasting=lasting,
            again=str(_notes(again)),
            mended=chore == "repair",
        )
        if chore == "threads" and not ended["failed"]:
            continue  # results gathered otherwise this time
        told = Notes(notes).all("told")
        assert _what_is_wrong(ended, told, how) == [], (at, calls[at - 1])
        assert ended["raised"] or sorted(told) == sorted(ITEMS) or chore in ("compact", "repair"), at
        survived += ended["raised"] is None
    # Only what is left lying about, to be swept up later, may fail unnoticed.
    assert survived <= calls.count("unlink") + calls.count("mkdir")


@pytest.mark.parametrize("how", ["EIO", "short"])
def test_a_disk_may_fail_at_any_call_and_no_write_is_sent_twice(
    how: str, forks: Forks, tmp_path: Path
) -> None:
    store, notes, again = (tmp_path / name for name in ("store", "notes", "again"))
    points = _points(forks("do", store, notes, chore="writes")["calls"], how)
    unknown = 0
    for at in points if LONG else points[:: 5 if how == "EIO" else 2]:
        shutil.rmtree(store)
        ended = forks("do", store, _notes(notes), chore="writes", at=at, how=how)
        assert ended["failed"]
        noted = Notes(notes)
        answer = forks(
            "check writes", store, _notes(again), sent=noted.all("call"), told=noted.all("told"), workers=1
        )
        assert answer["problems"] == [], at
        unknown += answer["unknown"]
    assert unknown > 0
