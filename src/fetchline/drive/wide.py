"""Coroutines in worker processes: one pipe, one process, and many attempts at once on its event loop.

The pusher submits to it as to an executor; a reader thread answers the futures.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from fetchline.drive.push import Lost, Pusher
from fetchline.drive.source import Source
from fetchline.interfaces import RemoteWorker
from fetchline.worker.logs import levels
from fetchline.worker.transport import Frame, dump

__all__ = ["serve_wide"]

_SUSPENDS_S = 1.0  # how soon a cancelled coroutine must have let the loop go on
_LOOK_S = 0.1  # how soon the reader sees that the run is over
_NUMBER = struct.Struct("!Q")
_BEGUN = struct.Struct("!Qd")


def serve_wide(source: Source, worker: RemoteWorker, width: int) -> None:
    """Have up to ``width`` attempts at once made in the process, until the run is over."""
    loop = _FarLoop(worker)
    try:
        Pusher(source, lane=loop, worker=worker).work(width)
    finally:
        loop.close()


class _Call(NamedTuple):
    future: Future[Frame]
    begun: Callable[[float], None]


class _Line:
    """One process, the answers it owes, and the thread that reads them."""

    def __init__(self, process: Any) -> None:
        self.process = process
        self.calls: dict[int, _Call] = {}
        self.doom: float | None = None
        """When the process is ended, unless an answer shows that its loop is alive."""
        self.blocked = False
        self.reader: threading.Thread | None = None


class _FarLoop:
    """A worker process as the pusher sees it; another takes its place when it dies."""

    def __init__(self, worker: RemoteWorker) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._line: _Line | None = None
        self._next = 0
        self._closed = False

    def submit(self, blob: bytes, payload: bytes, begun: Callable[[float], None]) -> Future[Frame]:
        """Send one call; ``begun`` is told when it begins, infinity meaning not before its session is open."""
        future: Future[Frame] = Future()
        with self._lock:
            line = self._line
            if line is None:
                if self._worker.process.gone():  # while it was idle: that is nobody's crash
                    self._worker.lost(self._worker.process)
                line = self._line = _Line(self._worker.process)
                self._worker.ask(b"V", dump(levels(), str))
                self._worker.ask(b"P", blob)
                line.reader = threading.Thread(
                    target=self._read, args=(line,), name="fetchline-reader", daemon=True
                )
                line.reader.start()
            self._next += 1
            line.calls[self._next] = _Call(future, begun)
            future.number = self._next  # type: ignore[attr-defined]  # for cancel()
            self._worker.ask(b"A", _NUMBER.pack(self._next) + payload)
        return future

    def cancel(self, future: Any) -> None:
        """End one attempt: its answer still comes. If it does not come soon, the process is ended.

        A coroutine that does not suspend blocks the loop for all of them, and the cancellation with it.
        """
        with self._lock:
            line = self._line
            if line is None or future.number not in line.calls:
                return
            self._worker.ask(b"K", _NUMBER.pack(future.number))
            if line.doom is None:
                line.doom = time.monotonic() + _SUSPENDS_S

    def kill(self) -> None:
        self._worker.kill()

    def close(self) -> None:
        """End the reader: the pipe is the lane's again."""
        self._closed = True
        with self._lock:
            if self._line is not None and self._line.doom is not None:
                self._line.process.kill()  # its loop is blocked: it would not hear that it is to leave
            reader = None if self._line is None else self._line.reader
        if reader is not None:
            reader.join()

    def _read(self, line: _Line) -> None:
        while not self._closed:
            try:
                frame = line.process.receive(_LOOK_S)
            except EOFError:
                with self._lock:
                    crash = self._worker.lost(line.process)
                    self._line = None
                    lost = list(line.calls.values())
                for call in lost:
                    call.future.set_exception(Lost() if line.blocked else crash)
                return
            if frame is None:
                if line.doom is not None and time.monotonic() > line.doom:
                    line.blocked = True
                    line.process.kill()
                continue
            kind, payload, memories = frame
            if kind in b"AB":
                line.doom = None
            if kind == b"B":
                number, at = _BEGUN.unpack(payload)
                line.calls[number].begun(at)
            elif kind == b"A":
                with self._lock:
                    answered = line.calls.pop(_NUMBER.unpack_from(payload)[0], None)
                if answered is not None:
                    answered.future.set_result((kind, payload[_NUMBER.size :], memories))
