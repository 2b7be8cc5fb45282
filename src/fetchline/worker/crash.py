"""The error of a worker that died under its item."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

__all__ = ["WorkerCrashed"]


class WorkerCrashed(BrokenProcessPool):
    """The worker process died: killed, out of memory, a segmentation fault, ``os._exit``.

    Attributes:
        exit_code: its exit code; negative is the number of the signal that ended it; None is unknown.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[WorkerCrashed], tuple[str, int | None]]:
        return WorkerCrashed, (str(self), self.exit_code)
