"""The store "memory": objects in a dict of this process, for caches and for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import StoredObject, StoreSpec

__all__ = ["Memory"]


class Memory:
    """Objects that live as long as this one; every one has its own.

    >>> store = Memory()
    >>> store.create("a", b"1"), store.create("a", b"2"), store.get("a")
    (True, False, b'1')
    """

    storage_options: Mapping[str, str] | None = None

    def __init__(self, url: str = "memory://") -> None:
        self.url = url
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes) -> None:
        with self._lock:
            self._objects[name] = bytes(data), time.monotonic()

    def create(self, name: str, data: bytes) -> bool:
        with self._lock:
            return self._objects.setdefault(name, made := (bytes(data), time.monotonic())) is made

    def get(self, name: str) -> bytes:
        with self._lock:
            if name not in self._objects:
                raise FileNotFoundError(f"there is no object {name!r} in {self.url}")
            return self._objects[name][0]

    def rename(self, name: str, to: str) -> None:
        with self._lock:
            if name not in self._objects:
                raise FileNotFoundError(f"there is no object {name!r} in {self.url}")
            self._objects[to] = self._objects.pop(name)

    def delete(self, name: str) -> None:
        with self._lock:
            self._objects.pop(name, None)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        with self._lock:
            found = [(name, *held) for name, held in self._objects.items() if name.startswith(prefix)]
        now = time.monotonic()
        return (StoredObject(name, len(data), now - at) for name, data, at in found)


_named: dict[str, Memory] = {}


def _memory(where: str, **options: Any) -> Memory:
    """The store of that name, the same for everybody in this process."""
    return _named.setdefault(where, Memory(where, **options))


@hookimpl
def fetchline_register_stores() -> list[StoreSpec]:
    return [
        StoreSpec(
            name="memory",
            factory=_memory,
            schemes=("memory",),
            summary="a dict of this process: memory://name is a cache of that name",
        )
    ]
