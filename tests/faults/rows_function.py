"""Rows: what the function raises, how its process dies, how long it takes."""

from __future__ import annotations

import asyncio

from . import injections
from .injections import TIMEOUT_S, at_the_item, raising
from .record import LOST, Ends, Fault, Gets, Never, Raises, cells, crashed, everywhere, failure

__all__ = ["DIED", "LATE", "RAISED"]

RAISED = (
    Fault(
        "exception",
        "an exception",
        raising(lambda: ValueError("no such ticker")),
        everywhere(failure("error", "ValueError: no such ticker", trace="in raises")),
    ),
    Fault(
        "exception-own-arguments",
        "an exception whose `__init__` takes other arguments",
        raising(lambda: injections.OwnArguments(symbol="AAPL", status=7)),
        everywhere(failure("error", "OwnArguments", "AAPL has 7", trace="in raises")),
    ),
    Fault(
        "exception-with-a-lock",
        "an exception that does not pickle",
        raising(lambda: injections.HoldsALock("what it says")),
        everywhere(failure("error", "HoldsALock", "what it says", trace="in raises")),
    ),
    Fault(
        "exception-without-text",
        "an exception whose `__str__` and `__repr__` raise",
        raising(injections.Mute),
        everywhere(failure("error", "Mute", trace="in raises")),
    ),
    Fault(
        "stop-iteration",
        "`StopIteration`",
        raising(StopIteration),
        everywhere(failure("error", "StopIteration", trace="in raises")),
    ),
    Fault(
        "generator-exit",
        "`GeneratorExit`",
        raising(GeneratorExit),
        everywhere(failure("error", "GeneratorExit", trace="in raises")),
    ),
    Fault(
        "cancelled-error",
        "`asyncio.CancelledError`, though nobody cancelled it",
        raising(asyncio.CancelledError),
        everywhere(failure("cancelled", "CancelledError", trace="in raises")),
    ),
    Fault(
        "keyboard-interrupt",
        "`KeyboardInterrupt`, though nobody pressed Ctrl-C",
        raising(KeyboardInterrupt),
        everywhere(failure("error", "KeyboardInterrupt", trace="in raises"))
        | {"serial": Raises("BatchInterrupted", 5, "5 of 12 items")},
        "`serial`: in the calling thread it cannot be told from Ctrl-C.",
    ),
    Fault(
        "system-exit",
        "`sys.exit()`",
        at_the_item(injections.system_exit),
        everywhere(failure("crashed", "SystemExit: left by sys.exit", attempts=3, trace="in system_exit")),
    ),
    Fault(
        "recursion",
        "recursion without an end",
        at_the_item(injections.recurses),
        everywhere(failure("error", "RecursionError", trace="in recurses")),
    ),
    Fault(
        "memory-error",
        "`MemoryError`: the limit of its process, `RLIMIT_AS`",
        at_the_item(injections.runs_out_of_memory),
        everywhere(failure("error", "MemoryError", trace="in runs_out_of_memory")),
    ),
)

DIED = (
    Fault(
        "os-exit",
        "`os._exit()`",
        at_the_item(injections.exits_at_once),
        cells(Ends(3), crashed("exited with 3"), processpool=LOST),
    ),
    Fault(
        "sigkill",
        "SIGKILL",
        at_the_item(injections.killed),
        cells(Ends(-9), crashed("SIGKILL"), processpool=LOST),
    ),
    Fault(
        "segfault",
        "a segmentation fault",
        at_the_item(injections.segfaults),
        cells(Ends(-11), crashed("SIGSEGV"), processpool=LOST),
    ),
    Fault(
        "abort",
        "`abort()`",
        at_the_item(injections.aborts),
        cells(Ends(-6), crashed("SIGABRT"), processpool=LOST),
    ),
    Fault(
        "oom-killer",
        "the kernel's OOM killer",
        injections.fills_its_cgroup,
        cells(Ends(-9), crashed("SIGKILL"), processpool=LOST),
        "its tests want a cgroup v2 folder where they may set `memory.max`, and are skipped where there is none.",
    ),
    Fault(
        "dies-once",
        "SIGKILL, at its first attempt only",
        at_the_item(injections.killed, once=True),
        cells(Ends(-9), Gets(attempts=2), coroutines=Gets(attempts=None)),
        "`coroutines`: where several went down with one process nobody is charged before each was tried alone.",
    ),
)


def _stuck(*, patient: bool | None = False) -> Gets:
    return Gets("timeout", says=("AttemptTimeout", f"{TIMEOUT_S:g} s"), patient=patient)


_COMES_BACK = Gets(patient=True)
_NO_COROUTINE = Never("a plain function is not cancelled")

LATE = (
    Fault(
        "hangs",
        "it hangs: a plain function sleeps, a coroutine waits for ever",
        injections.hangs,
        everywhere(_stuck()) | {"serial": _COMES_BACK, "processpool": _stuck(patient=True)},
        "`serial`: a timeout is not enforced, and the run goes on when the call has come back. `processpool`: its "
        "place stays taken until then, and here it has one only.",
    ),
    Fault(
        "spins",
        "it computes and never waits",
        injections.spins,
        everywhere(_stuck())
        | {"serial": _COMES_BACK, "asyncio": _stuck(patient=True), "processpool": _stuck(patient=True)},
        "`asyncio`: the loop stands still until the call has come back.",
    ),
    Fault(
        "raises-late",
        "it raises after its timeout",
        injections.raises_late,
        everywhere(_stuck(patient=None)) | {"serial": failure("error", "ValueError: too late")},
    ),
    Fault(
        "swallows-its-cancellation",
        "it swallows its cancellation and returns late",
        injections.swallows_its_cancellation,
        {**everywhere(_NO_COROUTINE), **dict.fromkeys(("asyncio", "coroutines"), _stuck(patient=None))},
    ),
)
