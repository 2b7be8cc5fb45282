"""The progress display "log": a line now and then on the logger ``fetchline.progress``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import Progress, ProgressSpec, held_back

__all__ = ["LogProgress"]

_log = logging.getLogger("fetchline.progress")


class LogProgress:
    """Log a line at INFO at the start, every so often, and at the end.

    Args:
        every: seconds between lines, at the least.
        clock: seconds that only grow.
    """

    def __init__(self, *, every: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._clock = clock
        self._label = ""
        self._began = self._spoke = 0.0
        self._last: Progress | None = None

    def start(self, total: int | None, label: str) -> None:
        self.close()
        self._label = label or "run"
        self._began = self._spoke = self._clock()
        self._last = Progress(total=total)
        _log.info(
            "%s: started%s", self._label, "" if total is None else f", {total} item{'s' * (total != 1)}"
        )

    def update(self, progress: Progress) -> None:
        if self._last is None:
            return
        self._last = progress
        now = self._clock()
        if now - self._spoke >= self._every:
            self._spoke = now
            _log.info("%s: %s", self._label, _line(progress))

    def close(self) -> None:
        if self._last is not None:
            took = self._clock() - self._began
            _log.info("%s: ended after %.1f s, %s", self._label, took, _line(self._last, ended=True))
            self._last = None


def _line(progress: Progress, *, ended: bool = False) -> str:
    done, total = progress.done, progress.total
    parts = [f"{done} items" if total is None else f"{done}/{total} ({done / total if total else 1:.0%})"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if not ended:
        counts = {"running": progress.running, "retrying": progress.retrying, "waiting": progress.waiting}
        parts += [f"{count} {name}" for name, count in counts.items() if count]
        parts += [f"{name} {value:.3g}" for name, value in held_back(progress).items()]
        if progress.rate:
            parts.append(f"{progress.rate:.3g}/s")
        if progress.eta_s is not None:
            parts.append(f"{progress.eta_s:.0f} s left")
    return ", ".join(parts)


@hookimpl
def fetchline_register_progress() -> list[ProgressSpec]:
    return [ProgressSpec(name="log", factory=LogProgress, summary="log lines, one each few seconds")]
