"""The cases: which subjects meet over which work, how a round is measured, and what has to be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from . import gauges, ours, peers, server, work
from .gauges import Gauge

__all__ = ["OURS", "ROWS", "Case", "Goal", "cases"]

OURS = "fetchline"
"""Subjects of our own are called so, or begin so."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on ``ours``: a multiple of the best of the subjects in ``of``, a plain figure without any."""

    bound: float
    of: tuple[str, ...] = ()
    ours: str = OURS


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        row: its row in the list of goals.
        name: what the work is.
        unit: what a figure counts.
        gauge: makes a figure of one round.
        subjects: who takes part, each ready to be called; fetchline's begin with ``OURS``.
        goals: what has to be reached; a line of the table each.
        better: which figures win.
        rounds: how often everybody takes their turn.
        fresh: a new process for every round, because memory once taken is not given back; the gauge warms
            up by itself. Otherwise everybody's first round is not counted.
        beside: stands while the case is measured, such as a server; gives what the environment of the
            subjects needs.
    """

    row: str
    name: str
    unit: str
    gauge: Gauge
    subjects: Mapping[str, Callable[..., Any]]
    goals: tuple[Goal, ...]
    better: Literal["lower", "higher"] = "lower"
    rounds: int = 5
    fresh: bool = False
    beside: Callable[[], AbstractContextManager[Mapping[str, str]]] | None = None


THREADS = {
    OURS: ours.threads,
    "TPE.map": peers.tpe_map,
    "streamable": peers.streamable_map,
    "joblib": peers.joblib_threads,
}
PROCESSES = {
    OURS: ours.processes,
    "PPE.map": peers.ppe_map,
    "PPE.map, chunks": peers.ppe_chunks,
    "Pool.imap": peers.pool_imap,
    "loky": peers.loky_map,
    "mpire": peers.mpire_imap,
    "pebble": peers.pebble_map,
    "joblib": peers.joblib_processes,
}
KEEP_ERRORS = ("pebble", "joblib", "mpire")
ASYNC = {
    OURS: ours.arun,
    "gather": peers.gather,
    "task window": peers.task_window,
    "streamable": peers.streamable_async,
    "aiometer": peers.aiometer_all,
}


def _each(subjects: Mapping[str, Callable[..., Any]], *work: Any) -> dict[str, Callable[[], Any]]:
    return {name: partial(subject, *work) for name, subject in subjects.items()}


def _counted(
    subject: Callable[..., Any], items: Callable[[int], Any], function: Any = work.noop, width: int = 8
) -> Callable[[int], Any]:
    """Make a subject that is told how many items, for a gauge that warms up with a few."""
    return lambda count: _drained(subject(function, items(count), width))


def _drained(results: Any) -> Any:
    return results if isinstance(results, Sized) else peers.drained(results)


def _told(subjects: Mapping[str, Callable[[int], Any]], count: int) -> dict[str, Callable[[], Any]]:
    return {name: partial(subject, count) for name, subject in subjects.items()}


def _size(count: int) -> str:
    return f"{count // 1000}k" if count >= 1000 else str(count)


def _threads(quick: bool) -> list[Case]:
    found = []
    for count, bound in ((1_000, 0.25),) if quick else ((10_000, 0.25), (100_000, 0.2)):
        subjects = _each(THREADS, work.noop, range(count), 8)
        subjects[f"{OURS}, timeout"] = partial(ours.threads, work.noop, range(count), 8, timeout=60)
        if count <= 10_000:  # it takes half a millisecond an item
            subjects["dask"] = partial(peers.dask_threads, work.noop, range(count), 8)
        goals = tuple(Goal(bound, ("TPE.map",), name) for name in subjects if name.startswith(OURS))
        name = f"no-op, 8 threads, {_size(count)}"
        found.append(Case("W1", name, "us an item", gauges.per_item(count), subjects, goals))
    count = 2_000 if quick else 100_000
    subjects = {name: _counted(subject, range) for name, subject in THREADS.items()}
    name = f"no-op, 8 threads, {_size(count)}: memory"
    goal = Goal(0.1, ("TPE.map",))
    found.append(Case("W1", name, "MB", gauges.growth(count), subjects, (goal,), rounds=3, fresh=True))
    return found


def _processes(quick: bool) -> list[Case]:
    found = []
    for count, bound in ((1_000, 0.05),) if quick else ((10_000, 0.05), (100_000, 0.03)):
        # Item by item, these two tell the same at 100k, for half a minute.
        taking = {
            name: PROCESSES[name]
            for name in PROCESSES
            if count <= 10_000 or name not in ("loky", "Pool.imap")
        }
        subjects = _each(taking, work.noop, range(count), 2)
        name = f"no-op, 2 processes, {_size(count)}"
        goals = (Goal(bound, ("PPE.map",)), Goal(1.0, KEEP_ERRORS))
        found.append(Case("W2", name, "us an item", gauges.per_item(count), subjects, goals, rounds=3))
    return found


def _coroutines(quick: bool) -> list[Case]:
    found = []
    for count, bound in ((1_000, 0.35),) if quick else ((10_000, 0.35), (100_000, 0.25)):
        subjects = _each(ASYNC, work.anoop, range(count), 100)
        name = f"async no-op, limit 100, {_size(count)}"
        goal = Goal(bound, ("gather",))
        found.append(Case("W3", name, "us an item", gauges.per_item(count), subjects, (goal,)))
    return found


def _naps(quick: bool) -> list[Case]:
    naps = [0.01] * (100 if quick else 1000)
    found = []
    for width in (10, 100) if quick else (10, 100, 1000):
        subjects = _each(
            {OURS: ours.arun, "gather": peers.gather, "task window": peers.task_window},
            work.anap,
            naps,
            width,
        )
        goals = (Goal(0.99 if width <= 100 else 0.9, ("gather", "task window")),)
        if width <= 100:
            mine = f"{OURS}, threads"
            subjects |= _each({mine: ours.threads, "TPE.map": peers.tpe_map}, work.nap, naps, width)
            goals += (Goal(0.99, ("TPE.map", "gather", "task window"), mine),)
        name = f"{len(naps)} x 10 ms, {width} in flight"
        gauge = gauges.efficiency(naps, width)
        found.append(Case("W4", name, "ideal / actual", gauge, subjects, goals, "higher"))
    return found


def _tail(quick: bool) -> list[Case]:
    naps = work.tail(100 if quick else 1000, 0.002 if quick else 0.01)
    subjects = {
        OURS: partial(ours.stream, work.nap, naps, 10),
        "TPE.map": partial(peers.tpe_map, work.nap, naps, 10),
        "TPE window": partial(peers.tpe_window, work.nap, naps, 10),
        "TPE window x10": partial(peers.tpe_window, work.nap, naps, 10, window=100),
    }
    name = f"{len(naps)} sleeps, 5 % of them 20x longer, 10 in flight"
    gauge = gauges.efficiency(naps, 10)
    goal = Goal(0.97, ("TPE.map",))
    return [Case("W4t", name, "ideal / actual", gauge, subjects, (goal,), "higher", rounds=3)]


def _frames(quick: bool) -> list[Case]:
    count, megabytes = (8, 2) if quick else (64, 20)
    items = [megabytes] * count
    bare = f"{OURS}, no pyarrow"
    subjects = {
        OURS: partial(ours.frames, work.frame, items, 2),
        bare: partial(ours.frames, work.frame, items, 2, arrow=False),
        "PPE.map": partial(peers.ppe_unforked, work.frame, items, 2),
        "joblib": partial(peers.joblib_processes, work.frame, items, 2),
        "dask": partial(peers.dask_processes, work.frame, items, 2),
    }
    name = f"{count} frames of {megabytes} MB, 2 processes"
    goals = (Goal(8, ("PPE.map",)), Goal(2, ("PPE.map",), bare))
    speed = Case("W5", name, "GB/s", gauges.gigabytes(count, megabytes), subjects, goals, "higher", rounds=3)
    gauge = gauges.growth(count, small=2, unit=count * megabytes * 1e4)
    makers = {OURS: ours.frames, "PPE.map": peers.ppe_unforked}
    held = {
        name: _counted(maker, lambda count: [megabytes] * count, work.frame, 2)
        for name, maker in makers.items()
    }
    name = f"{name}: growth, unread"
    return [speed, Case("W5", name, "% of the data", gauge, held, (Goal(5),), rounds=3, fresh=True)]


def _calls(quick: bool) -> list[Case]:
    count = 500 if quick else 10_000
    names = {OURS: ours.call, "tenacity": peers.tenacity_calls, "bare": peers.bare_calls}
    gauge = gauges.per_item(count)
    right = _each(names, work.noop, range(count), 1)
    del names["bare"]
    wrong = _each(names, work.fails_once(), range(count // 5), 1)
    return [
        Case("W6", "a call that succeeds", "us a call", gauge, right, (Goal(0.05, ("tenacity",)),)),
        Case(
            "W6",
            "a call that fails once",
            "us a call",
            gauges.per_item(count // 5),
            wrong,
            (Goal(0.25, ("tenacity",)),),
        ),
    ]


def _streams(quick: bool) -> list[Case]:
    count = 5_000 if quick else 1_000_000
    pushed = 1_000 if quick else 100_000
    seconds = 0.2 if quick else 1.0

    threads = {OURS: ours.stream, "TPE window": peers.tpe_window}
    coroutines = {OURS: ours.astream, "task window": peers.task_window}
    sync = {name: _counted(subject, work.numbers) for name, subject in threads.items()}
    loops = {name: _counted(each, work.numbers, work.anoop, 100) for name, each in coroutines.items()}
    late = {
        OURS: lambda: ours.first_results(work.noop, work.blocked(10, seconds), 8),
        "TPE window": lambda: peers.tpe_window(work.noop, work.blocked(10, seconds), 8, window=16),
    }
    push = _each({OURS: ours.push, "TPE.map": peers.tpe_map}, work.noop, range(pushed), 8)
    each, grown = gauges.per_item(count), gauges.growth(count)
    size = f"{count // 1000}k" if quick else "1M"
    name = f"{size} from a generator"
    goal = Goal(0.3, ("TPE window",))
    agoal = Goal(0.5, ("task window",))
    first = gauges.first_after(10, 11)
    return [
        Case("W7", f"{name}, 8 threads", "us an item", each, _told(sync, count), (goal,), rounds=3),
        Case(
            "W7", f"{name}, asyncio, limit 100", "us an item", each, _told(loops, count), (agoal,), rounds=3
        ),
        Case(
            "W7",
            f"{name}, 8 threads: growth",
            "MB",
            grown,
            {OURS: sync[OURS]},
            (Goal(2),),
            rounds=2,
            fresh=True,
        ),
        Case(
            "W7",
            f"{name}, asyncio: growth",
            "MB",
            grown,
            {OURS: loops[OURS]},
            (Goal(2),),
            rounds=2,
            fresh=True,
        ),
        Case(
            "W7", f"10 ready, then blocked {seconds:g} s", "ms", first, late, (Goal(seconds * 100),), rounds=3
        ),
        Case(
            "W7",
            f"no-op pushed over a TPE of 8, {_size(pushed)}",
            "us an item",
            gauges.per_item(pushed),
            push,
            (Goal(2.0, ("TPE.map",)),),
        ),
    ]


def _requests(quick: bool) -> list[Case]:
    count, width = (200, 20) if quick else (2000, 100)
    subjects = {
        OURS: ours.requests,
        f"{OURS}, joined": ours.requests_joined,
        f"{OURS}, httpx": ours.requests_httpx,
        "aiohttp + gather": peers.aiohttp_gather,
        "aiohttp + gather, one parse": peers.aiohttp_one_parse,
        "httpx + gather": peers.httpx_gather,
        "httpx + gather, 20 kept": peers.httpx_default,
        "httpx in threads": peers.httpx_threads,
        "niquests + gather": peers.niquests_gather,
    }
    goals = (
        Goal(1.0, ("aiohttp + gather",)),
        Goal(0.5, ("aiohttp + gather",), f"{OURS}, joined"),
        Goal(0.35, ("httpx + gather",), f"{OURS}, httpx"),
    )
    name = f"{count} GETs of 7 KB of CSV, 10 ms away, {width} in flight"
    each = _each(subjects, range(count), width)
    return [
        Case("W8", name, "us a request", gauges.per_item(count), each, goals, rounds=5, beside=server.served)
    ]


def _join(quick: bool) -> list[Case]:
    count, rows = 200 if quick else 5000, 100
    keys = [f"key{n}" for n in range(count)]

    def joined(join: Callable[..., Any]) -> Callable[[], range]:
        return lambda: range(join(work.small_frames(count, rows), keys).height // rows)

    subjects = {OURS: joined(ours.join), "with_columns + concat": joined(peers.columns_and_concat)}
    goal = Goal(0.2, ("with_columns + concat",))
    name = f"{count} frames of {rows} rows, key column"
    return [Case("W9", name, "us a frame", gauges.per_item(count), subjects, (goal,))]


def _starts(quick: bool) -> list[Case]:
    def line(codes: Mapping[str, tuple[str, ...]]) -> dict[str, Callable[[], Any]]:
        return {name: partial(peers.python, *code) for name, code in codes.items()}

    rounds = 3 if quick else 21
    imports = line({OURS: ("import fetchline",), "import pluggy": ("import pluggy",), "bare": ("",)})
    helps = line({OURS: (ours.HELP, "--help"), "import pluggy, click": ("import pluggy, click",)})
    goal, help_goal = Goal(1.3, ("import pluggy",)), Goal(1.6, ("import pluggy, click",))
    took = gauges.milliseconds()
    return [
        Case("W10", "python -c 'import fetchline'", "ms", took, imports, (goal,), rounds=rounds),
        Case("W10", "fetchline --help", "ms", took, helps, (help_goal,), rounds=rounds),
    ]


def _stores(quick: bool) -> list[Case]:
    count, many = (200, 2_000) if quick else (10_000, 1_000_000)
    subjects = _each(
        {
            OURS: ours.stored,
            "no store": ours.threads,
            "a file each": peers.file_each,
            "joblib.Memory": peers.joblib_memory,
        },
        work.nap_5_ms,
        range(count),
        10,
    )
    size = _size(many) if quick else "1M"
    kept = {OURS: _counted(ours.stored, range)}
    return [
        Case(
            "W11",
            f"{_size(count)} items of 5 ms, 10 threads, stored",
            "us an item",
            gauges.per_item(count),
            subjects,
            (Goal(1.1, ("no store",)),),
            rounds=3,
        ),
        Case(
            "W11",
            f"no-op, 8 threads, {size}, stored",
            "us an item",
            gauges.per_item(many),
            _told(kept, many),
            (Goal(100),),
            rounds=2,
        ),
        Case(
            "W11",
            f"{size} stored: growth",
            "MB",
            gauges.growth(many),
            kept,
            (Goal(200),),
            rounds=2,
            fresh=True,
        ),
        Case(
            "W11",
            f"a store of {size} opened",
            "ms",
            gauges.milliseconds(many),
            _told({OURS: ours.resumed}, many),
            (Goal(5_000),),
            rounds=3,
        ),
    ]


ROWS: Mapping[str, Callable[[bool], list[Case]]] = {
    "W1": _threads,
    "W2": _processes,
    "W3": _coroutines,
    "W4": _naps,
    "W4t": _tail,
    "W5": _frames,
    "W6": _calls,
    "W7": _streams,
    "W8": _requests,
    "W9": _join,
    "W10": _starts,
    "W11": _stores,
}


def cases(rows: list[str] | None = None, *, quick: bool = False) -> list[Case]:
    """List the cases of the rows asked for, all by default; ``quick`` ones are too small for a verdict.

    Raises:
        ValueError: a row that does not exist.
    """
    unknown = set(rows or ()) - set(ROWS)
    if unknown:
        raise ValueError(f"no row is named {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    return [case for row in rows or ROWS for case in ROWS[row](quick)]
