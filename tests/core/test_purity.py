"""The core is pure: it decides from events and times, and touches nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fetchline.core

FORBIDDEN = (
    "asyncio",
    "click",
    "concurrent",
    "logging",
    "multiprocessing",
    "os",
    "pluggy",
    "polars",
    "random",
)
FORBIDDEN += ("selectors", "signal", "socket", "subprocess", "sys", "tenacity", "threading", "time", "tqdm")
ALLOWED = {"fetchline.core", "fetchline.interfaces", "fetchline.results"}
MODULES = sorted(Path(fetchline.core.__file__).parent.glob("*.py"))

_SCRIPT = """
import sys
import fetchline.interfaces, fetchline.results
for name in {names}:
    sys.modules[name] = None  # from here on an import of it raises

from fetchline.core.limits import Limits
from fetchline.core.schedule import Schedule
from fetchline.interfaces import Verdict

schedule = Schedule(Limits(2, retry=2, timeout=5.0, rates=((1, 1.0),)), ordered=True)
schedule.feed_from(range(3))
now, left = 0.0, []
while len(left) < 3:
    slot = schedule.lease(now)
    if slot is None:
        now = schedule.timer(now)
    elif slot.number == 1:
        assert schedule.fail(slot, slot.token, "error", Verdict("retry", delay=0.5), now)
    else:
        assert schedule.succeed(slot, slot.token, slot.item, now)
    schedule.drain(now)
    left += schedule.heads(9)
print([slot.value for slot in left], now)
"""


def _imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "the core names what it imports in full"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_core_module_names_a_clock_a_thread_a_loop_or_a_library(module: Path) -> None:
    for name in _imports(module.read_text()):
        assert name.split(".")[0] not in FORBIDDEN
        if name.startswith("fetchline"):
            assert any(name == allowed or name.startswith(allowed + ".") for allowed in ALLOWED), name


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_core_module_opens_prints_or_imports_behind_its_back(module: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Name)}
    assert not names & {"__import__", "breakpoint", "eval", "exec", "import_module", "input", "open", "print"}


def test_the_core_runs_where_none_of_them_can_be_imported() -> None:
    # The interpreter itself needs sys and os.
    names = [name for name in FORBIDDEN if name not in ("os", "sys")]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(names=names)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0, 1, 2] 5.0\n"


def test_importing_the_core_loads_no_loop_and_no_library() -> None:
    script = f"import sys, fetchline.core.schedule; print([m for m in {FORBIDDEN!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(ast.literal_eval(done.stdout))
    assert not loaded & {"asyncio", "click", "multiprocessing", "pluggy", "polars", "tenacity", "tqdm"}
