"""A rich progress display for fetchline; rich itself is imported when a run starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import Progress, ProgressSpec, held_back

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Display
    from rich.progress import TaskID

__all__ = ["RichProgress"]


class RichProgress:
    """Show one line: a bar, the counts, the rate and the time to the end.

    Args:
        console: where to draw; default: standard error.
        transient: take the line away at the end.
    """

    def __init__(self, *, console: Console | None = None, transient: bool = False) -> None:
        self._console = console
        self._transient = transient
        self._shown: tuple[Display, TaskID] | None = None

    def start(self, total: int | None, label: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Display

        self.close()
        display = Display(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TextColumn("{task.fields[pace]}"),
            TimeElapsedColumn(),
            console=self._console or Console(stderr=True),
            transient=self._transient,
            auto_refresh=False,  # updates come a few times a second: no drawing thread is needed
        )
        task = display.add_task(label or "run", total=total, counts="", pace="")
        display.start()
        self._shown = display, task

    def update(self, progress: Progress) -> None:
        if self._shown is None:
            return
        display, task = self._shown
        display.update(
            task,
            total=progress.total,
            completed=progress.done,
            counts=_counts(progress),
            pace=_pace(progress),
            refresh=True,
        )

    def close(self) -> None:
        if self._shown is not None:
            display, _ = self._shown
            self._shown = None
            display.stop()


def _counts(progress: Progress) -> str:
    failed, retrying, waiting = progress.failed, progress.retrying, progress.waiting
    shown = (("red", failed, "failed"), ("yellow", retrying, "retrying"), ("dim", waiting, "waiting"))
    return " ".join(f"[{style}]{count} {name}[/]" for style, count, name in shown if count)


def _pace(progress: Progress) -> str:
    parts = [f"{progress.rate:.3g}/s"] if progress.rate else []
    if progress.eta_s is not None:
        parts.append(f"{progress.eta_s:.0f} s left")
    parts += [f"[yellow]{name} {value:.3g}[/]" for name, value in held_back(progress).items()]
    return " ".join(parts)


@hookimpl
def fetchline_register_progress() -> list[ProgressSpec]:
    return [ProgressSpec(name="rich", factory=RichProgress, summary="a rich progress bar")]
