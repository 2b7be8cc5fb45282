"""The progress display "jsonl": one JSON object a line, for machines."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import Progress, ProgressSpec

__all__ = ["JsonlProgress"]


class JsonlProgress:
    """Write a line at the start, at each update and at the end.

    Each line has ``event`` (start, progress, end), ``label``, ``elapsed_s`` and the fields of ``Progress``.

    Args:
        stream: where to write; it stays open. Default: standard error as it is at the start.
        path: a file to append to instead.

    Raises:
        ValueError: both are given.
    """

    def __init__(self, *, stream: TextIO | None = None, path: str | Path | None = None) -> None:
        if stream is not None and path is not None:
            raise ValueError("progress 'jsonl' takes stream= or path=, not both")
        self._given = stream
        self._path = path
        self._out: TextIO | None = None
        self._label = ""
        self._began = 0.0
        self._last = Progress()

    def start(self, total: int | None, label: str) -> None:
        self.close()
        if self._path is not None:
            self._out = Path(self._path).open("a", encoding="utf-8")  # noqa: SIM115  # until close()
        else:
            self._out = self._given or sys.stderr
        self._label = label
        self._began = time.monotonic()
        self._last = Progress(total=total)
        self._write("start")

    def update(self, progress: Progress) -> None:
        self._last = progress
        self._write("progress")

    def close(self) -> None:
        out = self._out
        if out is None:
            return
        try:
            self._write("end")
        finally:
            self._out = None
            if self._path is not None:
                out.close()

    def _write(self, event: str) -> None:
        if self._out is None:
            return
        elapsed = round(time.monotonic() - self._began, 3)
        record = {"event": event, "label": self._label, "elapsed_s": elapsed, **asdict(self._last)}
        self._out.write(json.dumps(record) + "\n")
        self._out.flush()


@hookimpl
def fetchline_register_progress() -> list[ProgressSpec]:
    return [ProgressSpec(name="jsonl", factory=JsonlProgress, summary="one JSON object a line, for machines")]
