"""Runs with a store: what is kept, what is fetched again, who may write, and what is said of damage."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import fetchline as fl
from fetchline.builtin.memory import Memory

QUIET: dict[str, Any] = {"progress": None}


class Served:
    """A fetch function that counts its calls, and fails for some items."""

    def __init__(self, make: Callable[[str], Any] | None = None) -> None:
        self.calls: list[str] = []
        self.bad: set[str] = set()
        self.make = make or (lambda symbol: pl.DataFrame({"close": [1.5, 2.5], "of": [symbol, None]}))

    def fetcher(self, **policies: Any) -> fl.Fetcher[..., Any, Any]:
        def prices(symbol: str) -> Any:
            self.calls.append(symbol)
            if symbol in self.bad:
                raise ValueError(f"no such symbol: {symbol}")
            return self.make(symbol)

        return fl.Fetcher.of(prices, "prices", **policies)


@pytest.fixture(params=["directory", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return tmp_path / "run" if request.param == "directory" else f"memory://{request.node.name}"


SYMBOLS = [f"S{n}" for n in range(30)]


def test_the_same_call_again_fetches_nothing(store: Any) -> None:
    served = Served()
    first = fl.run(served.fetcher(), SYMBOLS, store=store, **QUIET)
    again = fl.run(served.fetcher(), SYMBOLS, store=store, **QUIET)
    assert sorted(served.calls) == sorted(SYMBOLS)
    assert (again.summary.stored, again.summary.attempts) == (30, 0)
    assert {result.origin for result in again.successes} == {"store"}
    assert_frame_equal(again.frame(), first.frame())
    assert_frame_equal(again.frame(), fl.run(served.fetcher(), SYMBOLS, **QUIET).frame())


def test_failures_are_tried_again_and_new_items_join(store: Any) -> None:
    served = Served()
    served.bad = {"S3", "S4"}
    first = fl.run(served.fetcher(), SYMBOLS[:10], store=store, **QUIET)
    assert [failure.key for failure in first.failures] == ["S3", "S4"]
    served.bad = {"S4"}
    served.calls.clear()
    second = fl.run(served.fetcher(), SYMBOLS[:12], store=store, **QUIET)
    assert sorted(served.calls) == ["S10", "S11", "S3", "S4"]
    assert [failure.key for failure in second.failures] == ["S4"]
    assert second.frame()["key"].unique(maintain_order=True).to_list() == [
        s for s in SYMBOLS[:12] if s != "S4"
    ]


def test_reuse_all_keeps_failures_and_none_keeps_nothing(store: Any) -> None:
    served = Served()
    served.bad = {"S1"}
    fl.run(served.fetcher(), SYMBOLS[:3], store=store, **QUIET)
    served.calls.clear()
    kept = fl.run(served.fetcher(), SYMBOLS[:3], store=store, reuse="all", **QUIET)
    assert not served.calls
    assert kept.failures[0].message == "ValueError: no such symbol: S1"
    assert kept.failures[0].error_code == "error"
    fl.run(served.fetcher(), SYMBOLS[:3], store=store, reuse="none", **QUIET)
    assert len(served.calls) == 3


def test_what_is_fetched_again_takes_the_place_of_the_old_also_in_the_files(tmp_path: Path) -> None:
    versions = iter(range(100))
    served = Served(lambda symbol: pl.DataFrame({"version": [next(versions)]}))
    fl.run(served.fetcher(), SYMBOLS[:4], store=tmp_path, executor="serial", **QUIET)
    old = fl.open_run(tmp_path)
    again = fl.run(
        served.fetcher(), SYMBOLS[:4], store=tmp_path, reuse=lambda stored: stored.key != "S2", **QUIET
    )
    assert again.frame()["version"].to_list() == [0, 1, 4, 3]
    files = pl.scan_parquet(tmp_path / "data/*.parquet").collect().sort("_key")
    assert files["version"].to_list() == [0, 1, 4, 3]
    assert fl.open_run(tmp_path).frame()["version"].to_list() == [0, 1, 4, 3]
    assert old.frame()["version"].to_list() == [0, 1, 4, 3]  # its files were replaced meanwhile


def test_a_duration_says_what_is_fresh() -> None:
    from fetchline.reuse import Stored

    now = datetime.now(UTC)
    day = fl.fresh("1d")
    assert day(Stored("A", "success", now - timedelta(hours=23)))
    assert not day(Stored("A", "success", now - timedelta(hours=25)))
    assert not day(Stored("A", "failure", now))
    with pytest.raises(ValueError, match="'30m', '1d'"):
        fl.fresh("yesterday")


def test_except_last_fetches_the_newest_of_each_symbol_again(store: Any) -> None:
    calls: list[str] = []

    def bars(symbol: str, period: fl.Period) -> int:
        calls.append(f"{symbol} {period}")
        return 1

    items = fl.grid(symbol=["A", "B"], period=fl.Period.from_year(2024).quarters())
    fl.run(bars, items, store=store, **QUIET)
    calls.clear()
    fl.run(bars, items, store=store, reuse=fl.except_last(1), **QUIET)
    assert sorted(calls) == ["A 2024-Q4", "B 2024-Q4"]


def test_equal_keys_are_one_fetch(store: Any) -> None:
    served = Served()
    batch = fl.run(served.fetcher(), ["A", "B", "A", "A"], store=store, **QUIET)
    assert sorted(served.calls) == ["A", "B"]
    assert batch.n_succeeded == 4
    assert batch.frame().height == 8
    assert fl.open_run(store).frame().equals(batch.frame())


@dataclass
class Bar:
    day: date
    close: float


VALUES: list[Any] = [
    1,
    -(2**70),
    1.5,
    float("inf"),
    "text",
    "sürrogate \ud800",
    None,
    True,
    b"bytes \x00",
    [1, "two", None],
    (1, (2, 3)),
    {"close": [1.0, 2.0], "day": [date(2024, 1, 1), None]},
    {1: "one", (2, 3): "pair"},
    {"$date": "no date"},
    {"a"},
    datetime(2024, 1, 31, 12, tzinfo=UTC),
    timedelta(days=-1, microseconds=3),
    Decimal("1.10"),
    fl.Period.Q1(2024),
    fl.Args("A", period=1),
    pl.Series("s", [1, 2, None]),
]


@pytest.mark.parametrize(
    "value", VALUES, ids=lambda value: repr(value)[:30].encode("ascii", "replace").decode()
)
def test_a_value_comes_back_as_it_was(value: Any, store: Any) -> None:
    fl.run(lambda _: value, ["A"], store=store, **QUIET)
    batch = fl.run(lambda _: value, ["A"], store=store, **QUIET)
    assert batch.summary.stored == 1
    held = batch.values[0]
    assert type(held) is type(value)
    if isinstance(value, pl.Series):
        assert held.equals(value) and held.name == value.name
    else:
        assert held == value


FRAMES = [
    pl.DataFrame(),
    pl.DataFrame(schema={"a": pl.Int8, "b": pl.List(pl.String)}),
    pl.DataFrame({"_key": [1], "__key": [2]}),
    pl.DataFrame({"a": [None, None]}),
    pl.DataFrame({"a": [timedelta(1)], "b": [Decimal("1.5")], "c": [{"x": 1}], "d": [[1, 2]], "e": [b"x"]}),
    pl.DataFrame({"a": ["x", "y"]}, schema={"a": pl.Categorical}),
    pl.DataFrame({"a": ["x", "y"]}, schema={"a": pl.Enum(["x", "y"])}),
    pl.DataFrame({"a": [datetime(2024, 1, 1)]}, schema={"a": pl.Datetime("ns", "Europe/Berlin")}),
]


def test_frames_come_back_with_their_types(store: Any) -> None:
    keys = [str(n) for n in range(len(FRAMES))]
    fl.run(lambda n: FRAMES[int(n)], keys, store=store, **QUIET)
    for held, frame in zip(fl.open_run(store).values, FRAMES, strict=True):
        assert_frame_equal(held, frame)


def test_a_value_that_cannot_be_stored_is_the_failure_of_its_item(store: Any) -> None:
    values = {"A": 1, "B": object(), "C": pl.DataFrame({"o": [object()]}), "D": pl.DataFrame({"n": [1]})}
    batch = fl.run(lambda key: values[key], list(values), store=store, **QUIET)
    assert [failure.key for failure in batch.failures] == ["B", "C"]
    assert all("cannot be stored" in failure.message for failure in batch.failures)
    assert batch.summary.succeeded == 2


def test_no_data_is_stored_as_such(store: Any) -> None:
    calls: list[str] = []

    def nothing(symbol: str) -> pl.DataFrame:
        calls.append(symbol)
        raise fl.NoData

    fetcher = fl.Fetcher.of(nothing, schema={"a": pl.Int8})
    for _ in range(2):
        batch = fl.run(fetcher, ["A"], store=store, **QUIET)
        assert batch[0].status == "empty"
        assert batch.frame().schema == {"key": pl.String, "a": pl.Int8}
    assert calls == ["A"]


def test_a_stream_hands_out_only_what_is_on_disk(tmp_path: Path) -> None:
    served = Served()
    for result in fl.stream(served.fetcher(), iter(SYMBOLS), store=tmp_path):
        assert result.key in pl.read_parquet(tmp_path / "data/*.parquet")["_key"]
    again = [result.origin for result in fl.stream(served.fetcher(), iter(SYMBOLS), store=tmp_path)]
    assert again == ["store"] * 30
    assert len(served.calls) == 30


def test_results_are_told_of_when_they_are_on_disk(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def on_progress(done: int, total: int | None) -> None:
        stored = sum(len(pl.read_parquet(path)) for path in (tmp_path / "data").glob("*.parquet"))
        seen.append((done, stored // 2))

    served = Served()
    fl.run(served.fetcher(), SYMBOLS, store=tmp_path, on_progress=on_progress, **QUIET)
    assert len(seen) == 30
    assert all(stored >= done for done, stored in seen)
    seen.clear()
    fl.run(served.fetcher(), SYMBOLS, store=tmp_path, on_progress=on_progress, **QUIET)
    assert not seen  # what was stored before finishes nowhere


@pytest.mark.parametrize("executor", ["serial", "thread", "process", "asyncio"])
@pytest.mark.parametrize("bulk", [None, 4])
def test_every_executor_goes_on_where_another_left(executor: str, bulk: int | None, tmp_path: Path) -> None:
    def one(n: int) -> dict[str, int]:
        return {"square": n * n}

    async def one_async(n: int) -> dict[str, int]:
        return {"square": n * n}

    def many(numbers: list[int]) -> list[dict[str, int]]:
        return [{"square": n * n} for n in numbers]

    async def many_async(numbers: list[int]) -> list[dict[str, int]]:
        return [{"square": n * n} for n in numbers]

    sync, is_async = (one, one_async) if bulk is None else (many, many_async)
    fetcher = fl.Fetcher.of(is_async if executor == "asyncio" else sync, "squares", bulk=bulk)
    workers = {} if executor == "serial" else {"concurrency" if executor == "asyncio" else "workers": 2}
    first = fl.run(fetcher, range(10), store=tmp_path, executor=executor, **workers, **QUIET)
    assert first.summary.succeeded == 10
    batch = fl.run(fetcher, range(20), store=tmp_path, executor=executor, **workers, **QUIET)
    assert (batch.summary.stored, batch.summary.attempts) == (10, 10)
    assert batch.frame()["square"].to_list() == [n * n for n in range(20)]
    assert batch.frame()["key"].to_list() == [str(n) for n in range(20)]


async def _arun(served: Served, store: Path) -> tuple[int, list[str]]:
    batch = await fl.arun(served.fetcher(), SYMBOLS[:5], store=store, **QUIET)
    streamed = [
        result.origin async for result in fl.astream(served.fetcher(), iter(SYMBOLS[:6]), store=store)
    ]
    return batch.summary.succeeded, streamed


def test_coroutines_have_stores_too(tmp_path: Path) -> None:
    assert asyncio.run(_arun(Served(), tmp_path)) == (5, ["store"] * 5 + ["fetched"])


class Held(Memory):
    """A store that waits before it creates the n-th object, until it is told to go on."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at
        self.begun, self.go_on = threading.Event(), threading.Event()

    def create(self, name: str, data: bytes) -> bool:
        self.left -= 1
        if self.left == 0:
            self.begun.set()
            assert self.go_on.wait(20), "the caller's loop stood still"
        return super().create(name, data)


