"""Every cell of the fault matrix: the fault is injected for real, and the user gets what the page says."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lanes import Log, Script, until

import fetchline as fl

from .cgroups import Unavailable, kills, limited
from .executors import EXECUTORS, Executor
from .injections import Trial
from .matrix import faults
from .record import Ends, Fault, Gets, Never, Raises
from .trial import finished, no_worker_is_left, perform

CELLS = [
    pytest.param(fault, executor, id=f"{fault.name}-{executor.name}")
    for fault in faults().values()
    for executor in EXECUTORS
    if not isinstance(fault.cells[executor.name], Never)
]


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """The fork server is started once, not in the time of whoever comes first."""
    assert fl.run(abs, [1], executor="process", progress=None).values == [1]


@pytest.mark.parametrize(("fault", "executor"), CELLS)
def test_fault(fault: Fault, executor: Executor, log: Log, script: Callable[..., Script]) -> None:
    with memory_limit(fault, log):
        inject(fault, executor, log, script)


@contextlib.contextmanager
def memory_limit(fault: Fault, log: Log) -> Iterator[None]:
    """What the OOM killer needs to come, and that it came."""
    if fault.name != "oom-killer":
        yield
        return
    try:
        with limited() as group:
            (log.path.parent / "group").write_text(str(group))
            yield
            assert kills(group) >= log.count("fired")
    except Unavailable as error:
        pytest.skip(str(error))


def inject(fault: Fault, executor: Executor, log: Log, script: Callable[..., Script]) -> None:
    cell = fault.cells[executor.name]
    if isinstance(cell, Ends):
        program_ends(fault, executor, cell, log, script)
        return
    trial = fault.inject(log)
    try:
        if isinstance(cell, Raises):
            run_raises(trial, executor, cell, log)
        else:
            assert isinstance(cell, Gets)
            user_gets(finished(lambda: perform(trial, executor, log)), trial, cell, log)
    finally:
        no_worker_is_left()


def user_gets(batch: Any, trial: Trial, cell: Gets, log: Log) -> None:
    fired = log.count("fired")
    if cell.patient is not None:
        said = [line[0] for line in log.lines()]
        assert ("late" in said[: said.index("back")]) == cell.patient
    at_least = (cell.attempts or 1) if cell.code else 1
    assert fired >= at_least if cell.fires else not fired
    hit = batch[trial.bad]
    assert (hit.error_code if hit.is_failure else "") == cell.code, hit
    if hit.is_failure:
        for said in cell.says:
            assert said in hit.message
        assert cell.trace in "".join(traceback.format_exception(hit.error))
        assert isinstance(hit.error, fl.WorkerCrashed) == ("WorkerCrashed" in cell.says)
    else:
        assert hit.value == trial.bad or not isinstance(hit.value, int)
    assert cell.attempts in (None, hit.attempts)
    assert [result.index for result in batch] == list(range(len(batch)))
    others = [result for result in batch if result.index != hit.index]
    if cell.others == "fine":
        assert [result.value for result in others] == [result.index for result in others]
        assert cell.attempts is None or {result.attempts for result in others} == {1}
    else:
        assert {result.error_code for result in others} == {cell.code}
        assert {result.attempts for result in others} == {cell.attempts}
    assert batch.complete
    assert batch.report().height == len(batch)


def run_raises(trial: Trial, executor: Executor, cell: Raises, log: Log) -> None:
    with pytest.raises(getattr(fl, cell.error, RuntimeError), match=cell.says) as caught:
        finished(lambda: perform(trial, executor, log))
    assert type(caught.value).__name__ == cell.error
    assert log.count("fired")
    if cell.done is not None:
        batch: Any = caught.value.batch  # type: ignore[attr-defined]
        assert batch.values == list(range(cell.done))
        assert not batch.complete


def program_ends(
    fault: Fault, executor: Executor, cell: Ends, log: Log, script: Callable[..., Script]
) -> None:
    source = "from faults.trial import main; import sys\nif __name__ == '__main__': main(*sys.argv[1:])"
    run = script(source, fault.name, executor.name, log.path)
    if executor.name == "processpool":
        # The workers of a pool of the standard library outlive it, and hold its output open.
        until(lambda: run.process.poll() is not None, "its end")
        run.kill()
    assert run.end() == cell.code, run.stderr
    assert log.count("fired")
    until(lambda: not run.leftover(), "its processes to be gone", patience=5)
