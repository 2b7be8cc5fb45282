"""What becomes of writes of unknown outcome: what somebody says who has looked, and what a repair leaves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from writing import SERIAL, Opaque, codes, flip_last_bit, killed_in_b, write

import fetchline as fl


def test_writes_of_unknown_outcome_are_settled_and_the_same_call_goes_on(tmp_path: Path) -> None:
    answers = {"b": TimeoutError("lost"), "c": TimeoutError("lost")}
    sent: list[str] = []

    def send(key: str) -> str:
        sent.append(key)
        if key in answers:
            raise answers[key]
        return key.upper()

    keys = ["a", "b", "c"]
    assert len(codes(fl.run(write(send), keys, store=tmp_path, **SERIAL))) == 2
    answers.clear()
    fl.settle(tmp_path, sent={"b": "receipt 7"}, not_sent=["c"])
    for _ in range(2):
        assert fl.run(write(send), keys, store=tmp_path, **SERIAL).values == ["A", "receipt 7", "C"]
    assert sent == ["a", "b", "c", "c"]
    assert fl.run_state(tmp_path).total == 3


def test_a_kill_leaves_what_can_be_settled(tmp_path: Path) -> None:
    store = killed_in_b(tmp_path)
    fl.settle(store, sent=["b"])
    batch = fl.run(write(str.upper), ["a", "b", "c"], store=store, **SERIAL)
    assert batch.values == fl.open_run(store).values == ["a", None, "C"]
    assert [result.status for result in batch] == ["success", "empty", "success"]


def test_writes_settled_without_a_value_have_no_rows(tmp_path: Path) -> None:
    def send(key: str) -> dict[str, str]:
        if key == "b":
            raise TimeoutError("lost")
        return {"receipt": key}

    fl.run(write(send), ["a", "b"], store=tmp_path, **SERIAL)
    fl.settle(tmp_path, sent=["b"])
    for batch in (fl.open_run(tmp_path), fl.run(write(send), ["a", "b"], store=tmp_path, **SERIAL)):
        assert batch.n_failed == 0
        assert batch.frame().rows() == batch.scan().collect().rows() == [("a", "a")]


def test_a_write_that_was_settled_is_undone_without_its_value(tmp_path: Path) -> None:
    def send(key: str) -> str:
        if key == "b":
            raise TimeoutError("lost")
        if key == "c":
            raise fl.NoData
        return f"receipt of {key}"

    undone: list[tuple[str, Any]] = []
    order = fl.Fetcher.of(
        send, "order", idempotent=False, undo=lambda key, value: undone.append((key, value))
    )
    keys = ["a", "b", "c"]
    fl.run(order, keys, store=tmp_path, **SERIAL)
    fl.settle(tmp_path, sent=["b"])
    fl.compact(tmp_path)
    batch = fl.run(order, keys, store=tmp_path, **SERIAL)
    assert batch.undo().n_failed == 0
    assert undone == [("b", None), ("a", "receipt of a")]


def test_what_was_said_may_be_said_otherwise_until_a_run_has_acted_on_it(tmp_path: Path) -> None:
    store = killed_in_b(tmp_path)
    fl.settle(store, not_sent=["b"])
    fl.settle(store, sent={"b": "receipt"})
    assert fl.open_run(store)[1].value == "receipt"
    fl.settle(store, not_sent=["b"])
    assert fl.run(write(str.upper), ["a", "b", "c"], store=store, **SERIAL).values == ["a", "B", "C"]
    with pytest.raises(ValueError, match="'b' has succeeded"):
        fl.settle(store, not_sent=["b"])


def test_a_refusal_names_each_wrong_key_and_those_that_may_be_settled(tmp_path: Path) -> None:
    store = killed_in_b(tmp_path)
    with pytest.raises(ValueError) as refused:
        fl.settle(store, sent=["a", "b"], not_sent=["x"])
    assert str(refused.value) == (
        "nothing was settled: 'x' has no outcome here: it was not started, or is no key of this run; "
        "'a' has succeeded. Of this run unknown is what became of 'b'"
    )
    fl.run(str.upper, ["a"], store=tmp_path / "reads", **SERIAL)
    with pytest.raises(
        ValueError, match="of no item it is unknown; only writes, by fetchers with idempotent"
    ):
        fl.settle(tmp_path / "reads", sent=["a"])


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"sent": ["a"]}, "'a' has succeeded"),
        ({"sent": {"b": 1}, "not_sent": ["x"]}, "'x' has no outcome here"),
        ({"sent": ["b"], "not_sent": ["b"]}, "'b' is said to be sent, and not to be: leave it out of one"),
        ({"sent": [2]}, "takes keys, texts such as the .key of a failure, not a int: 2"),
        ({"sent": None}, "sent= takes several keys, such as a list, not None"),
        ({"sent": {"b": Opaque()}}, "the value of 'b' cannot be stored"),
        ({"sent": {"b": pl.DataFrame({"x": [Opaque()]})}}, "the value of 'b' cannot be stored"),
        ({"not_sent": "b"}, "not_sent= takes several keys, such as a list"),
    ],
)
def test_what_cannot_be_settled_changes_nothing(said: Any, wrong: str, tmp_path: Path) -> None:
    store = killed_in_b(tmp_path)
    with pytest.raises((ValueError, TypeError), match=wrong):
        fl.settle(store, **said)
    assert codes(fl.open_run(store)) == {"b": "unknown_outcome", "c": "cancelled"}


def test_where_there_is_no_run_nothing_is_settled(tmp_path: Path) -> None:
    with pytest.raises(fl.StoreError, match="there is no run in"):
        fl.settle(tmp_path / "none", sent=["a"])
    assert not (tmp_path / "none").exists()


def test_a_write_whose_value_was_damaged_in_the_store_is_not_sent_again(tmp_path: Path) -> None:
    sent: list[str] = []

    def send(key: str) -> str:
        sent.append(key)
        return key

    fl.run(write(send), ["a", "b"], store=tmp_path, **SERIAL)
    for file in (tmp_path / "data").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    damaged = len(list((tmp_path / "data").iterdir()))
    assert len(fl.verify(tmp_path, repair=True)) == damaged
    batch = fl.run(write(send), ["a", "b"], store=tmp_path, **SERIAL)
    assert (codes(batch), sent) == ({"a": "unknown_outcome", "b": "unknown_outcome"}, ["a", "b"])
    assert "was damaged in the store" in str(batch.failures[0].error)


@pytest.mark.parametrize("compacted", [False, True])
def test_writes_of_which_a_damaged_log_may_have_told_are_not_sent_again(
    compacted: bool, tmp_path: Path
) -> None:
    store = tmp_path / "run"
    keys = ["a", "b", "c", "d"]
    sent: list[str] = []

    def send(key: str) -> str:
        sent.append(key)
        if key == "c":
            raise ValueError("refused")
        return key

    fl.run(write(send), keys[:2], store=store, **SERIAL)
    fl.run(write(send), keys, store=store, **SERIAL)
    if compacted:
        fl.compact(store)
    for file in sorted((store / "log").iterdir()):
        spoilt = tmp_path / file.name
        shutil.copytree(store, spoilt)
        there = spoilt / "log" / file.name
        flip_last_bit(there)
        sent.clear()
        try:
            assert file.name in str(fl.verify(spoilt, repair=True))
        except fl.StoreError as error:
            assert "nothing says any more what was sent" in str(error)
            continue
        again = fl.run(write(send), keys, store=spoilt, **SERIAL)
        assert sent == []
        assert {*codes(again).values()} <= {"unknown_outcome"}, file.name


def test_the_log_of_writes_whose_items_were_not_at_hand_is_not_repaired(tmp_path: Path) -> None:
    fl.run(write(str.upper), iter(["a", "b"]), store=tmp_path, **SERIAL)
    log = max((tmp_path / "log").iterdir(), key=lambda file: file.stat().st_size)
    flip_last_bit(log)
    before = sorted(file.name for file in tmp_path.rglob("*"))
    with pytest.raises(fl.StoreError, match="nothing says any more what was sent"):
        fl.verify(tmp_path, repair=True)
    assert sorted(file.name for file in tmp_path.rglob("*")) == before
