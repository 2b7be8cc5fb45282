"""Attempts on the worker's own thread: take a slot, make the attempt, bring the outcome and take the next."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from fetchline.core.slots import Slot
from fetchline.drive.gates import ThreadGate
from fetchline.drive.hands import Hand
from fetchline.drive.source import Source
from fetchline.interfaces import Worker
from fetchline.worker.attempt import open_sync

__all__ = ["next_slot", "serve_here"]


def next_slot(source: Source, hand: Hand, gate: ThreadGate, worker: Worker) -> Slot | None:
    """Wait for the next slot; None when the run is over, or the hand was given up or is needed elsewhere."""
    worker.call = gate.ring
    while True:
        slot, over = source.ask(hand)
        if slot is not None or over:
            return slot
        if worker.wanted() and source.step_aside(hand, worker):
            return None
        gate.wait()


def serve_here(source: Source, worker: Worker) -> None:
    """Take and make attempts on this thread until the run is over, in a copy of its caller's context."""
    if source.context is None:
        _serve(source, worker)
    else:
        source.context.copy().run(_serve, source, worker)


class _ThreadHand(Hand):
    """A thread at work: it cannot be ended, only left behind."""

    __slots__ = ("_source", "_worker")

    def __init__(self, gate: ThreadGate, source: Source, worker: Worker) -> None:
        super().__init__(gate)
        self._source = source
        self._worker = worker

    def replace(self) -> None:
        self._worker.replace(self._source.serve)


def _serve(source: Source, worker: Worker) -> None:
    gate = ThreadGate()
    hand = _ThreadHand(gate, source, worker)
    source.enter(hand)
    worker.abandon = partial(source.abandon, hand)
    try:
        with ExitStack() as run:
            make = open_sync(source.program, worker, run)
            slot = next_slot(source, hand, gate, worker)
            while slot is not None:
                token = slot.token
                try:
                    value = make(slot)
                except BaseException as error:  # SystemExit in a fetch function is its item's
                    exile = source.exile.sentence(hand, error)
                    slot = source.failed(hand, slot, token, error)
                    if exile:
                        source.exile.serve(gate, exile)
                else:
                    hand.shut_out = 0
                    slot = source.done(hand, slot, token, value)
                if slot is None:
                    slot = next_slot(source, hand, gate, worker)
    except BaseException as bug:  # a worker that dies silently would hang the run
        source.broke(bug)
    finally:
        worker.abandon = None
        source.leave(hand)
