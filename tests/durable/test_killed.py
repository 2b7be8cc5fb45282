"""A process that is killed at any system call, and the same call again: nothing reported is lost, or fetched again.

Every call that changes the store is met: see ``sabotage``. The kernel itself has what was written before the kill;
that it is on the disk too, when the machine goes down, is what the flushes are for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from chores import ITEMS, Notes
from forks import Forks

LONG = bool(os.environ.get("FETCHLINE_LONG"))
SIGKILL = 9


class Bench:
    """Stores to be killed at, one for each point."""

    def __init__(self, forks: Forks, folder: Path, start: Path | None = None) -> None:
        self.forks, self.folder, self.start = forks, folder, start
        self.points = 0

    def again(self, start: Path | None) -> Path:
        """A store as it was in the beginning."""
        store = self.folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        if start is not None:
            shutil.copytree(start, store)
        return store

    def do(
        self, chore: str, *, start: Path | None = None, notes: str = "notes", **how: Any
    ) -> dict[str, Any]:
        """Do a chore with a store as it was in the beginning."""
        store = self.again(self.start if start is None else start)
        (self.folder / notes).unlink(missing_ok=True)
        return self.forks("do", store, self.folder / notes, chore=chore, **how)

    def told(self, *notes: str) -> list[str]:
        said = [key for one in notes for key in dict.fromkeys(Notes(self.folder / one).all("told"))]
        return list(dict.fromkeys(said))

    def check(self, told: list[str], point: Any, *, mended: bool = False) -> None:
        self.points += 1
        after = self.folder / "after"
        after.unlink(missing_ok=True)
        answer = self.forks("check", self.folder / "store", after, told=told, mended=mended)
        assert answer["problems"] == [], f"killed at {point}"


def _points(calls: list[str], how: str) -> list[int]:
    return [at for at, name in enumerate(calls, 1) if how != "half" or name == "write"]


@pytest.mark.parametrize("how", ["before", "after", "half"])
@pytest.mark.parametrize("chore", ["run", "stream", "threads"])
def test_a_run_may_be_killed_at_any_call(chore: str, how: str, forks: Forks, tmp_path: Path) -> None:
    bench = Bench(forks, tmp_path)
    whole = bench.do(chore)
    assert bench.told("notes") == ITEMS or chore == "threads"
    points = _points(whole["calls"], how)
    if not LONG and (chore != "run" or how == "after"):  # after one call the disk is as before the next
        points = points[:: 1 if how == "half" else 5]
    for at in points:
        ended = bench.do(chore, at=at, how=how)
        # In threads, results gather as the scheduler will: there may be fewer calls.
        assert ended.get("signal") == SIGKILL or chore == "threads", (at, ended)
        bench.check(bench.told("notes"), (chore, how, at, whole["calls"][at - 1]))
    assert bench.points == len(points)


@pytest.mark.parametrize("how", ["before", "half"])
@pytest.mark.parametrize(("chore", "workers"), [("writes", 1), ("writes in threads", 2)])
def test_a_write_is_not_sent_twice_whatever_call_its_run_is_killed_at(
    chore: str, workers: int, how: str, forks: Forks, tmp_path: Path
) -> None:
    bench = Bench(forks, tmp_path)
    whole = bench.do(chore)
    points = _points(whole["calls"], how)
    if not LONG:
        points = points[:: 3 if how == "before" else 2]
    unknown = 0
    for at in points:
        ended = bench.do(chore, at=at, how=how)
        assert ended.get("signal") == SIGKILL or workers > 1, (at, ended)
        noted = Notes(tmp_path / "notes")
        before = {"sent": noted.all("call"), "told": bench.told("notes"), "workers": workers}
        (tmp_path / "after").unlink(missing_ok=True)
        answer = forks("check writes", tmp_path / "store", tmp_path / "after", **before)
        assert answer["problems"] == [], f"killed at {chore, how, at, whole['calls'][at - 1]}"
        unknown += answer["unknown"]
    assert unknown > 0  # some were under way


@pytest.mark.parametrize("how", ["before", "half"])
@pytest.mark.parametrize("chore", ["refetch", "compact", "repair"])
def test_looking_after_a_store_may_be_killed_at_any_call(
    chore: str, how: str, forks: Forks, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    forks("make", start, tmp_path / "made", what="spoilt" if chore == "repair" else "in parts")
    bench = Bench(forks, tmp_path, start)
    whole = bench.do(chore)
    told = [] if chore == "repair" else ITEMS
    points = _points(whole["calls"], how)
    if chore == "refetch" and how == "before" and not LONG:
        points = points[::2]
    for at in points:
        assert bench.do(chore, at=at, how=how)["signal"] == SIGKILL
        bench.check(told, (chore, how, at, whole["calls"][at - 1]), mended=chore == "repair")
    assert bench.points == len(points) > 0


@pytest.mark.parametrize("part", range(2))
def test_what_takes_up_a_killed_run_may_be_killed_as_well(part: int, forks: Forks, tmp_path: Path) -> None:
    """The first is killed where a record is in the log and its values have no names yet, or the other way round."""
    bench = Bench(forks, tmp_path)
    calls = bench.do("run")["calls"]
    links = [at for at, name in enumerate(calls, 1) if name == "link"]
    firsts = range(1, len(calls) + 1, 3) if LONG else (links[1] + 1, links[2], links[3] + 1, links[-2] + 4)
    for first in list(firsts)[part::2]:
        bench.do("run", at=first, how="before")
        killed = tmp_path / "killed"
        shutil.rmtree(killed, ignore_errors=True)
        shutil.copytree(tmp_path / "store", killed)
        told = bench.told("notes")
        number = len(bench.do("run", start=killed, notes="second")["calls"])
        for at in range(1, number + 1) if LONG else range(1, min(number, 45) + 1, 2):
            assert bench.do("run", start=killed, notes="second", at=at)["signal"] == SIGKILL
            bench.check(list(dict.fromkeys([*told, *bench.told("second")])), (first, at))


def test_every_call_below_the_store_is_met(forks: Forks, tmp_path: Path) -> None:
    """What Python's audit hook is told of is what was wrapped."""
    start = tmp_path / "start"
    forks("make", start, tmp_path / "made", what="in parts")
    for chore in ("run", "stream", "threads", "refetch", "compact", "repair"):
        bench = Bench(forks, tmp_path, None if chore in ("run", "stream", "threads") else start)
        whole = bench.do(chore)
        names = {"replace": "rename", "unlink": "remove"}
        met = Counter(names.get(name, name) for name in whole["calls"] if name not in ("write", "fsync"))
        assert met == Counter(whole["heard"])
        assert {"open", "write", "fsync", "link", "unlink"} <= set(whole["calls"]), chore


