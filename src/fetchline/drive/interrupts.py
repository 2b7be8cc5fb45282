"""Ctrl-C while the main thread waits for a run: a flag and a ring, instead of an exception anywhere at all."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from fetchline.drive.gates import Gate

__all__ = ["Interrupts"]


class Interrupts:
    """Counts SIGINTs while it stands, or raises them where that is safe.

    Outside the main thread, and under somebody's own handler, it does nothing.
    The default KeyboardInterrupt may land between taking finished results and keeping them, and lose them.
    """

    __slots__ = ("_depth", "_gate", "_previous", "count", "raising")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._depth = 0
        self._previous: Any = None
        self.count = 0
        self.raising = False

    def __enter__(self) -> Interrupts:
        self._depth += 1
        if (
            self._depth == 1
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0 and self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Between two lines of our own, next to the user's code, a first one is only counted.
        ours = frame is not None and frame.f_globals.get("__name__", "").startswith("fetchline.drive")
        if self.raising and (self.count or not ours):
            raise KeyboardInterrupt
        self.count += 1
        self._gate.ring()
