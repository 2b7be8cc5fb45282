"""Large buffers between processes: in shared memory that belongs to nobody but its descriptors.

A frame pickled through a pipe is copied four times. Above a threshold its columns are written, as an Arrow
IPC file, to anonymous memory instead, whose descriptor travels over the socket and which the parent maps: with
pyarrow nothing is copied at all, and pages that nobody reads are never loaded. The same goes for the
buffers that other types hand out when they are pickled with protocol 5 (PEP 574): NumPy arrays, Arrow tables.
There is no name, so there is nothing to unlink and nothing left over after a crash.
"""

from __future__ import annotations

import copyreg
import ctypes
import functools
import io
import os
import pickle
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

__all__ = ["MOST", "Memory", "Parcel", "pack", "unpack"]

THRESHOLD = 1 << 20
"""Bytes from which a buffer is worth a mapping of its own; a process may have some 65,000 of them."""

MOST = 250
"""Descriptors in one message; Linux allows 253."""

_FRAME, _BUFFER = b"F", b"B"


class Parcel(NamedTuple):
    """A pickled value: what goes through the pipe, and the memory whose descriptors go along."""

    payload: bytes
    files: Sequence[BinaryIO] = ()


# -- in the child ------------------------------------------------------------------------------------------


class _Shelf:
    """The large buffers of one value while it is pickled; ``kinds`` has one byte for each."""

    def __init__(self) -> None:
        self.files: list[BinaryIO] = []
        self.kinds = b""
        self._frame_is_here = False

    def keep(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer that is large; whether it stays in the pickle (PEP 574's ``buffer_callback``)."""
        if self._frame_is_here:
            self._frame_is_here = False
            return False
        with buffer.raw() as raw:
            if raw.nbytes < THRESHOLD or len(self.files) == MOST:
                return True
            self._add(_BUFFER).write(raw)
        return False

    def reduce_frame(self, frame: Any) -> Any:
        """Reduce a frame: to a buffer that stands for its file, if it is large."""
        if frame.estimated_size() < THRESHOLD or len(self.files) == MOST:
            return frame.__reduce_ex__(5)
        # As one record batch: to find the next one costs the reader a page, and a chunk of the column.
        frame.write_ipc(self._add(_FRAME), record_batch_size=frame.height)
        self._frame_is_here = True
        return _load_frame, (pickle.PickleBuffer(bytearray()),)

    def _add(self, kind: bytes) -> BinaryIO:
        file = _anonymous()
        self.files.append(file)
        self.kinds += kind
        return file


def _anonymous() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("fetchline"), "wb")
    return tempfile.TemporaryFile()  # unlinked while it is open


def pack(value: Any) -> Parcel:
    """Pickle a value, its large buffers apart.

    Raises:
        Exception: it cannot be.
    """
    shelf, out = _Shelf(), io.BytesIO()
    pickler = pickle.Pickler(out, protocol=5, buffer_callback=shelf.keep)
    polars = sys.modules.get("polars")
    if polars is not None:
        pickler.dispatch_table = {**copyreg.dispatch_table, polars.DataFrame: shelf.reduce_frame}
    try:
        pickler.dump(value)
        for file in shelf.files:
            file.flush()
    except BaseException:
        for file in shelf.files:
            file.close()
        raise
    return Parcel(shelf.kinds + out.getvalue() if shelf.files else out.getvalue(), shelf.files)


# -- in the parent -----------------------------------------------------------------------------------------


class Memory:
    """Shared memory that arrived: its descriptor, until it is closed."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def frame(self) -> Any:
        """The frame in it: mapped where pyarrow is there to do it, else read by Polars."""
        import polars

        try:
            import pyarrow
            import pyarrow.ipc
        except ImportError:
            path = Path(f"/proc/self/fd/{self._fd}")
            return polars.read_ipc(path if path.exists() else io.BytesIO(self.view()))
        table = pyarrow.ipc.open_file(pyarrow.py_buffer(self.view())).read_all()
        return polars.from_arrow(table, rechunk=False)

    def view(self) -> memoryview:
        """Its bytes, mapped: writing to them changes them for this process only."""
        size = os.fstat(self._fd).st_size
        try:
            return _map(self._fd, size)
        except OSError:  # too many mappings
            return memoryview(bytearray(os.pread(self._fd, size, 0)))

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def _map(fd: int, size: int) -> memoryview:
    # The mmap module keeps a descriptor open for each mapping before 3.13; a batch of frames would use them up.
    libc = _libc()
    address = libc.mmap(None, size, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE, fd, 0)
    if address == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    buffer = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(buffer, libc.munmap, address, size).atexit = False
    return memoryview(buffer).cast("B")


_PROT_READ, _PROT_WRITE, _MAP_PRIVATE = 1, 2, 2
_MAP_FAILED = ctypes.c_void_p(-1).value


@functools.cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc


def _load_frame(memory: Memory) -> Any:
    return memory.frame()


def unpack(payload: bytes | bytearray, memories: Sequence[Memory] = ()) -> Any:
    """Unpickle what ``pack`` made; the memories are closed, what is mapped of them stays as long as it is used.

    Raises:
        Exception: whatever unpickling raises.
    """
    if not memories:
        return pickle.loads(payload)
    try:
        kinds, body = payload[: len(memories)], memoryview(payload)[len(memories) :]
        return pickle.loads(body, buffers=_buffers(kinds, memories))
    finally:
        for memory in memories:
            memory.close()


def _buffers(kinds: bytes | bytearray, memories: Sequence[Memory]) -> Iterator[Any]:
    for position, memory in enumerate(memories):
        is_frame = kinds[position : position + 1] == _FRAME
        yield memory if is_frame else memory.view()
