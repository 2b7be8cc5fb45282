"""What the guarantees' tests share: every local executor as a lane, and programs of their own.

Workers import this module, so it imports neither pytest nor Polars.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fetchline.testing.evidence import PATIENCE_S, Log, gone, until
from fetchline.testing.evidence import LoggedSession as Session
from fetchline.testing.lane import Lane

__all__ = ["LANES", "Lane", "Log", "Script", "Session", "gone", "lane_of", "until"]

LANES = ("serial", "thread", "process", "asyncio", "pool")
WIDTHS = {"serial": 1, "thread": 4, "process": 2, "asyncio": 4, "pool": 4}


@contextlib.contextmanager
def lane_of(name: str, width: int | None = None) -> Iterator[Lane]:
    """Make the lane of that name; ``pool`` is a ``ThreadPoolExecutor`` object, shut down afterwards."""
    width = width or WIDTHS[name]
    if name == "pool":
        with ThreadPoolExecutor(width) as executor:
            yield Lane(name, executor, width)
    else:
        yield Lane(name, name, width, is_async=name == "asyncio", far=name == "process")


# -- scripts -----------------------------------------------------------------------------------------------


class Script:
    """A Python program in a session of its own, with its output as events."""

    def __init__(self, folder: Path, source: str, *args: Any, name: str = "script.py") -> None:
        self.path = folder / name
        self.path.write_text(textwrap.dedent(source))
        paths = [str(Path(__file__).parent), *(path for path in sys.path if path)]
        self.process = subprocess.Popen(
            [sys.executable, str(self.path), *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )
        self.said: list[str] = []
        self._lines: list[threading.Thread] = []
        self.stderr = ""
        for target in (self._read_out, self._read_err):
            thread = threading.Thread(target=target, daemon=True)
            thread.start()
            self._lines.append(thread)

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.said.append(line.rstrip("\n"))

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.stderr = lines.read()

    def wait_for(self, word: str) -> str:
        """Wait for a line that starts with ``word``; the rest of it."""

        def found() -> bool:
            ended = self.process.poll() is not None
            if self._says(word) is not None:
                return True
            if ended:  # what it said last may still be on its way here
                why = self._ended(word)
                assert self._says(word) is not None, why
            return self._says(word) is not None

        until(found, f"{word!r} from {self.path.name}")
        said = self._says(word)
        assert said is not None
        return said

    def _says(self, word: str) -> str | None:
        for line in list(self.said):
            if line.partition(" ")[0] == word:
                return line.partition(" ")[2]
        return None

    def _ended(self, word: str) -> str:
        for thread in self._lines:
            thread.join(2)
        return f"ended with {self.process.returncode} before {word!r}: {self.said}\n{self.stderr}"

    def interrupt(self, *, group: bool) -> float:
        """Send SIGINT as the terminal does (to the group) or as ``kill -INT`` does; when, monotonically."""
        now = time.monotonic()
        if group:
            os.killpg(self.process.pid, signal.SIGINT)
        else:
            os.kill(self.process.pid, signal.SIGINT)
        return now

    def end(self, patience: float = PATIENCE_S) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(patience)
        for thread in self._lines:
            thread.join(patience)
        return code

    def leftover(self) -> list[int]:
        """Processes of its session that are still there, zombies not counted."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if int(fields[3]) == self.process.pid and fields[0] not in "ZX":
                    found.append(int(entry.name))
        return found

    def kill(self) -> None:
        for pid in self.leftover():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
