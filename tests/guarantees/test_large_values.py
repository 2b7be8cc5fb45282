"""Large values come back from worker processes through shared memory: whole, writable or not, and without leaks."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import fetchline as fl

ROWS = 200_000  # 1.6 MB a column: above the threshold


def _frame(n: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"n": pl.int_range(ROWS, eager=True) + n, "s": [f"row {n}", None] * (ROWS // 2)},
        schema={"n": pl.Int64, "s": pl.String},
    )


async def _frame_async(n: int) -> pl.DataFrame:
    return _frame(n)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("function", [_frame, _frame_async])
def test_large_frames_are_the_same_as_they_were_made(function: Any) -> None:
    values = fl.run(function, range(5), executor="process", workers=2, progress=None).values
    for n, frame in enumerate(values):
        assert frame.equals(_frame(n))
        assert frame.with_columns(pl.col("n") + 1)["n"].sum() == _frame(n)["n"].sum() + ROWS


def test_large_frames_are_found_inside_other_values() -> None:
    def nested(n: int) -> Any:
        return {"frames": [_frame(n), pl.DataFrame({"small": [n]}), _frame(n + 1)], "n": n}

    (value,) = fl.run(nested, [3], executor="process", progress=None).values
    one, small, two = value["frames"]
    assert (one.equals(_frame(3)), small["small"].to_list(), two.equals(_frame(4))) == (True, [3], True)


def test_an_empty_plain_executor_call_gives_large_frames_too() -> None:
    with fl.get_executor("process", max_workers=1) as pool:
        assert pool.submit(_frame, 7).result().equals(_frame(7))


def test_buffers_of_other_types_may_be_written_to() -> None:
    def buffer(n: int) -> Any:
        return _Block(bytearray([n]) * 2_000_000)

    one, two = fl.run(buffer, [1, 2], executor="process", workers=1, progress=None).values
    one.data[0] = 9
    assert (one.data[0], one.data[1], two.data[0], len(two.data)) == (9, 1, 2, 2_000_000)


class _Block:
    """A type that hands its buffer out of band (PEP 574), as NumPy's arrays do."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        import pickle

        return _Block, (pickle.PickleBuffer(self.data),)


def test_a_value_that_fails_to_pickle_behind_a_large_frame_is_that_items_failure() -> None:
    def half(n: int) -> Any:
        return [_frame(n), threading.Lock()] if n == 1 else _frame(n)

    batch = fl.run(half, range(3), executor="process", workers=1, progress=None)
    assert [result.status for result in batch] == ["success", "failure", "success"]
    assert batch.failures[0].error_code == "unpicklable"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_large_frames_hold_no_descriptors() -> None:
    with fl.get_executor("process", max_workers=2) as pool:
        fl.run(_frame, range(2), executor=pool, progress=None)
        before = _descriptors()
        batch = fl.run(_frame, range(40), executor=pool, progress=None)
        assert batch.n_succeeded == 40
        assert _descriptors() <= before


def test_large_frames_come_back_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # what "not installed" looks like
    (value,) = fl.run(_frame, [1], executor="process", progress=None).values
    assert value.equals(_frame(1))


def test_large_frames_come_back_where_no_more_can_be_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> Any:
        raise OSError("mmap")

    monkeypatch.setattr("fetchline.worker.shared._map", refuses)
    (value,) = fl.run(_frame, [1], executor="process", progress=None).values
    assert value.equals(_frame(1))


def test_large_frames_that_nobody_reads_take_no_memory_of_the_parent() -> None:
    pytest.importorskip("pyarrow")

    def zeros(n: int) -> pl.DataFrame:
        return pl.DataFrame({"n": pl.repeat(n, 2_500_000, dtype=pl.Int64, eager=True)})

    with fl.get_executor("process", max_workers=2) as pool:
        fl.run(zeros, range(2), executor=pool, progress=None)
        before = _resident()
        batch = fl.run(zeros, range(10), executor=pool, progress=None)
        grown = _resident() - before
    assert batch.n_succeeded == 10
    assert grown < 0.05 * 10 * 20_000_000


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
