"""Guarantee 6: whatever can be written down can go to worker processes; what cannot is one item's failure."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from lanes import Lane, Log

import fetchline as fl

PROCESS: dict[str, Any] = {"executor": "process", "workers": 2, "progress": None}


class Base:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, n: int) -> int:
        return self.factor * n


def test_anything_pickles_lambdas_closures_methods_partials_and_callables() -> None:
    import functools

    factor = 3

    class Callable:
        def __call__(self, n: int) -> int:
            return factor * n

    def recursive(n: int) -> int:
        return 0 if n == 0 else factor + recursive(n - 1)

    for function in (
        lambda n: factor * n,
        recursive,
        Base(3).times,
        functools.partial(lambda m, n: m * n, 3),
        Callable(),
    ):
        batch = fl.run(function, range(6), **PROCESS)
        assert batch.values == [0, 3, 6, 9, 12, 15], batch.failures


def test_anything_pickles_of_items_and_values_of_classes_nobody_can_import() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    def double(point: Point) -> Point:
        return Point(2 * point.x)

    batch = fl.run(double, [Point(n) for n in range(5)], key=lambda point: str(point.x), **PROCESS)
    assert [value.x for value in batch.values] == [0, 2, 4, 6, 8]


def test_anything_pickles_of_errors_of_classes_nobody_can_import() -> None:
    class Refused(Exception):
        def __init__(self, *, symbol: str) -> None:
            super().__init__(symbol)
            self.symbol = symbol

    def refuse(n: int) -> int:
        raise Refused(symbol=f"S{n}")

    batch = fl.run(refuse, range(3), **PROCESS)
    assert ["Refused" in failure.message for failure in batch.failures] == [True] * 3
    assert "S1" in batch[1].message


def test_anything_pickles_not_and_it_is_the_items_own_failure_by_name() -> None:
    items: list[Any] = [0, 1, threading.Lock(), 3, 4]
    batch = fl.run(lambda item: str(item)[:1], items, key=lambda item: str(item)[:20], **PROCESS)
    assert [result.is_failure for result in batch] == [False, False, True, False, False]
    failure = batch[2]
    assert failure.error_code == "unpicklable"
    assert isinstance(failure.error, fl.Unpicklable)
    assert "_thread.lock" in failure.message


def test_anything_pickles_not_and_one_among_many_cheap_items_does_not_take_its_chunk_along() -> None:
    items: list[Any] = list(range(2000))
    items[1234] = threading.Lock()
    batch = fl.run(lambda item: item, items, key=lambda item: str(item)[:20], **PROCESS)
    assert [failure.index for failure in batch.failures] == [1234]
    assert batch.n_succeeded == 1999


def test_anything_pickles_not_and_a_value_is_its_items_failure() -> None:
    def opens(n: int) -> Any:
        return threading.Lock() if n == 57 else n

    batch = fl.run(opens, range(200), **PROCESS)
    assert [failure.index for failure in batch.failures] == [57]
    assert batch[57].error_code == "unpicklable"
    assert "lock" in batch[57].message


class LoadsNowhere:
    """Pickles, and refuses to be unpickled."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> Any:
    raise RuntimeError("will not be loaded")


def test_anything_pickles_not_when_loading_in_the_worker_fails() -> None:
    items: list[Any] = [0, 1, LoadsNowhere(), *range(3, 100)]
    batch = fl.run(lambda item: 1, items, key=str, **PROCESS)
    assert [failure.index for failure in batch.failures] == [2]
    assert batch[2].error_code == "unpicklable"
    assert "will not be loaded" in batch[2].message


def test_anything_pickles_not_when_loading_here_fails() -> None:
    def gives(n: int) -> Any:
        return LoadsNowhere() if n == 42 else n

    batch = fl.run(gives, range(100), **PROCESS)
    assert [failure.index for failure in batch.failures] == [42]
    assert batch[42].error_code == "unpicklable"
    assert "will not be loaded" in batch[42].message


def test_anything_pickles_not_of_a_function_and_every_item_says_so() -> None:
    lock = threading.Lock()

    def locked(n: int) -> int:
        with lock:
            return n

    batch = fl.run(locked, range(5), **PROCESS)
    assert batch.n_failed == 5
    assert set(batch.summary.codes) == {"unpicklable"}
    assert "locked" in batch[0].message
    assert "lock" in batch[0].message


def test_anything_pickles_not_and_nothing_else_is_asked_to_where_nothing_crosses(lane: Lane) -> None:
    if lane.far:
        pytest.skip("things cross to processes")
    lock = threading.Lock()
    batch = lane.run(lambda item: (item, lock), [lock, *range(5)], key=lambda item: str(item)[:20])
    assert batch[0].value == (lock, lock)
    assert batch.n_succeeded == 6


@fl.fetcher("guarantees.by_reference")
def module_fetcher(n: int) -> tuple[int, bool]:
    from fetchline.registry import default

    return os.getpid(), "guarantees.by_reference" in default


