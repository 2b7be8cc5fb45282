"""Faults of a whole run, each with the tests that inject it, executor by executor or on any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .executors import EXECUTORS

__all__ = ["ANYWHERE", "ENDINGS", "FUTURES", "Ending", "Proof"]

_ENDINGS = "tests/faults/test_endings.py"
_SIGNALS = "tests/faults/test_signals.py"
_FUTURES = "tests/faults/test_futures.py"
_GUARANTEES = "tests/guarantees"

# The guarantees' tests name two of the executors otherwise.
_LANES = {
    "serial": "serial",
    "thread": "thread",
    "asyncio": "asyncio",
    "process": "process",
    "threadpool": "pool",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """One row.

    Attributes:
        what: the fault, in the words of the page.
        gets: what the user gets.
        tests: the ids of the tests by the names of executors.
        never: why it cannot happen, by the names of the others.
        note: what else there is to know, after the table.
    """

    what: str
    gets: str
    tests: Mapping[str, tuple[str, ...]]
    never: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        assert {*self.tests, *self.never} == {executor.name for executor in EXECUTORS}, self.what
        assert not self.tests.keys() & self.never.keys(), self.what


@dataclass(frozen=True, slots=True)
class Proof:
    """A fault that is the same everywhere, or of one executor only; ``tests`` are named without parameters."""

    what: str
    gets: str
    tests: tuple[str, ...]


ALL = tuple(executor.name for executor in EXECUTORS)


def _here(name: str, executors: tuple[str, ...] = ALL, file: str = _ENDINGS) -> dict[str, tuple[str, ...]]:
    return {executor: (f"{file}::{name}[{executor}]",) for executor in executors}


def _why(reason: str, *executors: str) -> dict[str, str]:
    return dict.fromkeys(executors, reason)


_INTERRUPT = f"{_GUARANTEES}/test_interrupt_keeps_work.py::test_interrupt_keeps_work"
_NOTEBOOK = f"{_SIGNALS}::test_ctrl_c_in_a_notebook_gives_control_back_with_what_was_finished"

ENDINGS = (
    Ending(
        "Ctrl-C, to the process group as a terminal sends it, or to your program alone",
        "`BatchInterrupted` with everything that was finished, within 1.5 s; no process is left",
        {
            **{
                name: tuple(
                    f"{_INTERRUPT}_and_gives_control_back_within_a_second_and_a_half[{lane}-{whom}]"
                    for whom in ("alone", "group")
                )
                for name, lane in _LANES.items()
            },
            **{
                name: tuple(
                    f"{_SIGNALS}::test_ctrl_c_gives_control_back_with_what_was_finished[{name}-{whom}]"
                    for whom in ("parent", "group")
                )
                for name in ("spawn", "coroutines", "processpool")
            },
        },
    ),
    Ending(
        "Ctrl-C again",
        "the same at once: nobody is waited for any longer",
        {
            **{
                name: tuple(
                    f"{_INTERRUPT}_and_a_second_one_does_not_wait[{lane}-{whom}]"
                    for whom in ("alone", "group")
                )
                for name, lane in _LANES.items()
                if name != "serial"
            },
            **_here("test_a_second_ctrl_c_does_not_wait", ("spawn", "coroutines", "processpool"), _SIGNALS),
        },
        _why("the first one ends the call, which is in this thread", "serial"),
    ),
    Ending(
        "a notebook's *interrupt*",
        "as Ctrl-C",
        dict.fromkeys(ALL, (_NOTEBOOK,)),
    ),
    Ending(
        "`job.cancel()`",
        "`BatchCancelled` with everything that was finished, within 1.5 s",
        _here("test_a_cancelled_job_keeps_what_was_finished"),
        note="`serial`: after the call in hand.",
    ),
    Ending(
        "`deadline=` passes",
        "the batch: what was finished, and failures with the code `deadline`, within 1.5 s",
        _here("test_a_deadline_ends_the_run_and_the_batch_has_what_was_finished"),
        note="`serial`: after the call in hand.",
    ),
    Ending(
        "the task of an `arun` is cancelled",
        "`CancelledError`; its attempts are ended, within 1.5 s",
        _here("test_an_arun_whose_task_is_cancelled_ends_its_attempts"),
    ),
    Ending(
        "a stream is left early",
        "its workers leave, its input is drawn from no more and closed",
        _here("test_a_stream_that_is_left_early_ends_its_workers_and_its_input"),
    ),
    Ending(
        "the consumer is slower than the producer",
        "no item is drawn past the window",
        _here("test_a_slow_consumer_stops_the_producer_at_the_window"),
    ),
    Ending(
        "the first of many is the slowest",
        "the others go on up to the window, and wait there",
        _here("test_a_slow_head_idles_nobody_until_the_window_is_reached", ALL[1:]),
        _why("there is one attempt at a time", "serial"),
    ),
    Ending(
        "every call is stuck past its timeout",
        "past 2 x concurrency of them `BatchError`, with the batch",
        _here("test_too_many_stuck_attempts_stop_the_run_with_an_error", ("thread", "asyncio", "threadpool")),
        {
            **_why("a timeout is not enforced", "serial"),
            **_why("what is stuck is ended with its process", "process", "spawn", "coroutines"),
            **_why("as `threadpool`", "processpool"),
        },
        "`threadpool`: its places stay taken, so the run waits for one instead.",
    ),
    Ending(
        "`kill -9` of your program, whatever its workers are at: asleep, computing, or in C code that holds the GIL",
        "no worker is left, within 5 s",
        {
            name: tuple(
                f"{_SIGNALS}::test_workers_leave_when_their_parent_is_killed[{name}-{busy}]"
                for busy in ("sleeps", "computes", "in-c-code")
            )
            for name in ("process", "spawn", "coroutines")
        },
        {
            **_why("there is no other process", "serial", "thread", "asyncio", "threadpool"),
            **_why("its workers are its own affair, and end with their call", "processpool"),
        },
    ),
    Ending(
        "`kill -9` of the fork server",
        "nothing: those at work go on, and later ones come from another server",
        _here("test_a_fork_server_that_is_killed_costs_nobody_anything", ("process", "coroutines")),
        _why("there is none", "serial", "thread", "asyncio", "spawn", "threadpool", "processpool"),
    ),
    Ending(
        "the idle workers of a warm pool are killed",
        "nothing: the next run gets others, and no item is charged",
        _here(
            "test_workers_that_died_while_they_were_idle_cost_nobody_anything",
            ("process", "spawn", "coroutines"),
        ),
        {
            **_why("there is no other process", "serial", "thread", "asyncio", "threadpool"),
            **_why("a pool that was given is broken, as in the next row", "processpool"),
        },
    ),
    Ending(
        "a worker dies in a pool object that you gave",
        "it and all that was left are failures with the code `crashed`",
        {
            "processpool": (
                f"{_ENDINGS}::test_a_broken_pool_of_processes_that_was_given_stays_broken_and_the_batch_says_so",
            )
        },
        {
            **_why("your program ends", "serial", "thread", "asyncio", "threadpool"),
            **_why("our own pools replace their workers, given or not", "process", "spawn", "coroutines"),
        },
    ),
    Ending(
        "no file descriptor is left",
        "every item is a failure with the code `crashed`; the next run is fine",
        _here(
            "test_no_file_descriptor_left_is_a_failure_and_the_next_run_is_fine",
            ("process", "spawn", "coroutines"),
            _SIGNALS,
        ),
        {
            **_why("it starts nothing that needs one", "serial", "thread", "asyncio", "threadpool"),
            **_why("the pool's own affair", "processpool"),
        },
    ),
)

_CRASH = f"{_GUARANTEES}/test_crash_is_one_item.py::test_crash_is_one_item"
_TIMEOUT = f"{_GUARANTEES}/test_timeout_is_one_item.py::test_timeout_is_one_item"
_BOUNDED = f"{_GUARANTEES}/test_bounded.py::test_bounded"

ANYWHERE = (
    Proof(
        "a million items",
        "memory stays flat: threads, asyncio, processes; 50,000 on the others",
        (f"{_BOUNDED}_memory_over_a_generator_of_a_million_items",),
    ),
    Proof(
        "a crash or a timeout among many cheap items, which travel many at once",
        "is its own item's",
        (f"{_CRASH}_among_many_cheap_ones_of_its_chunk", f"{_TIMEOUT}_among_cheap_ones_of_its_chunk"),
    ),
    Proof(
        "all workers are killed at once",
        "each item that was running is charged one crash",
        (f"{_CRASH}_each_when_all_workers_are_killed_at_once",),
    ),
    Proof(
        "a crash, and `retry=`",
        "a crash is not charged to the retries",
        (f"{_CRASH}_and_not_charged_to_its_retries",),
    ),
    Proof(
        "a crash or a timeout of a write (`idempotent=False`)",
        "`unknown_outcome`; it is never sent again",
        (
            f"{_CRASH}_whose_write_is_never_sent_again",
            f"{_TIMEOUT}_that_may_have_been_written_and_is_not_sent_again",
        ),
    ),
    Proof(
        "an attempt answers after its timeout, while the next one is under way",
        "the late answer is ignored",
        (f"{_TIMEOUT}_and_a_late_answer_is_never_taken_for_it",),
    ),
    Proof(
        "a call is stuck when your program ends",
        "the interpreter exits",
        (f"{_TIMEOUT}_that_never_keeps_the_interpreter_from_exiting",),
    ),
    Proof(
        "Ctrl-C while attempts are about to finish",
        "they have 1 s; every session is closed",
        (f"{_INTERRUPT}_that_ends_within_its_second_and_closes_every_session",),
    ),
    Proof(
        "Ctrl-C while worker processes are starting",
        "as ever, and they print nothing",
        (f"{_INTERRUPT}_silently_even_while_workers_are_starting",),
    ),
    Proof(
        "Ctrl-C in `job.wait()`; under your own handler; in the consumer of a stream; in a blocked input",
        "the wait ends and the job goes on; your handler is called; a plain `KeyboardInterrupt`; the batch so far",
        (f"{_INTERRUPT}_whoever_it_reaches",),
    ),
)

FUTURES = (
    Proof(
        "`os._exit()`, SIGKILL, a segmentation fault, `abort()`",
        "`WorkerCrashed`, which is a `BrokenProcessPool`, with the exit code",
        (f"{_FUTURES}::test_a_worker_that_dies_fails_its_own_future_only",),
    ),
    Proof(
        "`sys.exit()`, `KeyboardInterrupt`",
        "that exception",
        (f"{_FUTURES}::test_sys_exit_and_keyboard_interrupt_are_the_futures_own",),
    ),
    Proof(
        "an argument or a value whose pickling or unpickling raises or exits",
        "an exception with that one's text and traceback",
        (f"{_FUTURES}::test_what_cannot_travel_is_its_own_futures",),
    ),
    Proof(
        "an exception whose pickling or unpickling raises",
        "an exception with its type, text and traceback",
        (f"{_FUTURES}::test_an_exception_that_cannot_travel_is_told",),
    ),
    Proof(
        "an argument, a value or an exception that kills the worker on its way",
        "`WorkerCrashed`",
        (f"{_FUTURES}::test_a_worker_that_dies_of_what_travels_fails_its_own_future_only",),
    ),
)
