"""What happened in workers, wherever they are, as lines of a file; and waiting for it to happen.

Workers import this module: it imports nothing that costs them anything.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["PATIENCE_S", "Log", "LoggedSession", "gone", "until"]

PATIENCE_S = 20.0
"""Seconds that anything here waits for something that must happen."""


def until(true: Callable[[], Any], what: str, patience: float = PATIENCE_S) -> None:
    """Wait until something is so that must become so.

    Args:
        true: asked every two milliseconds.
        what: names it in the error.
        patience: seconds.

    Raises:
        AssertionError: it did not become so.

    >>> until(lambda: True, "the obvious")
    """
    deadline = time.monotonic() + patience
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for {what}")
        time.sleep(0.002)


def gone(pid: int) -> bool:
    """Whether there is no process of that id on this machine any more, a zombie not counted.

    >>> gone(os.getpid())
    False
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is somebody else's
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return Path("/proc/self").exists()  # it has just gone; elsewhere there is no /proc
    return state in "ZX"


class Log:
    """Lines in a file that any thread of any process may append to; a line is whole or absent.

    It pickles, so a function under test can note what it does in a worker process, and wait there for what
    another one does. A fact is anything that JSON knows.

    Args:
        path: the file; it is made with the first line.

    >>> import tempfile
    >>> import fetchline as fl
    >>> folder = tempfile.TemporaryDirectory()
    >>> log = Log(Path(folder.name) / "log")
    >>> def fetch(n: int) -> None:
    ...     log.note("call", n)
    >>> batch = fl.run(fetch, [3, 4], executor="process", workers=1, progress=None)
    >>> log.lines(), log.count("call"), log.count("call", 4)
    ([['call', 3], ['call', 4]], 2, 1)
    >>> folder.cleanup()
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, *facts: Any) -> None:
        """Append a line."""
        line = json.dumps(facts) + "\n"
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)

    def lines(self) -> list[list[Any]]:
        """Every line so far, each a list of its facts."""
        try:
            return [json.loads(line) for line in self.path.read_text().splitlines()]
        except FileNotFoundError:
            return []

    def count(self, *start: Any) -> int:
        """How many lines begin with these facts."""
        return sum(line[: len(start)] == list(start) for line in self.lines())

    def wait_for(self, *start: Any, times: int = 1, patience: float = PATIENCE_S) -> None:
        """Wait until so many lines begin with these facts.

        Raises:
            AssertionError: they did not come within ``patience`` seconds.
        """
        until(lambda: self.count(*start) >= times, f"{times} x {start} in {self.path.name}", patience)

    def most_at_once(self) -> int:
        """The highest number of lines ``"in"`` not yet followed by as many ``"out"``."""
        level = most = 0
        for line in self.lines():
            level += {"in": 1, "out": -1}.get(line[0], 0)
            most = max(most, level)
        return most


class LoggedSession:
    """A session that notes ``open`` and ``close`` with process and thread, and refuses to be pickled.

    Attributes:
        number: its place among all that were opened, from 1; no two have the same.

    >>> import tempfile
    >>> import fetchline as fl
    >>> folder = tempfile.TemporaryDirectory()
    >>> log = Log(Path(folder.name) / "log")
    >>> def fetch(n: int, *, session: LoggedSession = fl.injected) -> int:
    ...     return session.number
    >>> with fl.Fetcher.of(fetch, session=lambda: LoggedSession(log)).open() as call:
    ...     call(7), call(8)
    (1, 1)
    >>> log.count("open"), log.count("close")
    (1, 1)
    >>> folder.cleanup()
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.number = 0

    def __enter__(self) -> LoggedSession:
        here = ["open", *self.place()]
        self.log.note(*here)
        # Its own line is the last of this place: others may have been opened since.
        opened = [line for line in self.log.lines() if line[0] == "open"]
        self.number = len(opened) - opened[::-1].index(here)
        return self

    def __exit__(self, *_: object) -> None:
        self.log.note("close", *self.place())

    def place(self) -> tuple[int, int]:
        """This process and this thread."""
        return os.getpid(), threading.get_ident()

    def __reduce__(self) -> Any:
        raise AssertionError("a session was pickled")
