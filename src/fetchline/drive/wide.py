"""Coroutines in worker processes: one pipe, one process, and many attempts at once on its event loop.

To the pusher a process looks like an executor whose futures are answered by a reader thread.
"""

from __future__ import annotations

import struct
import threading
from concurrent.futures import Future
from typing import Any

from fetchline.drive.push import Pusher
from fetchline.drive.source import Source
from fetchline.interfaces import RemoteWorker

__all__ = ["serve_wide"]

_LOOK_S = 0.1  # how soon the reader sees that the run is over
_NUMBER = struct.Struct("!Q")


def serve_wide(source: Source, worker: RemoteWorker, width: int) -> None:
    """Have up to ``width`` attempts at once made in the process, until the run is over."""
    loop = _FarLoop(worker)
    try:
        Pusher(source, loop, "", pickled=True, lane=loop, worker=worker).work(width)
    finally:
        loop.close()


class _Line:
    """One process, the answers it owes, and the thread that reads them."""

    def __init__(self, process: Any) -> None:
        self.process = process
        self.futures: dict[int, Future[bytes]] = {}
        self.reader: threading.Thread | None = None


class _FarLoop:
    """A worker process as the pusher sees it; another takes its place when it dies."""

    def __init__(self, worker: RemoteWorker) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._line: _Line | None = None
        self._next = 0
        self._closed = False

    def submit(self, function: Any, run_id: str, blob: bytes, payload: bytes) -> Future[bytes]:
        """Send one call; function and run are the child's own affair."""
        future: Future[bytes] = Future()
        with self._lock:
            line = self._line
            if line is None:
                line = self._line = _Line(self._worker.process)
                self._worker.ask(b"P", blob)
                line.reader = threading.Thread(
                    target=self._read, args=(line,), name="fetchline-reader", daemon=True
                )
                line.reader.start()
            self._next += 1
            line.futures[self._next] = future
            future.number = self._next  # type: ignore[attr-defined]  # for cancel()
            self._worker.ask(b"A", _NUMBER.pack(self._next) + payload)
        return future

    def cancel(self, future: Any) -> None:
        """End one attempt; its answer still comes."""
        with self._lock:
            if self._line is not None and future.number in self._line.futures:
                self._worker.ask(b"K", _NUMBER.pack(future.number))

    def kill(self) -> None:
        self._worker.kill()

    def close(self) -> None:
        """End the reader: the pipe is the lane's again."""
        self._closed = True
        with self._lock:
            reader = None if self._line is None else self._line.reader
        if reader is not None:
            reader.join()

    def _read(self, line: _Line) -> None:
        while not self._closed:
            try:
                frame = line.process.pipe.receive(_LOOK_S)
            except EOFError:
                with self._lock:
                    crash = self._worker.lost(line.process)
                    self._line = None
                    lost = list(line.futures.values())
                for future in lost:
                    future.set_exception(crash)
                return
            if frame is None or frame[0] != b"A":
                continue
            payload = bytes(frame[1])
            with self._lock:
                answered = line.futures.pop(_NUMBER.unpack_from(payload)[0], None)
            if answered is not None:
                answered.set_result(payload[_NUMBER.size :])