async def _square(n: int) -> int:
    return n * n


@pytest.mark.parametrize("at", range(1, 5))
def test_a_loop_goes_on_while_its_store_is_slow(at: int) -> None:
    async def main() -> None:
        held = Held(at)
        task = asyncio.create_task(fl.arun(_square, range(5), store=held, **QUIET))
        assert await asyncio.to_thread(held.begun.wait, 20)
        held.go_on.set()
        assert (await task).values == [0, 1, 4, 9, 16]

    asyncio.run(main())


@pytest.mark.parametrize("at", range(1, 5))
def test_a_task_that_is_cancelled_while_it_writes_lets_the_store_go_with_what_was_written(at: int) -> None:
    calls = []

    async def fetch(n: int) -> int:
        calls.append(n)
        return n

    async def main() -> None:
        held = Held(at)
        task = asyncio.create_task(fl.arun(fetch, range(5), store=held, **QUIET))
        assert await asyncio.to_thread(held.begun.wait, 20)
        task.cancel()
        held.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        made = len(calls)
        batch = await fl.arun(fetch, range(5), store=held, **QUIET)
        assert batch.values == list(range(5))
        assert (batch.summary.stored, batch.summary.attempts) == (made, 5 - made)

    asyncio.run(main())


# -- what it is of -----------------------------------------------------------------------------------------


