"""Framed messages over a socket pair, and what travels in them.

A frame is one byte of kind, eight of length, and the payload. Towards the child everything is cloudpickled,
so that lambdas, closures and classes of ``__main__`` go along by value. Back comes plain pickle where it can,
cloudpickle where it must.
"""

from __future__ import annotations

import pickle
import select
import socket
import struct
import threading
import traceback
from array import array
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import cloudpickle

from fetchline.errors import FetchlineError, Unpicklable, text_of
from fetchline.worker.shared import MOST, Memory, Parcel, pack, unpack

__all__ = ["Frame", "Pipe", "RemoteError", "dump", "dump_error", "dump_value", "load", "pack_value", "show"]

_HEADER = struct.Struct("!cBQ")
_CHUNK = 1 << 16
_DESCRIPTORS = socket.CMSG_SPACE(MOST * array("i").itemsize)
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

Frame = tuple[bytes, "bytes | bytearray", Sequence[Memory]]
"""Its kind, its payload, and the shared memory that came with it."""


class Pipe:
    """One end of a socket pair; one thread reads, any thread may send."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()
        self._memories: list[Memory] = []
        self._send_lock = threading.Lock()
        # Not select(): that ends at descriptor 1023.
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def send(self, kind: bytes, payload: bytes = b"", files: Sequence[BinaryIO] = ()) -> None:
        """Send one frame, and close ``files``: they are the other side's now.

        Raises:
            OSError: the other end is gone.
        """
        header = _HEADER.pack(kind, len(files), len(payload))
        with self._send_lock:
            if files:
                socket.send_fds(self.sock, [header], [file.fileno() for file in files])
                self.sock.sendall(payload)
            elif len(payload) < _CHUNK:
                self.sock.sendall(header + payload)
            else:
                self.sock.sendall(header)
                self.sock.sendall(payload)
        for file in files:
            file.close()

    def receive(self, timeout: float | None = None) -> Frame | None:
        """Wait for one frame; None when ``timeout`` seconds are over first.

        Raises:
            EOFError: the other end is gone.
        """
        while len(self._buffer) < _HEADER.size:
            if timeout is not None and not self._poll.poll(max(timeout, 0.0) * 1000):
                return None
            self._more()
        kind, count, size = _HEADER.unpack_from(self._buffer)
        del self._buffer[: _HEADER.size]
        memories: Sequence[Memory] = ()
        if count:
            memories, self._memories = self._memories[:count], self._memories[count:]
        if size <= len(self._buffer):
            payload = self._buffer[:size]
            del self._buffer[:size]
            return kind, payload, memories
        payload = bytearray(size)
        have = len(self._buffer)
        payload[:have] = self._buffer
        self._buffer.clear()
        view = memoryview(payload)
        while have < size:
            try:
                count = self.sock.recv_into(view[have:])
            except OSError:
                count = 0
            if not count:
                raise EOFError
            have += count
        return kind, payload, memories

    def at_end(self) -> bool:
        """Whether the other end is gone and has left nothing to read."""
        if self._buffer or not self._poll.poll(0):
            return False
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _more(self) -> None:
        # Descriptors come with the first byte of their header; a payload is never read past its end.
        try:
            data, extra, _, _ = self.sock.recvmsg(_CHUNK, _DESCRIPTORS, _CLOSE_ON_EXEC)
        except OSError:
            data, extra = b"", []
        if not data:
            raise EOFError
        for _, _, packed in extra:
            self._memories += map(Memory, array("i", packed))
        self._buffer += data

    def close(self) -> None:
        self.sock.close()


class RemoteError(FetchlineError):
    """Stands for an exception of a worker process that does not survive pickling.

    Attributes:
        type_name: the exception's type.
        text: its text.
    """

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(type_name, text)
        self.type_name = type_name
        self.text = text

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text}"


class _RemoteTraceback(Exception):  # a cause to be printed, not an error to be caught
    """The traceback of the worker process, as text; the cause of the error it came with."""

    def __init__(self, text: str) -> None:
        super().__init__(text)

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def dump(value: Any, what: Callable[[], str]) -> bytes:
    """Pickle something for a child.

    Raises:
        Unpicklable: it cannot be; names ``what`` it is, and the reason.
    """
    try:
        return bytes(cloudpickle.dumps(value, protocol=5))
    except BaseException as error:  # a __reduce__ may raise anything at all
        raise Unpicklable(
            f"{what()} cannot be sent to a worker process: {type(error).__name__}: {text_of(error)}"
        ) from error


def show(value: Any) -> str:
    """The beginning of a value's repr; the name of its type where that fails."""
    try:
        return f"{value!r:.100}"
    except Exception:
        return f"<{type(value).__qualname__}>"


load = unpack


def dump_value(value: Any) -> bytes:
    """Pickle something for the parent.

    Raises:
        Exception: it cannot be.
    """
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:
        return bytes(cloudpickle.dumps(value, protocol=5))


def pack_value(value: Any) -> Parcel:
    """Pickle something for the parent, its large buffers in shared memory.

    Raises:
        Exception: it cannot be.
    """
    try:
        return pack(value)
    except Exception:
        return Parcel(dump_value(value))


def dump_error(error: BaseException) -> bytes:
    """Pickle an error so that it is sure to unpickle, with its traceback as text."""
    text = "".join(traceback.format_exception(error))
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    stand_in = RemoteError(f"{type(error).__module__}.{type(error).__qualname__}", text_of(error))
    itself = b""
    for form in (error, _Bare(error)):
        try:
            itself = dump_value(form)
            pickle.loads(itself)
            break
        except BaseException:  # a __reduce__ or __init__ may raise anything at all
            itself = b""
    return pickle.dumps((itself, stand_in, text, notes))


class _Bare:
    """An exception in pieces: one whose ``__init__`` takes other arguments than it passes on does not load whole."""

    def __init__(self, error: BaseException) -> None:
        self._pieces = type(error), error.args, dict(error.__dict__)

    def __reduce__(self) -> tuple[Any, ...]:
        return _put_together, self._pieces


def _put_together(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    str(error)  # one that cannot tell what happened is of no use
    return error


def load_error(payload: bytes) -> BaseException:
    """Get back an error; a stand-in with its type's name and text where it does not load on this side."""
    itself, error, text, notes = pickle.loads(payload)
    try:
        if itself:
            error = pickle.loads(itself)
    except BaseException:  # what the worker could import, this process may not
        pass
    assert isinstance(error, BaseException)
    if notes and not getattr(error, "__notes__", None):
        error.__notes__ = notes
    error.__cause__ = _RemoteTraceback(text)
    return error
