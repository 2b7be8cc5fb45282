"""The store "directory": objects are files.

An object is written under a name nobody looks at, flushed to the disk, and then given its name, which is flushed too:
write, fsync, rename, fsync of the directory, in this order (see "Files are hard", Pillai et al., OSDI 2014, for what
happens in any other).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import StoredObject, StoreSpec

__all__ = ["Directory"]

_DRAFTS = ".drafts"
_STALE_S = 3600.0  # a draft this old is of a writer that was killed
_numbers = itertools.count()


class Directory:
    """Files in a directory, which is made when the first one is written.

    Args:
        path: the directory; ``~`` is the user's home.

    Raises:
        NotADirectoryError: there is a file of that name.
    """

    storage_options: Mapping[str, str] | None = MappingProxyType({})

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._root = Path(path).expanduser().absolute()
        if self._root.exists() and not self._root.is_dir():
            raise NotADirectoryError(f"{path} is a file, and a store is a directory")
        self.url = str(self._root)
        self._made: set[Path] = set()

    def put(self, name: str, data: bytes) -> None:
        draft, path = self._write(name, data)
        try:
            draft.replace(path)
        except OSError:
            _discard(draft)
            raise
        _flush_folder(path.parent)

    def create(self, name: str, data: bytes) -> bool:
        draft, path = self._write(name, data)
        try:
            # Unlike a rename, a link fails if the name is taken.
            os.link(draft, path)
        except FileExistsError:
            return False
        finally:
            _discard(draft)
        _flush_folder(path.parent)
        return True

    def get(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def rename(self, name: str, to: str) -> None:
        path = self._root / to
        self._make(path.parent)
        (self._root / name).replace(path)
        _flush_folder(path.parent)

    def delete(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        folder = self._root / prefix.rpartition("/")[0]
        now = time.time()
        for path, found in _files(folder):
            name = path.relative_to(self._root).as_posix()
            if name.startswith(_DRAFTS + "/"):
                if now - found.st_mtime > _STALE_S:
                    _discard(path)
            elif name.startswith(prefix):
                yield StoredObject(name, found.st_size, max(0.0, now - found.st_mtime))

    def _write(self, name: str, data: bytes) -> tuple[Path, Path]:
        """Write a draft, on the disk when this returns; it and the name it is to have."""
        path = self._root / name
        self._make(path.parent)
        drafts = self._root / _DRAFTS
        self._make(drafts)
        draft = drafts / f"{os.getpid()}-{next(_numbers)}-{time.time_ns()}"
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            _discard(draft)
            raise
        return draft, path

    def _make(self, folder: Path) -> None:
        """Make a directory that outlives a crash of the machine."""
        if folder in self._made:
            return
        missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
        folder.mkdir(parents=True, exist_ok=True)
        for one in missing:
            _flush_folder(one.parent)
        self._made.add(folder)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        try:
            if entry.is_dir():
                yield from _files(Path(entry.path))
            else:
                yield Path(entry.path), entry.stat()
        except FileNotFoundError:  # it was there a moment ago
            continue


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):  # a draft that stays is swept up later
        path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # it has no such thing
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@hookimpl
def fetchline_register_stores() -> list[StoreSpec]:
    return [StoreSpec(name="directory", factory=Directory, summary="files in a directory")]