def test_another_version_params_or_schema_is_refused_and_shown(store: Any) -> None:
    def bars(symbol: str, adjust: str = "none") -> int:
        return len(adjust)

    plain = fl.Fetcher.of(bars, "bars")
    fl.run(plain, ["A"], store=store, params={"adjust": "split"}, **QUIET)
    with pytest.raises(fl.StoreMismatch, match=r"params: stored \{'adjust': '\"split\"'\}, now \{\}"):
        fl.run(plain, ["A"], store=store, **QUIET)
    newer = fl.Fetcher.of(bars, "bars", version="2")
    with pytest.raises(fl.StoreMismatch, match="version: stored '1', now '2'") as mismatch:
        fl.run(newer, ["A"], store=store, params={"adjust": "split"}, **QUIET)
    assert mismatch.value.differences == {"version": ("1", "2")}
    kept = fl.run(newer, ["A"], store=store, params={"adjust": "all"}, on_change="keep", **QUIET)
    assert (kept.values, kept.summary.stored) == ([5], 1)
    anew = fl.run(plain, ["A"], store=store, on_change="refetch", **QUIET)
    assert (anew.values, anew.summary.stored) == ([4], 0)
    assert fl.run(plain, ["A"], store=store, **QUIET).summary.stored == 1


def test_of_what_is_fetched_again_nothing_old_is_used_though_it_was_not_finished(store: Any) -> None:
    calls: list[int] = []

    def scaled(n: int, scale: float = 1.0) -> float:
        calls.append(n)
        return n * scale

    fl.run(scaled, range(20), store=store, **QUIET)
    again: dict[str, Any] = {"store": store, "params": {"scale": 2.0}, **QUIET}
    fl.run(scaled, range(5), on_change="refetch", **again)  # the rest is as if it had been killed
    assert fl.run_state(store).succeeded == 5
    assert fl.plan(scaled, range(20), store=store, params={"scale": 2.0}).held == 5
    calls.clear()
    batch = fl.run(scaled, range(20), on_change="refetch", **again)
    assert batch.values == [2.0 * n for n in range(20)]
    assert (batch.summary.stored, sorted(calls)) == (5, list(range(5, 20)))
    assert fl.open_run(store).values == batch.values
    assert fl.plan(scaled, range(20), store=store, on_change="refetch").held == 0
    assert fl.verify(store) == {}


