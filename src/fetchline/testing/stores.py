"""``StoreSuite``: what fetchline wants of a store, as tests of one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import fetchline as fl
from fetchline.interfaces import ObjectStore
from fetchline.journal.owner import Owner
from fetchline.testing.suites import given

__all__ = ["StoreSuite"]

NAMES = ("a", "log/00000001", "a b/c+d.e", "100%2Fof/é/日本", "x" * 100, "a/b/c/d/e/f.parquet", "-._~!'()*")
BODIES = {"empty": b"", "small": b"\x00\xff\n", "20 MB": bytes(range(256)) * 80_000}
QUIET: dict[str, Any] = {"progress": None}

Handles = Callable[[], ObjectStore]


class StoreSuite:
    """Hold a store to what fetchline wants of one.

    Subclass it and say what is under test.

    Attributes:
        store: a fixture of that name, of a function that gives an ``ObjectStore`` on one and the same empty place at
            every call, as several processes have it.

    >>> class TestMemory(StoreSuite):
    ...     @pytest.fixture
    ...     def store(self):
    ...         from fetchline.builtin.memory import Memory
    ...         place = Memory()
    ...         return lambda: place
    """

    store: Any = None

    @pytest.fixture
    def handles(self, request: pytest.FixtureRequest) -> Handles:
        """Gives a handle on the place at every call."""
        found: Handles = given(request, "store", ())
        return found

    @pytest.fixture
    def objects(self, handles: Handles) -> ObjectStore:
        return handles()

    # -- objects --------------------------------------------------------------------------------------------

    def test_it_has_the_six_methods(self, objects: ObjectStore) -> None:
        assert isinstance(objects, ObjectStore)
        assert isinstance(objects.url, str)

    @pytest.mark.parametrize("name", NAMES)
    def test_what_was_put_can_be_read_by_another_handle(self, handles: Handles, name: str) -> None:
        handles().put(name, b"1")
        assert handles().get(name) == b"1"
        assert [one.name for one in handles().list()] == [name]

    @pytest.mark.parametrize("body", BODIES)
    def test_a_body_comes_back_as_it_was(self, objects: ObjectStore, body: str) -> None:
        objects.put("put", BODIES[body])
        assert objects.create("created", BODIES[body])
        assert objects.get("put") == objects.get("created") == BODIES[body]
        assert {one.name: one.size for one in objects.list()} == dict.fromkeys(
            ("put", "created"), len(BODIES[body])
        )

    def test_put_takes_the_place_of_what_was_there(self, objects: ObjectStore) -> None:
        objects.put("a/b", b"first")
        objects.put("a/b", b"second")
        assert objects.get("a/b") == b"second"
        assert len(list(objects.list())) == 1

    def test_create_leaves_what_is_there(self, handles: Handles) -> None:
        assert handles().create("a/b", b"first") is True
        assert handles().create("a/b", b"second") is False
        assert handles().get("a/b") == b"first"

    def test_of_several_that_create_one_wins(self, handles: Handles) -> None:
        for step in range(5):
            together = threading.Barrier(8)

            def create(number: int, step: int = step, together: threading.Barrier = together) -> bool:
                objects = handles()
                together.wait()
                return objects.create(f"step/{step}", str(number).encode())

            with ThreadPoolExecutor(8) as pool:
                won = list(pool.map(create, range(8)))
            assert won.count(True) == 1
            assert handles().get(f"step/{step}") == str(won.index(True)).encode()

    def test_what_is_not_there_cannot_be_read_or_renamed(self, objects: ObjectStore) -> None:
        with pytest.raises(FileNotFoundError):
            objects.get("a/b")
        with pytest.raises(FileNotFoundError):
            objects.rename("a/b", "c")

    def test_an_object_is_renamed_with_what_is_in_it(self, objects: ObjectStore) -> None:
        objects.put("staged/a", b"new")
        objects.put("data/a", b"old")
        objects.rename("staged/a", "data/a")
        assert [(one.name, one.size) for one in objects.list()] == [("data/a", 3)]
        assert objects.get("data/a") == b"new"

    def test_an_object_is_deleted_once_or_more_often(self, objects: ObjectStore) -> None:
        objects.put("a/b", b"1")
        objects.delete("a/b")
        objects.delete("a/b")
        objects.delete("never/there")
        assert list(objects.list()) == []
        with pytest.raises(FileNotFoundError):
            objects.get("a/b")

    def test_objects_are_listed_by_how_their_names_begin(self, objects: ObjectStore) -> None:
        for name in ("log/1", "log/2", "log2/1", "data/1", "data/11", "data/2"):
            objects.put(name, name.encode())

        def named(prefix: str) -> list[str]:
            return sorted(one.name for one in objects.list(prefix))

        assert named("log/") == ["log/1", "log/2"]
        assert named("data/1") == ["data/1", "data/11"]
        assert named("nothing/") == []
        assert len(named("")) == 6

    def test_an_age_is_that_since_the_last_writing(self, objects: ObjectStore) -> None:
        objects.put("a", b"1")
        (one,) = objects.list()
        assert 0 <= one.age_s < 60

    def test_nobody_sees_a_part(self, handles: Handles) -> None:
        """A large object takes the place of another while somebody reads and lists."""
        bodies = [bytes([number]) * 3_000_000 for number in range(6)]
        handles().put("one", bodies[0])
        ended = threading.Event()

        def replace() -> None:
            objects = handles()
            for body in bodies[1:]:
                objects.put("one", body)
                objects.create(f"other/{body[0]}", body)
            ended.set()

        writer = threading.Thread(target=replace)
        writer.start()
        objects = handles()
        while not ended.is_set():
            assert objects.get("one") in bodies
            assert all(one.size == 3_000_000 for one in objects.list())
        writer.join()

    # -- runs -----------------------------------------------------------------------------------------------

    def test_a_run_goes_on_where_another_left(self, handles: Handles) -> None:
        calls: list[int] = []
        bad = {3}

        def square(n: int) -> dict[str, int]:
            calls.append(n)
            if n in bad:
                raise ValueError("later")
            return {"n": n, "square": n * n}

        first = fl.run(square, range(10), store=handles(), **QUIET)
        assert first.n_succeeded == 9
        bad.clear()
        calls.clear()
        second = fl.run(square, range(12), store=handles(), **QUIET)
        assert sorted(calls) == [3, 10, 11]
        assert second.frame()["square"].to_list() == [n * n for n in range(12)]
        assert fl.open_run(handles()).frame().equals(second.frame())
        assert second.scan().collect().height == 12
        assert fl.verify(handles()) == {}

    def test_frames_are_read_back_and_scanned(self, handles: Handles) -> None:
        import polars as pl

        def bars(symbol: str) -> pl.DataFrame:
            return pl.DataFrame({"symbol": [symbol] * 3, "close": [1.0, None, 3.0]})

        batch = fl.run(bars, ["A", "B", "C/D"], store=handles(), **QUIET)
        scanned = batch.scan().sort("key", maintain_order=True).collect()
        assert scanned.equals(batch.frame().sort("key", maintain_order=True))
        assert fl.open_run(handles()).scan().select(pl.col("close").sum()).collect().item() == 12

    def test_a_second_run_is_refused(self, handles: Handles) -> None:
        owner = Owner(handles(), "the first")
        try:
            with pytest.raises(fl.StoreBusy, match="is in use by process"):
                fl.run(abs, [1], store=handles(), **QUIET)
        finally:
            owner.release()
        assert fl.run(abs, [1], store=handles(), **QUIET).n_succeeded == 1

    def test_an_owner_that_was_taken_over_writes_nothing(
        self, handles: Handles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from fetchline.journal import owner

        begun, may_end = threading.Event(), threading.Event()

        def waits(symbol: str) -> int:
            if not begun.is_set():
                begun.set()
                assert may_end.wait(60)
            return 1

        monkeypatch.setattr(owner, "STALE_S", -1.0)  # as if the first had not moved for long
        job = fl.submit(waits, ["A"], store=handles())
        assert begun.wait(60)
        fl.run(waits, ["A", "B"], store=handles(), **QUIET)
        before = sorted(one.name for one in handles().list())
        may_end.set()
        with pytest.raises(fl.StoreBusy, match="taken over by another run"):
            job.result()
        assert sorted(one.name for one in handles().list()) == before
        assert fl.verify(handles()) == {}

    def test_damage_is_named_and_put_aside(self, handles: Handles) -> None:
        fl.run(abs, [-1, -2], store=handles(), **QUIET)
        (data,) = [one.name for one in handles().list("data/")]
        body = bytearray(handles().get(data))
        body[len(body) // 2] ^= 1
        handles().put(data, bytes(body))
        assert list(fl.verify(handles())) == [data]
        fl.verify(handles(), repair=True)
        again = fl.run(abs, [-1, -2], store=handles(), **QUIET)
        assert (again.summary.stored, again.values) == (0, [1, 2])

    def test_a_run_is_compacted(self, handles: Handles) -> None:
        for count in (2, 4, 6):
            fl.run(abs, range(count), store=handles(), **QUIET)
        fl.compact(handles())
        assert len(list(handles().list("data/"))) == 1
        assert list(handles().list("staged/")) == []
        assert fl.run(abs, range(6), store=handles(), **QUIET).summary.stored == 6
