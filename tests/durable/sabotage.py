"""Lets one system call of a process go wrong: the process is killed at it, or the call fails.

What is met is every call that changes something below a directory, or flushes it: opening for writing, ``write``,
``fsync``, ``link``, ``rename``, ``unlink``, ``mkdir``. They are wrapped where Python makes them, in ``os`` and
``io``, whatever pathlib is asked for; and an audit hook, to which the interpreter itself tells them, says what was
missed.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

__all__ = ["How", "Sabotage"]

How = Literal["before", "after", "half", "EIO", "ENOSPC", "short"]
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Sabotage:
    """What becomes of the calls below a directory, from when ``install`` is called.

    Args:
        root: the directory.
        at: the number of the call that goes wrong, from 1; none does if it is 0.
        how: killed ``before`` or ``after`` it, or with ``half`` of the bytes written; or the call fails, ``short``
            with half of the bytes written, as on a disk that gets full.
        lasting: it fails from then on.

    Attributes:
        calls: the names of those made so far.
        heard: what the interpreter told the audit hook of them: it knows nothing of writes and flushes.
    """

    def __init__(self, root: Path, at: int = 0, how: How = "before", *, lasting: bool = False) -> None:
        self.root = str(root)
        self.at, self.how, self.lasting = at, how, lasting
        self.calls: list[str] = []
        self.heard: list[str] = []
        self.failed = 0
        self._lock = threading.Lock()
        self._on = False

    def install(self) -> None:
        self._on = True
        for name in ("link", "rename", "replace", "unlink", "remove", "mkdir"):
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        real_open, real_fsync = os.open, os.fsync

        def watched_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if self._is_mine(path) and flags & _WRITES:
                return self._call("open", lambda: real_open(path, flags, *args, **kwargs))
            return real_open(path, flags, *args, **kwargs)

        def watched_fsync(handle: int) -> None:
            if self._is_mine(Path(f"/proc/self/fd/{handle}").readlink()):
                return self._call("fsync", lambda: real_fsync(handle))
            return real_fsync(handle)

        os.open, os.fsync = watched_open, watched_fsync  # type: ignore[assignment]
        real_io_open, sabotage = io.open, self

        class Written(io.FileIO):
            """A file without a buffer: each write is a call."""

            def write(self, data: Any) -> int:
                return sabotage._call(
                    "write", lambda: super(Written, self).write(data), half=lambda: self._half(data)
                )

            def _half(self, data: Any) -> None:
                super().write(bytes(data)[: len(data) // 2])

        def watched_io_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not isinstance(file, int) and self._is_mine(file) and set(mode) & set("wxa+"):
                assert "b" in mode, "text is not written to a store"
                return self._call("open", lambda: Written(file, mode.replace("b", "")))
            return real_io_open(file, mode, *args, **kwargs)

        io.open = watched_io_open
        sys.addaudithook(self._hear)

    def remove(self) -> None:
        """Nothing is counted or goes wrong any more."""
        self._on = False

    def _is_mine(self, path: Any) -> bool:
        return self._on and os.fsdecode(path).startswith(self.root)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def watched(path: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_mine(path):
                return self._call(name, lambda: real(path, *args, **kwargs))
            return real(path, *args, **kwargs)

        return watched

    def _call(self, name: str, real: Callable[[], Any], half: Callable[[], None] | None = None) -> Any:
        with self._lock:
            self.calls.append(name)
            number = len(self.calls)
        mine = bool(self.at) and (number >= self.at if self.lasting else number == self.at)
        if not mine:
            return real()
        match self.how:
            case "before":
                _die()
            case "after":
                try:
                    real()
                finally:
                    _die()
            case "half":
                if half is not None:
                    half()
                _die()
            case "short":
                if half is not None:
                    half()
        self.failed += 1
        code = errno.EIO if self.how == "EIO" else errno.ENOSPC
        raise OSError(code, os.strerror(code))

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._on or event not in ("open", "os.link", "os.rename", "os.remove", "os.mkdir"):
            return
        path = args[0]
        if isinstance(path, int) or not self._is_mine(path):
            return
        if event == "open":
            mode, flags = args[1:]
            if not (flags & _WRITES or set(mode or "") & set("wxa+")):
                return
        self.heard.append(event.removeprefix("os."))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # it comes at once, in whatever thread