def test_the_last_of_numbers_are_the_highest(store: Any) -> None:
    def fetch(n: int) -> int:
        calls.append(n)
        return n

    calls: list[int] = []
    fl.run(fetch, range(120), store=store, **QUIET)
    calls.clear()
    fl.run(fetch, range(120), store=store, reuse=fl.except_last(2), **QUIET)
    assert sorted(calls) == [118, 119]


def test_a_template_is_not_taken_for_a_place_nor_files_for_a_run(tmp_path: Path) -> None:
    template = f"{tmp_path}/{{n}}.json"
    with pytest.raises(ValueError, match=r"store=fetchline\.Files\("):
        fl.run(abs, [1], store=template, **QUIET)
    with pytest.raises(TypeError, match="has no log of a run"):
        fl.open_run(fl.Files(template))
    assert fl.Files(template, ignore="adjust").ignore == {"adjust"}
    assert list(tmp_path.iterdir()) == []


def test_compacting_names_the_file_that_is_damaged(tmp_path: Path) -> None:
    fl.run(lambda n: {"n": n}, range(10), store=tmp_path, **QUIET)
    file = next((tmp_path / "data").iterdir())
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    with pytest.raises(fl.StoreDamaged, match=f"data/{file.name} is not what was written"):
        fl.compact(tmp_path)


def test_a_place_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(fl.StoreError, match=r"not empty: it has thesis\.txt"):
        fl.run(abs, [1], store=tmp_path, **QUIET)
    with pytest.raises(fl.StoreFailed, match="is a file, and a store is a directory"):
        fl.run(abs, [1], store=tmp_path / "thesis.txt", **QUIET)
    with pytest.raises(TypeError, match="store must be a path, a URL"):
        fl.run(abs, [1], store=3, **QUIET)
    with pytest.raises(ValueError, match='reuse must be "successes"'):
        fl.run(abs, [1], store=tmp_path, reuse="some", **QUIET)


def test_a_store_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    from fetchline.journal import records

    fl.run(abs, [1], store=tmp_path, **QUIET)
    record = records.Record({"kind": "spell", "at": 0.0, "format": records.FORMAT + 1})
    (tmp_path / "log/00000004").write_bytes(records.seal(record))
    with pytest.raises(fl.StoreTooNew, match="written by a newer fetchline, in format 2"):
        fl.run(abs, [1], store=tmp_path, **QUIET)


# -- who may write -----------------------------------------------------------------------------------------


def test_a_second_run_is_refused_by_name(store: Any) -> None:
    import os

    begun, may_end = threading.Event(), threading.Event()

    def waits(symbol: str) -> int:
        begun.set()
        may_end.wait(30)
        return 1

    job = fl.submit(waits, ["A"], store=store)
    try:
        assert begun.wait(30)
        with pytest.raises(fl.StoreBusy, match=f"in use by process {os.getpid()} on "):
            fl.run(waits, ["A"], store=store, **QUIET)
        with pytest.raises(fl.StoreBusy):
            fl.submit(waits, ["A"], store=store)
        assert fl.run_state(store).status == "running"
    finally:
        may_end.set()
    assert job.result().n_succeeded == 1
    assert fl.run(waits, ["A"], store=store, **QUIET).summary.stored == 1


def test_a_store_that_was_refused_is_free_again(store: Any) -> None:
    fl.run(abs, [1], store=store, **QUIET)
    with pytest.raises(fl.StoreMismatch):
        fl.run(len, ["a"], store=store, **QUIET)
    assert fl.run(abs, [1], store=store, **QUIET).summary.stored == 1


