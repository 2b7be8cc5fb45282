"""Where something waits until it is rung: a thread on a lock, a coroutine on a future.

A ring that comes before the wait is kept; several rings are one. Ringing is safe from any thread and from a
signal handler, and never blocks.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Protocol

__all__ = ["Gate", "LoopGate", "ThreadGate", "ring", "take"]

_YIELDS = 100


class Gate(Protocol):
    def ring(self) -> None: ...


def ring(*gates: Gate | None) -> None:
    """Ring those where there is somebody."""
    for gate in gates:
        if gate is not None:
            gate.ring()


def take(lock: threading.Lock) -> None:
    """Take a lock that is held for a moment only, without queueing for it at first.

    Who queues is handed the lock while it has not got the interpreter's: then everybody queues behind it, and each
    item costs a change of threads, for the rest of the run (a lock convoy).
    """
    for _ in range(_YIELDS):
        time.sleep(0)
        if lock.acquire(False):
            return
    lock.acquire()


class ThreadGate:
    """A plain lock: unlike a Condition it cannot leak when KeyboardInterrupt lands in it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            pass  # rung already

    def wait(self, timeout: float = -1) -> bool:
        """Wait until rung, at most ``timeout`` seconds (-1: for ever); whether it was rung."""
        return self._lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))


class LoopGate:
    """Waited for by one coroutine of one loop."""

    __slots__ = ("_loop", "_rung", "_thread", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        if threading.get_ident() == self._thread:
            self._ring_here()
        else:
            try:
                self._loop.call_soon_threadsafe(self._ring_here)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more

    def _ring_here(self) -> None:
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, timeout: float | None = None) -> None:
        """Wait until rung, at most ``timeout`` seconds (None: for ever)."""
        if not self._rung:
            self._waiter = self._loop.create_future()
            timer = None if timeout is None else self._loop.call_later(timeout, self._ring_here)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._rung = False
