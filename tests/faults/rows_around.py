"""Rows: sessions, the input, and what watches a run."""

from __future__ import annotations

from . import around
from .injections import TIMEOUT_S
from .pickles import dawdles, dies, exits, raises
from .record import OK, Ends, Fault, Gets, Raises, cells, crashed, everywhere, failure, lost

__all__ = ["INPUT", "SESSIONS", "WATCHING"]

SESSIONS = (
    Fault(
        "session-raises-in-opening",
        "a session whose opening raises",
        around.session(opening=raises),
        everywhere(
            failure(
                "session", "SessionFailed", "RuntimeError: a trap sprang", others="same", trace="in raises"
            )
        ),
    ),
    Fault(
        "session-exits-in-opening",
        "a session whose opening calls `sys.exit()`",
        around.session(opening=exits),
        everywhere(
            failure("crashed", "SystemExit: a trap sprang", attempts=3, others="same", trace="in exits")
        ),
    ),
    Fault(
        "session-dies-in-opening",
        "a session whose opening calls `os._exit()`",
        around.session(opening=dies),
        cells(Ends(3), crashed("exited with 3", "same"), processpool=lost("same")),
    ),
    Fault(
        "session-dies-once-in-opening",
        "a session whose first opening calls `os._exit()`",
        around.session(opening=dies, once=True),
        cells(Ends(3), Gets(attempts=None)),
        "whichever item came first is charged a crash.",
    ),
    Fault(
        "session-opens-slowly",
        "a session whose opening takes longer than the timeout",
        around.session(opening=dawdles, timeout=TIMEOUT_S),
        everywhere(OK) | {"processpool": failure("timeout", "AttemptTimeout")},
        "the clock of a foreign pool of processes starts at submission, and it does not hear of logins.",
    ),
    Fault(
        "session-raises-in-closing",
        "a session whose closing raises",
        around.session(closing=raises),
        everywhere(OK),
        "a warning is logged: *session ... did not close cleanly*.",
    ),
    Fault(
        "session-exits-in-closing",
        "a session whose closing calls `sys.exit()`",
        around.session(closing=exits),
        everywhere(OK),
    ),
    Fault(
        "session-dies-in-closing",
        "a session whose closing calls `os._exit()`",
        around.session(closing=dies),
        cells(Ends(3), OK),
    ),
    Fault(
        "session-factory-with-a-lock",
        "a session factory that does not pickle",
        around.session_factory,
        cells(OK, failure("unpicklable", "cannot pickle '_thread.lock' object", others="same")),
    ),
)

INPUT = (
    Fault(
        "input-raises",
        "an input that raises midway",
        around.input_raises,
        everywhere(Raises("InputFailed", 5, "RuntimeError: the source ran dry, after 5 of them")),
    ),
    Fault(
        "item-without-key",
        "an input that yields an item without a key",
        around.no_key,
        everywhere(Raises("InputFailed", 5, "of type dict has no key of its own")),
    ),
    Fault(
        "key-raises",
        "a `key=` that raises",
        around.key_raises,
        everywhere(Raises("InputFailed", 5, "RuntimeError: a trap sprang")),
    ),
)

WATCHING = (
    Fault(
        "judge-raises",
        "an `on=` of a `Try` that raises",
        around.judge,
        everywhere(failure("error", "ValueError: judge me")),
        "the error says in a note that judging it raised.",
    ),
    Fault(
        "middleware-raises",
        "middleware that raises",
        around.middleware(raises),
        everywhere(failure("error", "RuntimeError: a trap sprang", trace="in raises")),
    ),
    Fault(
        "middleware-exits",
        "middleware that calls `sys.exit()`",
        around.middleware(exits),
        everywhere(failure("crashed", "SystemExit: a trap sprang", attempts=3, trace="in exits")),
    ),
    Fault(
        "observer-raises",
        "an observer that raises",
        around.observer,
        everywhere(OK),
        "it is counted in `summary.observer_errors`, and logged once.",
    ),
    Fault(
        "display-raises-in-update",
        "a progress display whose `update` raises",
        around.display("update"),
        everywhere(OK),
    ),
    Fault(
        "display-raises-in-close",
        "a progress display whose `close` raises",
        around.display("close"),
        everywhere(OK),
    ),
    Fault(
        "on-progress-raises",
        "an `on_progress=` that raises",
        around.tick,
        everywhere(Raises("RuntimeError", None, "a trap sprang")),
        "it is your own function, no plugin: its error is raised as it is.",
    ),
)