def test_anything_pickles_and_a_fetcher_of_a_module_is_imported_by_the_worker() -> None:
    for pid, registered in fl.run("guarantees.by_reference", range(3), **PROCESS).values:
        assert pid != os.getpid()
        assert registered


# -- __main__ ----------------------------------------------------------------------------------------------

UNGUARDED = """
import os, sys
print("main", os.getpid(), flush=True)
import fetchline as fl
from dataclasses import dataclass

RATE = 2

@dataclass
class Quote:
    symbol: str
    price: float

@fl.fetcher(retry=2)
def quote(symbol):
    return Quote(symbol, RATE * len(symbol))

class Session:
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def get(self, n):
        return n * RATE

@fl.fetcher(session=Session)
def through_session(n, *, session=fl.injected):
    return session.get(n)

batch = fl.run(quote, ["A", "BB", "CCC"], executor="process", workers=2, progress=None)
assert all(type(value) is Quote for value in batch.values), batch.values
assert [value.price for value in batch.values] == [2, 4, 6], batch.values
assert fl.run("quote", ["AA"], executor="process", progress=None).values == [Quote("AA", 4)]
assert fl.run(through_session, [1, 2], executor="process", progress=None).values == [2, 4]
assert fl.run(lambda n: n + RATE, [1, 2], executor="process", progress=None).values == [3, 4]
with fl.get_executor(fl.use("process", start="spawn"), max_workers=1) as pool:
    assert fl.run(quote, ["A"], executor=pool, progress=None).values == [Quote("A", 2)]
print("done", flush=True)
"""


def test_anything_pickles_of_a_script_without_a_guard_whose_main_is_never_imported_again(script) -> None:  # type: ignore[no-untyped-def]
    run = script(UNGUARDED)
    run.wait_for("done")
    assert run.end() == 0, run.stderr
    assert sum(line.startswith("main") for line in run.said) == 1
    assert run.stderr == ""


def test_anything_pickles_of_a_program_read_from_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-"],
        input=UNGUARDED,
        text=True,
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("main") == 1


def test_anything_pickles_of_a_module_that_only_the_parents_sys_path_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    (tmp_path / "only_here.py").write_text("def triple(n):\n    return 3 * n\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    assert fl.run(only_here.triple, [1, 2], **PROCESS).values == [3, 6]


# -- notebooks ---------------------------------------------------------------------------------------------

CELLS = [
    "import fetchline as fl\nimport os",
    """
@fl.fetcher("notebook.price", retry=2)
def price(symbol: str) -> dict:
    if symbol == "XXXX":
        raise KeyError(symbol)
    return {"symbol": [symbol], "price": [float(len(symbol))]}

@fl.fetcher("notebook.aprice")
async def aprice(symbol: str) -> dict:
    return {"symbol": [symbol], "price": [float(len(symbol))]}
""",
    # A notebook has a running loop in the main thread; a cell is run twice while it is written.
    """
@fl.fetcher("notebook.price", retry=2)
def price(symbol: str) -> dict:
    if symbol == "XXXX":
        raise KeyError(symbol)
    return {"symbol": [symbol], "price": [float(len(symbol))]}
""",
    "threads = fl.run('notebook.price', ['A', 'BB', 'XXXX', 'CCC'], workers=2)\n"
    "print('threads', threads.n_succeeded, threads.n_failed)",
    "loop = fl.run('notebook.aprice', ['A', 'BB', 'CCC'])\nprint('loop', loop.frame()['price'].sum())",
    "far = fl.run(price, ['A', 'BB', 'CCC'], executor='process', workers=2)\n"
    "print('far', far.frame()['price'].sum())",
    "own = await fl.arun('notebook.aprice', ['A', 'BB'])\nprint('own', own.n_succeeded)",
    "threads",
    "print('pids', len(set(fl.run(lambda n: os.getpid(), range(4), executor='process', workers=1).values)))",
]


def test_anything_pickles_from_a_notebook_with_a_real_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ipykernel and nbclient are not asked to be free of warnings.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nbclient = pytest.importorskip("nbclient")
        nbformat = pytest.importorskip("nbformat")
        pytest.importorskip("ipykernel")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
        # The kernel of this interpreter, whatever kernels the machine has installed.
        _install_kernel(tmp_path, monkeypatch)
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in CELLS])
        client = nbclient.NotebookClient(
            book, timeout=60, kernel_name="fetchline-test", resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()
    printed = "".join(
        output.get("text", "")
        for cell in book.cells
        for output in cell.outputs
        if output.get("name") == "stdout"
    )
    assert "threads 3 1" in printed
    assert "loop 6.0" in printed
    assert "far 6.0" in printed
    assert "own 2" in printed
    assert "pids 1" in printed
    shown = next(output for output in book.cells[7].outputs if output.output_type == "execute_result")
    html = shown["data"]["text/html"]
    assert "notebook.price" in html
    assert "XXXX" in html
    assert "3 of 4 succeeded" in html
    assert "3 of 4 succeeded" in shown["data"]["text/plain"]


def _install_kernel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    spec = folder / "data" / "kernels" / "fetchline-test"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "fetchline", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "data"))