def test_the_mark_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    program = """
        import os
        import fetchline as fl
        from fetchline.builtin.directory import Directory
        from fetchline.journal.owner import Owner

        fl.run(abs, [1], store={store!r}, progress=None)
        Owner(Directory({store!r}), "r")
        os._exit(0)
    """
    code = textwrap.dedent(program.format(store=str(tmp_path)))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert list((tmp_path / "owner").iterdir())
    assert fl.run(abs, [1, 2], store=tmp_path, **QUIET).summary.stored == 1


def test_an_owner_that_was_taken_over_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fetchline.journal import owner

    begun, may_end = threading.Event(), threading.Event()

    def waits(symbol: str) -> int:
        if not begun.is_set():
            begun.set()
            assert may_end.wait(30)
        return 1

    monkeypatch.setattr(owner, "STALE_S", -1.0)  # as if the first had not moved for long
    job = fl.submit(waits, ["A"], store=tmp_path)
    assert begun.wait(30)
    fl.run(waits, ["A", "B"], store=tmp_path, **QUIET)
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    may_end.set()
    with pytest.raises(fl.StoreBusy, match="taken over by another run"):
        job.result()
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    assert fl.verify(tmp_path) == {}


# -- looking after them ------------------------------------------------------------------------------------


def test_a_stored_run_can_be_read_without_running(store: Any) -> None:
    served = Served()
    served.bad = {"S1"}
    batch = fl.run(served.fetcher(), SYMBOLS[:5], store=store, **QUIET)
    read = fl.open_run(store)
    assert_frame_equal(read.frame(), batch.frame())
    assert [result.key for result in read] == SYMBOLS[:5]
    assert read[1].is_failure and read[1].message == "ValueError: no such symbol: S1"
    assert read[0].attempts == 1
    assert read.complete
    assert_frame_equal(read.scan().collect().sort("key"), batch.frame().sort("key"))
    assert_frame_equal(batch.scan().collect().sort("key"), batch.frame().sort("key"))
    state = fl.run_state(store)
    assert (state.fetcher, state.status, state.total, state.succeeded, state.failed, state.missing) == (
        "prices",
        "completed",
        5,
        4,
        1,
        0,
    )
    assert state.rows == 8


def test_items_that_are_not_asked_for_any_more_stay(store: Any) -> None:
    served = Served()
    fl.run(served.fetcher(), SYMBOLS[:5], store=store, **QUIET)
    fl.run(served.fetcher(), SYMBOLS[3:6], store=store, **QUIET)
    assert [result.key for result in fl.open_run(store)] == ["S3", "S4", "S5"]
    assert fl.run(served.fetcher(), SYMBOLS[:6], store=store, **QUIET).summary.stored == 6


def test_a_run_goes_on_by_name(store: Any) -> None:
    served = Served()
    served.bad = {"S1"}
    fetcher = served.fetcher()
    fl.run(fetcher, SYMBOLS[:5], store=store, **QUIET)
    served.bad.clear()
    served.calls.clear()
    batch = fl.resume(store, fetcher, **QUIET)
    assert served.calls == ["S1"]
    assert batch.n_succeeded == 5
    with pytest.raises(fl.UnknownName, match="prices"):
        fl.resume(store, registry=fl.Registry(), **QUIET)
    fl.run(fetcher, iter(SYMBOLS), store=store, **QUIET)
    with pytest.raises(fl.StoreError, match="came from an iterator"):
        fl.resume(store, fetcher, **QUIET)


def test_a_run_goes_on_with_the_keys_of_the_fetcher_in_the_registry_given(store: Any) -> None:
    registry = fl.Registry()

    @fl.fetcher("keyed", registry=registry, key=lambda n: f"n{n}")
    def keyed(n: int) -> int:
        return n

    fl.run(keyed, [1, 2], store=store, **QUIET)
    assert fl.resume(store, registry=registry, **QUIET).summary.stored == 2


def test_items_come_back_as_they_were(store: Any) -> None:
    def bars(symbol: str, period: fl.Period) -> int:
        if period == fl.Period.Q2(2024):
            raise ValueError("later")
        return 1

    items = fl.grid(symbol=["A", "B/C"], period=[fl.Period.Q1(2024), fl.Period.Q2(2024)])
    fl.run(bars, items, store=store, **QUIET)
    assert [result.item for result in fl.open_run(store)] == list(items)
    assert fl.open_run(store).frame is not None
    again = fl.resume(store, bars, **QUIET)
    assert again.summary.stored == 2


