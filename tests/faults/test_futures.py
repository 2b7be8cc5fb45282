"""Our process pool as a plain ``concurrent.futures`` executor: a fault is one future's, and the pool goes on."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
from lanes import Log

import fetchline as fl

from . import injections, pickles
from .pickles import Trap, TrapError, dies, exits, raises
from .trial import no_worker_is_left

STARTS = {"process": "forkserver", "spawn": "spawn"}


@pytest.fixture(scope="module", params=STARTS)
def pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One pool for all of them: what one fault leaves behind is the next one's affair."""
    with fl.get_executor(fl.use("process", start=STARTS[request.param]), max_workers=2) as made:
        yield made
    no_worker_is_left()


def calls(pool: Any, log: Log, function: Callable[..., Any], *args: Any) -> BaseException:
    """Submit a call among harmless ones, which are not harmed; what its future raises."""
    before = [pool.submit(abs, -n) for n in range(4)]
    faulty = pool.submit(function, *args)
    after = [pool.submit(abs, -n) for n in range(4)]
    error = faulty.exception(timeout=15)
    assert [future.result(timeout=15) for future in (*before, *after)] == [0, 1, 2, 3] * 2
    assert log.count("fired")
    assert isinstance(error, BaseException)
    return error


@pytest.mark.parametrize(
    ("die", "code"),
    [
        pytest.param(injections.exits_at_once, 3, id="os-exit"),
        pytest.param(injections.killed, -9, id="sigkill"),
        pytest.param(injections.segfaults, -11, id="segfault"),
        pytest.param(injections.aborts, -6, id="abort"),
    ],
)
def test_a_worker_that_dies_fails_its_own_future_only(
    pool: Any, log: Log, die: Callable[[], Any], code: int
) -> None:
    def fetch() -> None:
        log.note("fired")
        die()

    error = calls(pool, log, fetch)
    assert isinstance(error, fl.WorkerCrashed)
    assert isinstance(error, BrokenProcessPool)
    assert error.exit_code == code


def test_sys_exit_and_keyboard_interrupt_are_the_futures_own(pool: Any, log: Log) -> None:
    def leaves(how: Callable[[], Any]) -> None:
        log.note("fired")
        how()

    assert isinstance(calls(pool, log, leaves, exits), SystemExit)
    assert isinstance(calls(pool, log, leaves, pickles.interrupts), KeyboardInterrupt)


@pytest.mark.parametrize("act", [raises, exits], ids=["raises", "exits"])
@pytest.mark.parametrize("way", ["argument", "argument-there", "value", "value-here"])
def test_what_cannot_travel_is_its_own_futures(pool: Any, log: Log, act: Any, way: str) -> None:
    packed, unpacked = (None, act) if way in ("argument-there", "value-here") else (act, None)

    def gives(trap: Any) -> Any:
        return Trap(log, packed=packed, unpacked=unpacked) if way.startswith("value") else trap

    trap = None if way.startswith("value") else Trap(log, packed=packed, unpacked=unpacked)
    error = calls(pool, log, gives, trap)
    assert "a trap sprang" in str(error)
    assert f"in {act.__name__}" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("where", ["packed", "unpacked", "unpacked-here"])
def test_an_exception_that_cannot_travel_is_told(pool: Any, log: Log, where: str) -> None:
    def fails() -> None:
        packed, unpacked = (raises, None) if where == "packed" else (None, raises)
        raise TrapError(log, packed, unpacked, where == "unpacked")

    error = calls(pool, log, fails)
    assert "TrapError" in repr(error) + str(error)
    assert "the error's own text" in str(error)
    assert "in fails" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("way", ["argument", "value", "exception"])
def test_a_worker_that_dies_of_what_travels_fails_its_own_future_only(pool: Any, log: Log, way: str) -> None:
    def fetch(trap: Any) -> Any:
        if way == "exception":
            raise TrapError(log, dies, None, False)
        return Trap(log, packed=dies) if way == "value" else 1

    trap = Trap(log, unpacked=dies) if way == "argument" else None
    assert isinstance(calls(pool, log, fetch, trap), fl.WorkerCrashed)
