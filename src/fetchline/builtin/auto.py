"""The progress displays "auto", which chooses one, and "none", which shows nothing."""

from __future__ import annotations

import sys

from fetchline.builtin.log import LogProgress
from fetchline.builtin.tqdm import TqdmProgress, in_notebook
from fetchline.hookspecs import hookimpl
from fetchline.interfaces import Progress, ProgressBackend, ProgressSpec

__all__ = ["NoProgress", "auto"]


class NoProgress:
    """Show nothing."""

    def start(self, total: int | None, label: str) -> None: ...

    def update(self, progress: Progress) -> None: ...

    def close(self) -> None: ...


def auto() -> ProgressBackend:
    """Choose a bar where somebody may be watching, a terminal or a notebook, and log lines elsewhere."""
    # Standard error may be None, as under pythonw.
    watched = in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
    return TqdmProgress() if watched else LogProgress()


@hookimpl
def fetchline_register_progress() -> list[ProgressSpec]:
    return [
        ProgressSpec(name="auto", factory=auto, summary="a bar where somebody watches, else log lines"),
        ProgressSpec(name="none", factory=NoProgress, summary="nothing"),
    ]