@pytest.mark.parametrize(
    "what", ["a bit of a file", "a bit of the log", "a cut", "a missing file", "a foreign file"]
)
def test_damage_is_said_by_name_and_fetched_again_on_demand(what: str, tmp_path: Path) -> None:
    served = Served()
    fl.run(served.fetcher(), SYMBOLS, store=tmp_path, **QUIET)
    expected = fl.open_run(tmp_path).frame()
    data, log = next((tmp_path / "data").iterdir()), tmp_path / "log/00000002"
    name = f"data/{data.name}"
    match what:
        case "a bit of a file":
            body = bytearray(data.read_bytes())
            body[100] ^= 4
            data.write_bytes(body)
        case "a bit of the log":
            body = bytearray(log.read_bytes())
            body[-50] ^= 4
            log.write_bytes(body)
            name = "log/00000002"
        case "a cut":
            data.write_bytes(data.read_bytes()[:-1])
        case "a missing file":
            data.unlink()
        case "a foreign file":
            name = "data/mine.parquet"
            (tmp_path / name).write_bytes(b"PAR1")
    assert name in fl.verify(tmp_path)
    with pytest.raises(fl.StoreDamaged, match="verify") as caught:
        _ = fl.open_run(tmp_path).frame()
    assert name in caught.value.files
    assert name in fl.verify(tmp_path, repair=True)
    assert fl.verify(tmp_path) == {}
    assert_frame_equal(fl.run(served.fetcher(), SYMBOLS, store=tmp_path, **QUIET).frame(), expected)


def test_compacting_keeps_every_result(store: Any) -> None:
    served = Served(lambda symbol: 1 if symbol < "S2" else pl.DataFrame({"a": [symbol]}))
    served.bad = {"S5"}
    for count in range(5, 30, 5):
        fl.run(served.fetcher(), SYMBOLS[:count], store=store, **QUIET)
    before = list(fl.open_run(store))
    fl.compact(store)
    after = list(fl.open_run(store))
    for old, new in zip(before, after, strict=True):
        assert (old.key, old.item, old.status, old.attempts) == (new.key, new.item, new.status, new.attempts)
    assert fl.verify(store) == {}
    if isinstance(store, Path):
        assert len(list((store / "data").iterdir())) == 2
    assert fl.run(served.fetcher(), SYMBOLS[:25], store=store, reuse="all", **QUIET).summary.attempts == 0


def test_runs_are_found_below_a_directory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fl.run(abs, [-1], store=tmp_path / "2024/q1", **QUIET)
    fl.run(len, ["a"], store=tmp_path / "2024/q2", **QUIET)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/run.json").write_text("{}")
    assert [state.fetcher for state in fl.list_runs(tmp_path)] == ["abs", "len"]
    next((tmp_path / "2024/q1/data").iterdir()).unlink()
    assert [state.fetcher for state in fl.list_runs(tmp_path)] == ["len"]
    assert f"{tmp_path / '2024/q1'} is damaged" in caplog.text
    with pytest.raises(NotADirectoryError):
        next(fl.list_runs(tmp_path / "none"))


@pytest.mark.parametrize("repair", [False, True])
def test_where_there_is_nothing_nothing_is_well(repair: bool, store: Any) -> None:
    with pytest.raises(fl.StoreError, match="there is no run in"):
        fl.verify(store, repair=repair)


def test_what_is_asked_for_can_be_read_by_people(tmp_path: Path) -> None:
    fl.run(abs, [-1], store=tmp_path, **QUIET)
    assert json.loads((tmp_path / "run.json").read_text()) == {
        "fetcher": "abs",
        "version": "1",
        "params": {},
        "schema": None,
    }


# -- tasks that are not ready ------------------------------------------------------------------------------


def test_a_task_that_was_begun_is_not_begun_again(store: Any) -> None:
    begun: list[str] = []
    told: list[Any] = []
    done = threading.Event()

    def task(symbol: str) -> str:
        memo = fl.attempt().memo
        told.append(memo)
        if memo is None:
            begun.append(symbol)
            raise fl.NotReady(0.01, memo={"task": f"task of {symbol}"})
        if not done.is_set():
            raise fl.NotReady(0.01, memo=memo)
        return str(memo["task"])

    job = fl.submit(task, ["A"], store=store)
    while not told or told[-1] is None:
        assert not job.wait(0.01)
    job.cancel()
    with pytest.raises(fl.BatchCancelled):
        job.result()
    done.set()
    batch = fl.run(task, ["A"], store=store, **QUIET)
    assert batch.values == ["task of A"]
    assert begun == ["A"]


# -- files -------------------------------------------------------------------------------------------------


def test_files_are_skipped_where_they_exist(tmp_path: Path) -> None:
    calls: list[str] = []

    def daily(symbol: str, period: fl.Period) -> pl.DataFrame:
        calls.append(symbol)
        return pl.DataFrame({"of": [symbol]})

    store = fl.Files(f"{tmp_path}/daily/{{symbol}}/{{period}}.parquet")
    items = fl.grid(symbol=["A", "B/C"], period=[fl.Period.Q1(2024), fl.Period.Q2(2024)])
    first = fl.run(daily, items, store=store, **QUIET)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    assert names == [
        "daily/A/2024-Q1.parquet",
        "daily/A/2024-Q2.parquet",
        "daily/B%2FC/2024-Q1.parquet",
        "daily/B%2FC/2024-Q2.parquet",
    ]
    (tmp_path / names[0]).unlink()
    calls.clear()
    again = fl.run(daily, items, store=store, **QUIET)
    assert calls == ["A"]
    assert_frame_equal(again.frame(), first.frame())
    assert again.scan().collect().height == 4
    newest = fl.run(daily, items, store=store, reuse=fl.except_last(1), **QUIET)
    assert newest.summary.stored == 2


