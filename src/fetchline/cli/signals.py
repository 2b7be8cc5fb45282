"""Ctrl-C and SIGTERM while a run goes on."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Signals"]


class Signals:
    """Makes SIGTERM end a run as Ctrl-C does while it stands, in the main thread.

    Attributes:
        exit_code: 130, or 143 after SIGTERM.
    """

    def __init__(self) -> None:
        self.exit_code = 130
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._on_sigterm)
            if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
                # A shell's background jobs ignore SIGINT; SIGTERM must find a way to the run nevertheless.
                self._before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self.exit_code = 143
        signal.raise_signal(signal.SIGINT)
