"""Where worker processes come from: forked off a small server that has imported, but never used, Polars.

A child forked from a process that has used Polars deadlocks, so the user's process is never forked. The server
is one process for each user's process, started on first use, and leaves with it. ``spawn`` starts a fresh
interpreter instead; slower, and the same in every other way.

multiprocessing's own fork server is not used: it re-imports ``__main__`` and belongs to whoever started it first.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from fetchline.worker.child import CELL_SIZE, Cell
from fetchline.worker.child import main as child_main
from fetchline.worker.logs import levels, relog
from fetchline.worker.sessions import count
from fetchline.worker.transport import Frame, Pipe, dump

__all__ = ["Process", "start"]

_READY = b"1"


class Process:
    """A worker process and the parent's end of its pipe.

    ``position`` and ``began`` are where its cell stood at its end; ``served`` says whether it has ever answered.
    """

    def __init__(self, pid: int, pipe: Pipe, cell: Cell, reap: Any) -> None:
        self.pid = pid
        self.pipe = pipe
        self.cell = cell
        self._reap = reap
        self._lock = threading.Lock()
        self._ended = False
        self.exit_code: int | None = None
        self.position = -1
        self.began = 0.0
        self.served = False

    def receive(self, timeout: float | None = None) -> Frame | None:
        """Wait for a frame; None when so many seconds are over. What it logs and counts is taken on the way.

        Raises:
            EOFError: it has died.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while (frame := self.pipe.receive(timeout)) is not None and frame[0] in b"LS":
            if frame[0] == b"L":
                relog(frame[1])
            else:
                said = bytes(frame[1]).decode()
                count(said[0], said[1:])
            timeout = None if until is None else max(0.0, until - time.monotonic())
        if frame is not None:
            self.served = True
        return frame

    def gone(self) -> bool:
        """Whether it has died, as far as can be seen without waiting."""
        return self.pipe.at_end()

    def kill(self) -> None:
        """End it now; the pid is ours until it has been reaped."""
        with self._lock:
            if not self._ended:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> int | None:
        """Wait for its end and give its exit code; negative is a signal's number."""
        with self._lock:
            if not self._ended:
                self._ended = True
                self.exit_code = self._reap()
                self.position, self.began = self.cell.position, self.cell.began
                self.pipe.close()
                self.cell.close()
        return self.exit_code


def start(method: str = "forkserver") -> Process:
    """Start a worker process.

    Args:
        method: ``"forkserver"`` or ``"spawn"``.
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as file, theirs:
        file.truncate(CELL_SIZE)
        fds = [theirs.fileno(), file.fileno(), _lifeline.end()]
        if method == "forkserver":
            pid, reap = _nursery.fork(fds)
        else:
            pid, reap = _spawn(fds)
        cell = Cell(file.fileno())
    pipe = Pipe(ours)
    about = {
        "pid": os.getpid(),
        "path": sys.path,
        "environ": dict(os.environ),
        "cwd": _cwd(),
        "levels": levels(),
    }
    pipe.send(b"I", dump(about, lambda: "sys.path"))
    return Process(pid, pipe, cell, reap)


def _cwd() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "/"


def _command(code: str) -> list[str]:
    # sys.path goes along: fetchline itself may have been put there by hand.
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"]


def _spawn(fds: list[int]) -> tuple[int, Any]:
    code = f"from fetchline.worker.child import main; main({fds[0]}, {fds[1]}, {fds[2]})"
    process = _start_interpreter(code, fds)
    return process.pid, process.wait


def _start_interpreter(code: str, fds: list[int]) -> subprocess.Popen[bytes]:
    # In a process group of its own: a terminal's Ctrl-C is the parent's affair, even while this one imports.
    return subprocess.Popen(_command(code), pass_fds=fds, stdin=subprocess.DEVNULL, process_group=0)


class _Lifeline:
    """A pipe whose writing end only this process holds, so that its end is the end of this process."""

    def __init__(self) -> None:
        self._ends = (-1, -1)
        self._owner = 0
        self._lock = threading.Lock()

    def end(self) -> int:
        """The end that worker processes watch."""
        with self._lock:
            if self._owner != os.getpid():  # never made, or by the process this one was forked from
                self._ends, self._owner = os.pipe(), os.getpid()
            return self._ends[0]


_lifeline = _Lifeline()


class _Nursery:
    """The user's side of the fork server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._owner = 0

    def fork(self, fds: list[int]) -> tuple[int, Any]:
        with self._lock:
            try:
                sock, pid = self._ask(fds)
            except (OSError, EOFError):
                self._sock = None  # the server was killed; another takes its place
                sock, pid = self._ask(fds)
        return pid, lambda: self._reap(sock, pid)

    def _ask(self, fds: list[int]) -> tuple[socket.socket, int]:
        sock = self._connection()
        socket.send_fds(sock, [json.dumps({"do": "fork"}).encode()], fds)
        return sock, int(json.loads(_line(sock))["pid"])

    def _reap(self, sock: socket.socket, pid: int) -> int | None:
        with self._lock:
            try:
                sock.sendall(json.dumps({"do": "reap", "pid": pid}).encode())
                code: int | None = json.loads(_line(sock))["code"]
            except (OSError, EOFError, ValueError):
                return None
        return code

    def _connection(self) -> socket.socket:
        if self._sock is not None and self._owner == os.getpid():
            return self._sock
        ours, theirs = socket.socketpair()
        with theirs:
            code = f"from fetchline.worker.nursery import main; main({theirs.fileno()})"
            self._process = _start_interpreter(code, [theirs.fileno()])
        atexit.register(ours.close)
        # Popen complains of a process nobody waited for; this one ends when our end of the socket does.
        self._process.returncode = 0
        self._sock, self._owner = ours, os.getpid()
        return ours


def _line(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 16)
    if not data:
        raise EOFError
    return data


_nursery = _Nursery()


def main(fd: int) -> None:
    """Live as the fork server: fork on request, reap on request, leave at end of file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import polars

    import fetchline.results

    del polars, fetchline.results
    sock = socket.socket(fileno=fd)
    while True:
        try:
            request, fds, _, _ = socket.recv_fds(sock, 1 << 16, 3)
        except OSError:
            os._exit(0)
        if not request:
            os._exit(0)
        order = json.loads(request)
        if order["do"] == "reap":
            sock.send(json.dumps({"code": _exit_code(order["pid"])}).encode())
            continue
        pid = os.fork()
        if pid == 0:
            sock.close()
            code = 1
            try:
                child_main(*fds)
                code = 0
            finally:
                os._exit(code)
        for given in fds:
            os.close(given)
        sock.send(json.dumps({"pid": pid}).encode())


def _exit_code(pid: int) -> int | None:
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status)