# -- the same, seen by the kernel ---------------------------------------------------------------------------

_ONE = """
import json, os, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from tasks import TASKS
print(json.dumps(TASKS["do"](Path({store!r}), {notes!r}, chore="run")))
"""


def _traces() -> bool:
    tracer = shutil.which("strace")
    return (
        tracer is not None and not subprocess.run([tracer, "-o", os.devnull, "true"], check=False).returncode
    )


def _under_strace(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    code = _ONE.format(
        here=str(Path(__file__).parent), store=str(tmp_path / "store"), notes=str(tmp_path / "notes")
    )
    command = ["strace", "-f", "-y", "-o", str(tmp_path / "trace"), *options, sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.skipif(not _traces(), reason="strace is not there, or may not trace")
def test_every_call_that_the_kernel_sees_is_met(tmp_path: Path) -> None:
    import json

    calls = "openat,open,creat,write,pwrite64,writev,fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,"
    ended = _under_strace(tmp_path, "-e", f"trace={calls}unlinkat,mkdir,mkdirat,truncate,ftruncate")
    assert ended.returncode == 0, ended.stderr
    seen: Counter[str] = Counter()
    for line in (tmp_path / "trace").read_text().splitlines():
        match = re.match(r"\d+ +(?:<\.\.\. )?(\w+)[( ](.*)", line)
        if match is None or str(tmp_path / "store") not in line or "resumed" in line:
            continue
        name, rest = match[1], match[2]
        if "open" in name and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", rest):
            continue
        seen[re.sub(r"(at2?|64)$", "", name)] += 1
    met = Counter({"replace": "rename"}.get(name, name) for name in json.loads(ended.stdout)["calls"])
    assert seen == met


@pytest.mark.skipif(not _traces(), reason="strace is not there, or may not trace")
@pytest.mark.parametrize("call", ["fsync", "link", "rename", "unlink"])
def test_a_kill_by_the_kernel_is_no_other(call: str, forks: Forks, tmp_path: Path) -> None:
    for when in (2, 4, 6) if not LONG else range(1, 7):
        bench = Bench(forks, tmp_path)
        bench.again(None)
        (tmp_path / "notes").unlink(missing_ok=True)
        inject = f"inject={call}:signal=SIGKILL:when={when}"
        ended = _under_strace(tmp_path, "-e", f"trace={call}", "-e", inject)
        assert ended.returncode in (-SIGKILL, 128 + SIGKILL), ended.stderr
        bench.check(bench.told("notes"), (call, when))
