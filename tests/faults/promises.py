"""Which executor keeps which promise; each has a test of that name in ``tests/guarantees``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "PROMISES", "Promise"]

KINDS = ("serial", "thread", "asyncio", "process", "another pool")


@dataclass(frozen=True, slots=True)
class Promise:
    """One row: ``test_<name>.py`` proves it; ``cells`` are in the order of ``KINDS``."""

    name: str
    says: str
    cells: tuple[str, str, str, str, str] = ("yes",) * 5


PROMISES = (
    Promise("one_outcome", "Every item taken ends in exactly one result."),
    Promise("input_order", "Results leave in the order of the input."),
    Promise("bounded", "Never more attempts at once than asked for; a stream holds no more than its window."),
    Promise("errors_are_values", "One item's error never touches another's."),
    Promise(
        "no_fork",
        "No worker is forked from a process that has used Polars.",
        ("yes", "yes", "yes", "yes", "its own affair"),
    ),
    Promise(
        "anything_pickles",
        "Lambdas, closures and notebook functions; what does not pickle is its item's failure.",
    ),
    Promise(
        "crash_is_one_item",
        "A worker that dies costs its own item one of three crashes.",
        ("no", "no", "no", "yes", "a pool the run made: yes"),
    ),
    Promise(
        "timeout_is_one_item",
        "An attempt that takes too long is a value, and what is stuck is nobody else's affair.",
        ("not enforced", "yes", "yes, of what awaits", "yes", "its place stays taken"),
    ),
    Promise("interrupt_keeps_work", "Ctrl-C gives control back within 1.5 s, with what was finished."),
    Promise("waiting_frees_the_slot", "Backoff, cooldown and not-ready hold no worker."),
    Promise("pace_is_global", "A pace holds across all workers of a run."),
    Promise(
        "session_contract",
        "A session is opened where it is used, once for its scope, and closed exactly once.",
        ("yes", "yes", "yes", "yes", "closed at the next run or with the pool's process"),
    ),
    Promise(
        "durable",
        "With a store, what was reported is on disk: killed at any moment, the same call goes on.",
    ),
    Promise("plain_calls", "A direct call is a plain call: no executor takes part.", ("-",) * 5),
    Promise("hooks_cannot_hurt", "An observer that raises hurts nobody."),
)
