"""What the guarantees' tests share: every local executor as a lane, and evidence that crosses processes.

Workers import this module, so it imports neither pytest nor Polars.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fetchline as fl

__all__ = ["LANES", "Lane", "Log", "Script", "Session", "gone", "lane_of", "until"]

PATIENCE_S = 20.0
"""How long anything here waits for something that must happen."""


@dataclass(frozen=True)
class Lane:
    """One way to carry a run.

    Attributes:
        executor: what is given as ``executor=``; for ``pool`` an object of the standard library.
        width: attempts at once.
        is_async: fetch functions are made coroutine functions.
        far: attempts are made in other processes.
    """

    name: str
    executor: Any
    width: int
    is_async: bool = False
    far: bool = False

    def fetcher(self, body: Callable[..., Any], name: str = "probe", **policies: Any) -> Any:
        """Make an unregistered fetcher of a plain body, a coroutine function where the lane wants one."""
        return fl.Fetcher.of(_coroutine(body) if self.is_async else body, name, **policies)

    def options(self, **options: Any) -> dict[str, Any]:
        out = {"executor": self.executor, "progress": None}
        if self.name == "asyncio":
            out["concurrency"] = self.width
        elif self.name in ("thread", "process"):
            out["workers"] = self.width
        return {**out, **options}

    def run(self, fetcher: Any, items: Any, **options: Any) -> Any:
        return fl.run(self._of(fetcher), items, **self.options(**options))

    def stream(self, fetcher: Any, items: Any, **options: Any) -> Any:
        return fl.stream(self._of(fetcher), items, **self.options(**options))

    def submit(self, fetcher: Any, items: Any, **options: Any) -> Any:
        return fl.submit(self._of(fetcher), items, **self.options(**options))

    def _of(self, fetcher: Any) -> Any:
        return fetcher if isinstance(fetcher, fl.Fetcher) else self.fetcher(fetcher)


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


def _coroutine(body: Callable[..., Any]) -> Callable[..., Any]:
    """The body as a coroutine function: it may wait, for it runs in a thread, and is awaited."""

    async def probe(*args: Any, **kwargs: Any) -> Any:
        # Not asyncio.to_thread: its threads are waited for when a loop is closed.
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def finish(settle: Callable[[Any], None], value: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(lambda: answer.done() or settle(value))

        def work() -> None:
            try:
                value = body(*args, **kwargs)
            except BaseException as error:
                finish(answer.set_exception, error)
            else:
                finish(answer.set_result, value)

        threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
        return await answer

    # The body's own parameters count, such as the one that gets the session.
    probe.__signature__ = inspect.signature(body)  # type: ignore[attr-defined]
    return probe


# -- evidence ----------------------------------------------------------------------------------------------


class Log:
    """Lines in a file that any thread of any process may append to; a line is whole or absent."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, *facts: Any) -> None:
        line = json.dumps(facts) + "\n"
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)

    def lines(self) -> list[list[Any]]:
        try:
            return [json.loads(line) for line in self.path.read_text().splitlines()]
        except FileNotFoundError:
            return []

    def count(self, *start: Any) -> int:
        """How many lines begin with these facts."""
        return sum(line[: len(start)] == list(start) for line in self.lines())

    def wait_for(self, *start: Any, times: int = 1, patience: float = PATIENCE_S) -> None:
        until(lambda: self.count(*start) >= times, f"{times} x {start} in {self.path.name}", patience)

    def most_at_once(self) -> int:
        """The highest number of ``in`` lines not yet followed by their ``out``."""
        level = most = 0
        for line in self.lines():
            level += {"in": 1, "out": -1}.get(line[0], 0)
            most = max(most, level)
        return most


class Session:
    """A session that notes where it was opened and closed, and refuses to be pickled."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.number = 0

    def __enter__(self) -> Session:
        self.log.note("open", *self.place())
        self.number = self.log.count("open")
        return self

    def __exit__(self, *_: object) -> None:
        self.log.note("close", *self.place())

    def place(self) -> tuple[int, int]:
        return os.getpid(), threading.get_ident()

    def __reduce__(self) -> Any:
        raise AssertionError("a session was pickled")


# -- waiting -----------------------------------------------------------------------------------------------


def until(true: Callable[[], Any], what: str, patience: float = PATIENCE_S) -> None:
    """Wait until something is so, which must happen; an AssertionError names it if it does not."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain for {what}"
        time.sleep(0.002)


def gone(pid: int) -> bool:
    """Whether there is no such process any more, a zombie not counted."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


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
