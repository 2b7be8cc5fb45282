"""Rows: what cannot travel to a worker process, or back."""

from __future__ import annotations

from typing import Any

from . import pickles
from .pickles import dies, exits, interrupts, raises, trap
from .record import (
    LOST,
    NOT_MET,
    OK,
    Ends,
    Fault,
    Gets,
    Others,
    cells,
    crashed,
    failure,
    lost,
)

__all__ = ["RETURNED", "SENT"]

_KINDS = {"raises": "RuntimeError", "exits": "SystemExit", "interrupts": "KeyboardInterrupt"}


def _trapped(act: Any, others: Others = "fine") -> Gets:
    """What went wrong on the way is told with its own type, text and traceback."""
    name: str = act.__name__
    return failure(
        "unpicklable", "Unpicklable", _KINDS[name], "a trap sprang", others=others, trace=f"in {name}"
    )


def _locked(others: Others = "fine") -> Gets:
    return failure("unpicklable", "Unpicklable", "cannot pickle '_thread.lock' object", others=others)


SENT = (
    Fault(
        "item-with-a-lock",
        "an item that does not pickle",
        pickles.item(pickles.a_lock),
        cells(OK, _locked()),
    ),
    Fault(
        "item-raises-in-pickling",
        "an item whose pickling raises",
        pickles.item(trap(packed=raises)),
        cells(NOT_MET, _trapped(raises)),
    ),
    Fault(
        "item-exits-in-pickling",
        "an item whose pickling calls `sys.exit()`",
        pickles.item(trap(packed=exits)),
        cells(NOT_MET, _trapped(exits)),
    ),
    Fault(
        "item-interrupts-in-pickling",
        "an item whose pickling raises `KeyboardInterrupt`",
        pickles.item(trap(packed=interrupts)),
        cells(NOT_MET, _trapped(interrupts)),
    ),
    Fault(
        "item-dies-in-pickling",
        "an item whose pickling calls `os._exit()`",
        pickles.item(trap(packed=dies)),
        cells(NOT_MET, Ends(3)),
        "what is sent is pickled in your program.",
    ),
    Fault(
        "item-raises-in-unpickling",
        "an item whose unpickling raises",
        pickles.item(trap(unpacked=raises)),
        cells(NOT_MET, _trapped(raises)),
    ),
    Fault(
        "item-exits-in-unpickling",
        "an item whose unpickling calls `sys.exit()`",
        pickles.item(trap(unpacked=exits)),
        cells(NOT_MET, _trapped(exits)),
    ),
    Fault(
        "item-dies-in-unpickling",
        "an item whose unpickling calls `os._exit()`",
        pickles.item(trap(unpacked=dies)),
        cells(NOT_MET, crashed("exited with 3"), processpool=LOST),
    ),
    Fault(
        "item-without-repr",
        "an item whose `repr` raises",
        pickles.item(pickles.unspeakable, bad=0),
        cells(OK, OK),
    ),
    Fault(
        "function-with-a-lock",
        "a function that does not pickle",
        pickles.function(pickles.a_lock),
        cells(OK, _locked("same")),
    ),
    Fault(
        "function-raises-in-pickling",
        "a function whose pickling raises",
        pickles.function(trap(packed=raises)),
        cells(NOT_MET, _trapped(raises, "same")),
    ),
    Fault(
        "function-exits-in-pickling",
        "a function whose pickling calls `sys.exit()`",
        pickles.function(trap(packed=exits)),
        cells(NOT_MET, _trapped(exits, "same")),
    ),
    Fault(
        "function-raises-in-unpickling",
        "a function whose unpickling raises",
        pickles.function(trap(unpacked=raises)),
        cells(NOT_MET, _trapped(raises, "same")),
    ),
    Fault(
        "function-exits-in-unpickling",
        "a function whose unpickling calls `sys.exit()`",
        pickles.function(trap(unpacked=exits)),
        cells(NOT_MET, _trapped(exits, "same")),
    ),
    Fault(
        "function-dies-in-unpickling",
        "a function whose unpickling calls `os._exit()`",
        pickles.function(trap(unpacked=dies)),
        cells(NOT_MET, crashed("exited with 3", "same"), processpool=lost("same")),
    ),
    Fault(
        "function-loads-slowly",
        "a function whose unpickling takes longer than its timeout",
        pickles.function(trap(unpacked=pickles.dawdles), timeout=pickles.TIMEOUT_S),
        cells(NOT_MET, OK, processpool=failure("timeout", "AttemptTimeout")),
        "`processpool`: the clock of a foreign pool starts at submission.",
    ),
    Fault(
        "params-with-a-lock",
        "`params` that do not pickle",
        pickles.params(pickles.a_lock),
        cells(OK, _locked("same")),
    ),
    Fault(
        "memo-with-a-lock",
        "`NotReady(memo=...)` with a memo that does not pickle",
        pickles.memo,
        cells(Gets(attempts=2), _locked()),
    ),
)

