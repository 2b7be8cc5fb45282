"""Processes that are killed, a few hundred in a minute: forked from one that has imported Polars and never used it.

``python forks.py`` is that process: it reads tasks as lines of JSON, makes a process for each, and says what became
of it. ``Forks`` is the other side.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Forks"]

_PATIENCE_S = 60


class Forks:
    """The process that makes the others; ``close`` ends it."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "POLARS_MAX_THREADS": "2"},
        )

    def __call__(self, task: str, store: Path, notes: Path, **more: Any) -> dict[str, Any]:
        """Have a task done in a new process.

        Returns:
            ``signal`` that ended it, or what it said.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"task": task, "store": str(store), "notes": str(notes), **more}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, f"{order}:\n{answer['error']}"
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_PATIENCE_S)
        self._process.stdout.close()


def _serve(tasks: dict[str, Callable[..., Any]]) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(out)
            _do(tasks[order.pop("task")], order, into)
        os.close(into)
        with os.fdopen(out, "rb") as said:
            text = said.read()
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        answer = {"signal": -code} if code < 0 else json.loads(text)
        print(json.dumps(answer), flush=True)


def _do(task: Callable[..., Any], order: dict[str, Any], into: int) -> None:
    """Do a task in the new process, and end it: nothing of the other's is to be closed here."""
    signal.alarm(_PATIENCE_S)
    code = 0
    try:
        answer = task(Path(order.pop("store")), order.pop("notes"), **order)
    except BaseException:
        answer = {"error": traceback.format_exc()}
    os.write(into, json.dumps(answer).encode())
    os._exit(code)


if __name__ == "__main__":
    from tasks import TASKS

    _serve(TASKS)
