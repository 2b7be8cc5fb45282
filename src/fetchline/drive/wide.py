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
from fetchline.worker.crash import WorkerCrashed

__all__ = ["serve_wide"]

_NUMBER = struct.Struct("!Q")


def serve_wide(source: Source, worker: RemoteWorker, width: int) -> None:
    """Have up to ``width`` attempts at once made in the process, until the run is over."""
    loop = _FarLoop(worker)
    Pusher(source, loop, "", pickled=True, lane=loop).work(width)


class _FarLoop:
    """A worker process as the pusher sees it."""

    def __init__(self, worker: RemoteWorker) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._programmed: Any = None
        self._next = 0
        self._futures: dict[int, Future[bytes]] = {}
        self._reader: threading.Thread | None = None

    def submit(self, function: Any, run_id: str, blob: bytes, payload: bytes) -> Future[bytes]:
        """Send one call; function and run are the child's own affair."""
        future: Future[bytes] = Future()
        with self._lock:
            process = self._worker.process
            if process is not self._programmed:
                self._worker.ask(b"P", blob)
                self._programmed = process
            self._next += 1
            number = self._next
            self._futures[number] = future
            future.number = number  # type: ignore[attr-defined]  # for cancel()
            self._worker.ask(b"A", _NUMBER.pack(number) + payload)
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="fetchline-reader", daemon=True)
                self._reader.start()
        return future

    def cancel(self, future: Any) -> None:
        """End one attempt; its answer still comes."""
        self._worker.ask(b"K", _NUMBER.pack(future.number))

    def kill(self) -> None:
        self._worker.kill()

    def _read(self) -> None:
        """Answer the futures, until none is open."""
        while True:
            with self._lock:
                if not self._futures:
                    self._reader = None
                    return
            try:
                frame = self._worker.answer(1.0)
            except WorkerCrashed as crash:
                with self._lock:
                    lost, self._futures = self._futures, {}
                    self._programmed = None
                for future in lost.values():
                    future.set_exception(crash)
                continue
            if frame is None or frame[0] != b"A":
                continue
            payload = bytes(frame[1])
            number = _NUMBER.unpack_from(payload)[0]
            with self._lock:
                answered = self._futures.pop(number, None)
            if answered is not None:
                answered.set_result(payload[_NUMBER.size :])