def test_a_template_that_leaves_something_out_is_refused(tmp_path: Path) -> None:
    def daily(symbol: str, year: int) -> pl.DataFrame:
        return pl.DataFrame({"of": [symbol]})

    with pytest.raises(ValueError, match="does not name year"):
        fl.run(
            daily,
            fl.grid(symbol=["A"], year=[1, 2]),
            store=fl.Files(f"{tmp_path}/{{symbol}}.parquet"),
            **QUIET,
        )
    with pytest.raises(ValueError, match="does not name year"):
        fl.run(daily, ["A"], params={"year": 1}, store=fl.Files(f"{tmp_path}/{{symbol}}.parquet"), **QUIET)
    with pytest.raises(ValueError, match="no parameter of the fetcher"):
        fl.run(daily, ["A"], params={"year": 1}, store=fl.Files(f"{tmp_path}/{{sybmol}}.parquet"), **QUIET)
    with pytest.raises(ValueError, match="names what tells the files apart"):
        fl.Files("daily.parquet")
    ignored = fl.Files(f"{tmp_path}/{{symbol}}.parquet", ignore=["year"])
    assert fl.run(daily, ["A"], params={"year": 1}, store=ignored, **QUIET).n_succeeded == 1


@pytest.mark.parametrize(
    ("suffix", "value"), [("json", {"a": [1, date(2024, 1, 1)]}), ("csv", b"a\n1\n"), ("parquet", None)]
)
def test_files_hold_what_their_ending_says(suffix: str, value: Any, tmp_path: Path) -> None:
    store = fl.Files(f"{tmp_path}/{{key}}.{suffix}")
    expected = pl.DataFrame({"a": [1]}) if suffix == "parquet" else value
    for _ in range(2):
        batch = fl.run(lambda _: expected, ["A"], store=store, **QUIET)
        held = batch.values[0]
        assert held.equals(expected) if suffix == "parquet" else held == expected
    assert batch.summary.stored == 1
    wrong = fl.run(lambda _: object(), ["B"], store=store, **QUIET)
    assert "cannot be stored" in wrong.failures[0].message


def test_a_file_that_does_not_parse_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "A.parquet").write_bytes(b"no frame")
    batch = fl.run(lambda _: 1, ["A"], store=fl.Files(f"{tmp_path}/{{key}}.parquet"), **QUIET)
    with pytest.raises(fl.StoreDamaged, match=r"A\.parquet .*does not parse"):
        _ = batch.values


@pytest.fixture(autouse=True)
def nobody_is_left_behind() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "fetchline-store-owner"]


# -- undoing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["run", "files"])
def test_what_was_undone_is_not_stored_any_more(kind: str, tmp_path: Path) -> None:
    there: set[str] = set()

    def put(name: str) -> dict[str, str]:
        there.add(name)
        return {"name": name}

    fetcher = fl.Fetcher.of(put, "put", undo=lambda name, receipt: there.remove(receipt["name"]))
    store = tmp_path / "run" if kind == "run" else fl.Files(f"{tmp_path}/{{name}}.json")
    fl.run(fetcher, ["A", "B"], store=store, **QUIET)
    batch = fl.run(fetcher, ["A", "B", "C"], store=store, **QUIET)
    assert batch.summary.stored == 2
    assert batch.undo().n_succeeded == 3
    assert not there
    again = fl.run(fetcher, ["A", "B", "C"], store=store, **QUIET)
    assert (again.summary.stored, there) == (0, {"A", "B", "C"})
    if kind == "run":
        assert fl.verify(store) == {}
        assert fl.open_run(store).n_succeeded == 3


def test_a_log_that_grows_long_is_gathered_while_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fetchline.journal import journal

    monkeypatch.setattr(journal, "_LONG", 5)
    gathered: list[object] = []
    compact = journal.Journal.compact

    def counted(self: Any, **how: Any) -> None:
        gathered.append(how)
        compact(self, **how)

    monkeypatch.setattr(journal.Journal, "compact", counted)
    served = Served()
    served.bad = {"S7"}
    stream = fl.stream(served.fetcher(), iter(SYMBOLS), store=tmp_path, window=2, workers=2)
    lengths = [len(list((tmp_path / "log").iterdir())) for _ in stream]
    assert max(lengths) <= 10
    assert 2 <= len(gathered) <= 10  # not at every step from there on
    read = fl.open_run(tmp_path)
    assert [result.key for result in read] == SYMBOLS
    assert read.n_failed == 1
    assert fl.verify(tmp_path) == {}


def test_a_run_ends_well_though_its_store_cannot_be_tidied_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fetchline.journal import journal

    monkeypatch.setattr(journal, "_MANY", 0)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fetchline.journal.compacting.rewritten", full)
    batch = fl.run(Served().fetcher(), SYMBOLS, store=tmp_path, **QUIET)
    assert batch.n_succeeded == 30
    assert "was not tidied up: " in caplog.text
    assert "No space left on device" in caplog.text
    monkeypatch.undo()
    assert fl.verify(tmp_path) == {}
    assert fl.open_run(tmp_path).n_succeeded == 30


