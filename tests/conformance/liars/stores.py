"""Stores that do not keep what they claim, each in one way; and an honest one beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from fetchline.builtin.memory import Memory
from fetchline.interfaces import StoredObject
from fetchline.testing import StoreSuite

RED = {
    "TestCreatesAnyway": {
        "test_create_leaves_what_is_there": "assert True is False",
        "test_of_several_that_create_one_wins": "assert 8 == 1",
        "test_an_owner_that_was_taken_over_writes_nothing": "DID NOT RAISE",
    },
    "TestWritesInParts": {"test_nobody_sees_a_part": "assert"},
    "TestForgetsToList": {"test_objects_are_listed_by_how_their_names_begin": "assert"},
    "TestListsFolders": {"test_objects_are_listed_by_how_their_names_begin": "assert"},
    "TestKeepsOldNames": {"test_an_object_is_renamed_with_what_is_in_it": "assert"},
    "TestMissesQuietly": {"test_what_is_not_there_cannot_be_read_or_renamed": "DID NOT RAISE"},
    "TestComplainsOfNothingToDelete": {"test_an_object_is_deleted_once_or_more_often": "KeyError"},
    "TestSmallOnly": {"test_a_body_comes_back_as_it_was[20 MB]": "assert"},
}


class CreatesAnyway(Memory):
    def create(self, name: str, data: bytes) -> bool:
        self.put(name, data)
        return True


class WritesInParts(Memory):
    def put(self, name: str, data: bytes) -> None:
        for end in range(0, len(data) + 100_000, 100_000):
            super().put(name, data[:end])
        super().put(name, data)


class ForgetsToList(Memory):
    def list(self, prefix: str = "") -> Any:
        return [one for one in super().list(prefix) if not one.name.endswith("11")]


class ListsFolders(Memory):
    def list(self, prefix: str = "") -> Iterable[StoredObject]:
        folder = prefix.rpartition("/")[0]
        return list(super().list(folder))


class KeepsOldNames(Memory):
    def rename(self, name: str, to: str) -> None:
        self.put(to, self.get(name))


class MissesQuietly(Memory):
    def get(self, name: str) -> bytes:
        try:
            return super().get(name)
        except FileNotFoundError:
            return b""


class ComplainsOfNothingToDelete(Memory):
    def delete(self, name: str) -> None:
        del self._objects[name]


class SmallOnly(Memory):
    def put(self, name: str, data: bytes) -> None:
        super().put(name, data[:10_000_000])


def of(kind: type[Memory]) -> type[StoreSuite]:
    class Held(StoreSuite):
        @pytest.fixture
        def store(self) -> Any:
            place = kind()
            return lambda: place

    Held.__name__ = Held.__qualname__ = f"Test{kind.__name__}"
    return Held


TestHonest = of(type("Honest", (Memory,), {}))
TestCreatesAnyway = of(CreatesAnyway)
TestWritesInParts = of(WritesInParts)
TestForgetsToList = of(ForgetsToList)
TestListsFolders = of(ListsFolders)
TestKeepsOldNames = of(KeepsOldNames)
TestMissesQuietly = of(MissesQuietly)
TestComplainsOfNothingToDelete = of(ComplainsOfNothingToDelete)
TestSmallOnly = of(SmallOnly)