# Where nothing is pickled the exception itself arrives; from a worker its type, its text and its traceback do.
_ITSELF = failure("error", "TrapError: the error's own text", trace="in raises_it", fires=False)
_TOLD = failure("error", "TrapError", "the error's own text", trace="in raises_it")

RETURNED = (
    Fault(
        "value-is-a-lock",
        "a value that does not pickle",
        pickles.value(pickles.a_lock),
        cells(OK, _locked()),
    ),
    Fault(
        "value-raises-in-pickling",
        "a value whose pickling raises",
        pickles.value(trap(packed=raises)),
        cells(NOT_MET, _trapped(raises)),
    ),
    Fault(
        "value-exits-in-pickling",
        "a value whose pickling calls `sys.exit()`",
        pickles.value(trap(packed=exits)),
        cells(NOT_MET, _trapped(exits)),
    ),
    Fault(
        "value-dies-in-pickling",
        "a value whose pickling calls `os._exit()`",
        pickles.value(trap(packed=dies), items=300),
        cells(NOT_MET, crashed("exited with 3"), processpool=LOST),
    ),
    Fault(
        "value-raises-in-unpickling",
        "a value whose unpickling raises",
        pickles.value(trap(unpacked=raises)),
        cells(NOT_MET, _trapped(raises)),
    ),
    Fault(
        "value-exits-in-unpickling",
        "a value whose unpickling calls `sys.exit()`",
        pickles.value(trap(unpacked=exits)),
        cells(NOT_MET, _trapped(exits)),
    ),
    Fault(
        "value-dies-in-unpickling",
        "a value whose unpickling calls `os._exit()`",
        pickles.value(trap(unpacked=dies)),
        cells(NOT_MET, Ends(3)),
        "what comes back is unpickled in your program.",
    ),
    Fault(
        "exception-raises-in-pickling",
        "an exception whose pickling raises",
        pickles.error(packed=raises),
        cells(_ITSELF, _TOLD),
    ),
    Fault(
        "exception-exits-in-pickling",
        "an exception whose pickling calls `sys.exit()`",
        pickles.error(packed=exits),
        cells(_ITSELF, _TOLD),
    ),
    Fault(
        "exception-dies-in-pickling",
        "an exception whose pickling calls `os._exit()`",
        pickles.error(packed=dies),
        cells(_ITSELF, crashed("exited with 3"), processpool=LOST),
    ),
    Fault(
        "exception-raises-in-unpickling",
        "an exception whose unpickling raises, in any process",
        pickles.error(unpacked=raises, anywhere=True),
        cells(_ITSELF, _TOLD),
    ),
    Fault(
        "exception-exits-in-unpickling",
        "an exception whose unpickling calls `sys.exit()`, in any process",
        pickles.error(unpacked=exits, anywhere=True),
        cells(_ITSELF, _TOLD),
    ),
    Fault(
        "exception-loads-only-there",
        "an exception that can be unpickled in the worker and not in your program",
        pickles.error(unpacked=raises),
        cells(_ITSELF, _TOLD),
    ),
)
