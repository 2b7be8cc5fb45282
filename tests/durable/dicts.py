"""A store that is a dict, whose writer can be killed: nothing more gets through then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from fetchline.interfaces import StoredObject

__all__ = ["Dict", "Killed", "held_in"]


class Killed(BaseException):
    """Nobody who writes a store is to catch this: the process is gone."""


class Dict:
    """Objects in a dict that outlives this one, as a directory outlives a process.

    Args:
        held: the dict: bytes and when they were written, by name.
        lives: changes that get through; the next one kills. None is all of them.
        after: that one gets through as well, or half of it: of a rename there are both names.
    """

    url = "dict://test"
    storage_options: Mapping[str, str] | None = None

    def __init__(
        self, held: dict[str, tuple[bytes, float]], lives: int | None = None, *, after: bool = False
    ) -> None:
        self.held = held
        self.is_dead = False
        self.changes = 0
        self._lives, self._after = lives, after
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes) -> None:
        with self._lock:
            last = self._change()
            if not last or self._after:
                self.held[name] = bytes(data), time.monotonic()
            self._end(last)

    def create(self, name: str, data: bytes) -> bool:
        with self._lock:
            last = self._change()
            made = name not in self.held
            if made and (not last or self._after):
                self.held[name] = bytes(data), time.monotonic()
            self._end(last)
            return made

    def get(self, name: str) -> bytes:
        with self._lock:
            self._look()
            if name not in self.held:
                raise FileNotFoundError(name)
            return self.held[name][0]

    def rename(self, name: str, to: str) -> None:
        with self._lock:
            last = self._change()
            if name not in self.held:
                raise FileNotFoundError(name)
            if not last or self._after:
                self.held[to] = self.held[name]
            self._end(last)
            del self.held[name]

    def delete(self, name: str) -> None:
        with self._lock:
            last = self._change()
            if not last or self._after:
                self.held.pop(name, None)
            self._end(last)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        with self._lock:
            self._look()
            now = time.monotonic()
            return iter(
                [
                    StoredObject(name, len(data), now - at)
                    for name, (data, at) in self.held.items()
                    if name.startswith(prefix)
                ]
            )

    def _look(self) -> None:
        if self.is_dead:
            raise Killed

    def _change(self) -> bool:
        """Count a change; whether it is the last one."""
        self._look()
        self.changes += 1
        return self._lives is not None and self.changes > self._lives

    def _end(self, last: bool) -> None:
        if last:
            self.is_dead = True
            raise Killed


def held_in(folder: Path) -> dict[str, tuple[bytes, float]]:
    """What is in a directory, as a ``Dict`` holds it."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), time.monotonic())
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != ".drafts"
    }