# -- what a review found -----------------------------------------------------------------------------------


def test_retrying_failures_leaves_what_was_asked_for_as_it_is(store: Any) -> None:
    served = Served()
    served.bad = {"S1", "S3"}
    batch = fl.run(served.fetcher(), SYMBOLS[:5], store=store, **QUIET)
    served.bad = {"S3"}
    merged = batch.retry_failed()
    assert [failure.key for failure in merged.failures] == ["S3"]
    read = fl.open_run(store)
    assert [result.key for result in read] == SYMBOLS[:5]
    assert_frame_equal(read.frame(), merged.frame())
    served.bad.clear()
    assert fl.resume(store, served.fetcher(), **QUIET).n_succeeded == 5


def test_items_of_an_iterator_stand_in_the_order_in_which_they_came(store: Any) -> None:
    served = Served()
    served.bad = {"S1"}
    fl.run(served.fetcher(), iter(SYMBOLS[:3]), store=store, **QUIET).retry_failed()
    served.bad.clear()
    fl.run(served.fetcher(), iter(SYMBOLS[:4]), store=store, **QUIET).retry_failed()
    assert [result.key for result in fl.open_run(store)] == SYMBOLS[:4]
    fl.compact(store)
    assert [result.key for result in fl.open_run(store)] == SYMBOLS[:4]


def test_a_long_item_in_the_calling_thread_does_not_keep_others_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fetchline import keeping

    monkeypatch.setattr(keeping, "_REST", 0.0)  # as if the disk were never slow
    seen: list[int] = []

    def long(n: int) -> int:
        time.sleep(0.15)
        seen.append(len(fl.open_run(tmp_path)))
        return n

    fl.run(long, iter(range(3)), store=tmp_path, executor="serial", **QUIET)
    assert seen == [0, 1, 2]


def test_lazy_frames_and_tables_of_others_are_stored_as_frames(store: Any) -> None:
    import pyarrow as pa

    values = {"lazy": pl.LazyFrame({"a": [1]}), "arrow": pa.table({"a": [1]})}
    fl.run(lambda key: values[key], list(values), store=store, **QUIET)
    for value in fl.open_run(store).values:
        assert_frame_equal(value, pl.DataFrame({"a": [1]}))


def test_a_value_that_cannot_be_stored_stops_a_run_that_wants_to_know(store: Any) -> None:
    calls: list[int] = []

    def unstorable(n: int) -> object:
        calls.append(n)
        return object()

    with pytest.raises(fl.BatchFailed, match="cannot be stored"):
        fl.run(unstorable, iter(range(100_000)), store=store, on_error="raise", workers=2, **QUIET)
    assert len(calls) < 100_000


def _failing(after: int) -> Any:
    """A store in memory that is full after so many objects."""
    from fetchline.builtin.memory import Memory

    class Full(Memory):
        left = after

        def put(self, name: str, data: bytes) -> None:
            if name.startswith("staged/"):
                Full.left -= 1
                if Full.left < 0:
                    raise OSError(28, "No space left on device")
            super().put(name, data)

    return Full()


@pytest.mark.parametrize("way", ["arun", "astream", "stream", "submit"])
def test_an_error_of_the_store_ends_every_kind_of_run_and_lets_others_at_it(way: str) -> None:
    import asyncio

    place = _failing(1)  # it takes two at the least

    async def square(n: int) -> int:
        return n * n

    async def on_loop() -> None:
        if way == "arun":
            await fl.arun(square, iter(range(100_000)), store=place, progress=None)
        else:
            async for _ in fl.astream(square, iter(range(100_000)), store=place):
                pass

    with pytest.raises(fl.StoreFailed, match="No space left") as caught:
        if way in ("arun", "astream"):
            asyncio.run(asyncio.wait_for(on_loop(), 60))
        elif way == "stream":
            list(fl.stream(square, iter(range(100_000)), store=place))
        else:
            fl.submit(square, iter(range(100_000)), store=place).result(60)
    assert caught.value.batch is not None
    assert list(place.list("owner/")) == []
    type(place).left = 1 << 30
    assert fl.run(square, range(100), store=place, on_change="keep", **QUIET).n_succeeded == 100


def test_a_store_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    job = fl.submit(lambda n: {"n": n}, range(5_000), store=tmp_path / "job", executor="serial")
    streamed = iter(fl.stream(lambda n: {"n": n}, iter(range(3_000)), store=tmp_path / "stream"))
    heights = []
    for count, _ in enumerate(streamed, 1):
        if count % 200 == 0:
            heights.append(fl.open_run(tmp_path / "stream").frame().height)
    assert heights == sorted(heights)
    assert all(height >= count for height, count in zip(heights, range(200, 3_001, 200), strict=True))
    assert job.result().n_succeeded == 5_000
