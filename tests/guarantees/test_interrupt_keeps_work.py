"""Guarantee 9: Ctrl-C gives control back soon, with what was finished; real signals to real programs."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from lanes import LANES, Script, until

import fetchline as fl

BACK_S = 1.5
SLACK_S = 0.3  # for a busy machine

# Items below 6 finish, the others never do by themselves.
PROGRAM = """
import asyncio, json, os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import fetchline as fl
from lanes import Log, Session, lane_of

signal.signal(signal.SIGINT, signal.default_int_handler)
name, how = sys.argv[1:3]
log = Log(Path("log"))

def session():
    return Session(log)

def sticks(n, *, session=fl.injected):
    log.note("at", n)
    if n >= 6:
        if how == "stubborn":
            log.wait_for("never", patience=3600)
        time.sleep(3600)
    log.note("done", n)
    return n

async def sticks_async(n, *, session=fl.injected):
    log.note("at", n)
    if n >= 6:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if how != "stubborn":
                    raise
    log.note("done", n)
    return n

def told(done, total):
    if done == 20:
        print("stopping", flush=True)

fetcher = fl.Fetcher.of(sticks_async if name == "asyncio" else sticks, session=session)
executor = ThreadPoolExecutor(3) if name == "pool" else name
options = {"executor": executor, "progress": None, "on_progress": told}
if name == "thread" or name == "process":
    options["workers"] = 3
if name == "asyncio":
    options["concurrency"] = 3

def watch():
    log.wait_for("done", times=6)
    log.wait_for("at", times=7 if name == "serial" else 9)
    print("stuck", flush=True)

threading.Thread(target=watch, daemon=True).start()
try:
    if how == "stream":
        got = []
        for result in fl.stream(fetcher, iter(range(40)), window=40, **options):
            if result.is_success:
                got.append(result.value)
    else:
        fl.run(fetcher, range(40), **options)
except KeyboardInterrupt as error:
    back = time.monotonic()
    batch = error.batch
    print("back", json.dumps({
        "at": back,
        "type": type(error).__name__,
        "message": str(error),
        "size": len(batch),
        "values": got if how == "stream" else batch.values,
        "codes": dict(batch.summary.codes),
        "complete": batch.complete,
        "stopped": batch.summary.stopped,
        "handler": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    }), flush=True)
    print("sessions", log.count("open"), log.count("close"), flush=True)
    again = fl.run(abs, range(3), progress=None).values
    print("again", again, flush=True)
    os._exit(0) if name == "pool" else None
"""


def back(run: Script, since: float) -> tuple[dict[str, Any], float]:
    report: dict[str, Any] = json.loads(run.wait_for("back"))
    return report, report["at"] - since


@pytest.mark.parametrize("group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("name", LANES)
def test_interrupt_keeps_work_and_gives_control_back_within_a_second_and_a_half(
    name: str, group: bool, script: Callable[..., Script]
) -> None:
    run = script(PROGRAM, name, "run")
    run.wait_for("stuck")
    report, took = back(run, run.interrupt(group=group))
    assert report["type"] == "BatchInterrupted"
    assert report["values"] == list(range(6))
    assert report["size"] == 40
    assert report["codes"] == {"cancelled": 34}
    assert not report["complete"]
    assert report["stopped"] == "cancelled"
    assert report["handler"], "the SIGINT handler was not put back"
    assert "6 of 40 items" in report["message"]
    assert took < BACK_S + SLACK_S
    assert run.wait_for("again") == "[0, 1, 2]"
    assert run.end(10) == 0, run.stderr
    until(lambda: not run.leftover(), "its processes to be gone", patience=5)


@pytest.mark.parametrize("name", ["thread", "asyncio", "process"])
def test_interrupt_keeps_work_of_stuck_attempts_that_get_one_second_and_no_more(
    name: str, script: Callable[..., Script]
) -> None:
    """Threads cannot be ended, this coroutine swallows its cancellation: neither is waited for any longer."""
    run = script(PROGRAM, name, "stubborn")
    run.wait_for("stuck")
    report, took = back(run, run.interrupt(group=False))
    assert report["values"] == list(range(6))
    assert took < BACK_S + SLACK_S


@pytest.mark.parametrize("group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("name", ["thread", "process", "asyncio", "pool"])
def test_interrupt_keeps_work_and_a_second_one_does_not_wait(
    name: str, group: bool, script: Callable[..., Script]
) -> None:
    run = script(PROGRAM, name, "stubborn")
    run.wait_for("stuck")
    first = run.interrupt(group=group)
    run.wait_for("stopping")  # the first has been seen: what had not started is being cancelled
    report, took = back(run, run.interrupt(group=group))
    # An answer that was on its way may be lost: nobody waited for it.
    assert set(report["values"]) <= set(range(6))
    assert report["size"] == 40
    assert took < 0.5
    assert report["at"] - first < 1.0 or took < 0.2
    until(lambda: run.end(10) is not None, "its end")
    until(lambda: not run.leftover(), "its processes to be gone", patience=5)


@pytest.mark.parametrize("name", LANES)
def test_interrupt_keeps_work_that_a_stream_has_handed_out(name: str, script: Callable[..., Script]) -> None:
    run = script(PROGRAM, name, "stream")
    run.wait_for("stuck")
    report, took = back(run, run.interrupt(group=False))
    assert report["type"] == "BatchInterrupted"
    assert report["values"][:6] == list(range(6))
    assert report["handler"]
    assert took < BACK_S + SLACK_S
    assert run.end(10) == 0, run.stderr


SESSIONS = """
import asyncio, os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import fetchline as fl
from lanes import Log, Session

signal.signal(signal.SIGINT, signal.default_int_handler)
name, sticks = sys.argv[1], sys.argv[2] == "sticks"
log = Log(Path("log"))

def session():
    return Session(log)

def finishes_in_its_grace(n, *, session=fl.injected):
    log.note("at", n)
    if n == 0 and sticks:
        time.sleep(3600)
    if n < 3:
        log.wait_for("stopping")
    return n

async def finishes_async(n, *, session=fl.injected):
    log.note("at", n)
    while n < 3 and not log.count("stopping") or n == 0 and sticks:
        await asyncio.sleep(0.005)
    return n

def told(done, total):
    log.note("stopping")

executor = ThreadPoolExecutor(3) if name == "pool" else name
options = {} if name == "pool" else {"concurrency": 3} if name == "asyncio" else {"workers": 3}
fetcher = fl.Fetcher.of(finishes_async if name == "asyncio" else finishes_in_its_grace, session=session)
threading.Thread(
    target=lambda: (log.wait_for("at", times=3), print("stuck", flush=True)), daemon=True
).start()
try:
    fl.run(fetcher, range(30), executor=executor, progress=None, on_progress=told, **options)
except KeyboardInterrupt as error:
    print("back", error.batch.values, flush=True)
if name == "pool" and not sticks:
    executor.shutdown()
print("sessions", log.count("open"), log.count("close"), flush=True)
if name == "pool":
    os._exit(0)  # such a pool's threads are waited for at the end
"""


@pytest.mark.parametrize("name", ["thread", "process", "asyncio", "pool"])
def test_interrupt_keeps_work_that_ends_within_its_second_and_closes_every_session(
    name: str, script: Callable[..., Script]
) -> None:
    run = script(SESSIONS, name, "ends")
    run.wait_for("stuck")
    run.interrupt(group=True)
    assert json.loads(run.wait_for("back"))[:3] == [0, 1, 2]
    opened, closed = map(int, run.wait_for("sessions").split())
    assert opened == closed
    assert opened >= 1
    assert run.end(10) == 0, run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("name", ["thread", "process", "asyncio", "pool"])
def test_interrupt_keeps_work_and_the_sessions_of_all_but_the_stuck_are_closed(
    name: str, script: Callable[..., Script]
) -> None:
    run = script(SESSIONS, name, "sticks")
    run.wait_for("stuck")
    run.interrupt(group=False)
    assert json.loads(run.wait_for("back"))[:2] == [1, 2]
    opened, closed = map(int, run.wait_for("sessions").split())
    assert closed == opened - (name != "asyncio")
    assert run.end(10) == 0, run.stderr
    assert "Traceback" not in run.stderr


OTHERS = """
import signal, sys, threading, time
import fetchline as fl

signal.signal(signal.SIGINT, signal.default_int_handler)
arrived, release = threading.Event(), threading.Event()

def ready():
    arrived.wait(10)
    print("at", flush=True)

def waits(n):
    arrived.set()
    release.wait(30)
    return n

def one(n):
    return n

match sys.argv[1]:
    case "job":
        job = fl.submit(waits, range(3))
        try:
            ready()
            job.wait()
        except KeyboardInterrupt:
            print("back", job.status, flush=True)
        release.set()
        print("result", job.result(timeout=10).values, flush=True)
    case "result":
        job = fl.submit(waits, range(3))
        try:
            ready()
            job.result()
        except KeyboardInterrupt:
            print("back", job.status, flush=True)
        release.set()
        print("result", job.result(timeout=10).values, flush=True)
    case "own handler":
        seen = []
        def mine(number, frame):
            seen.append(number)
            release.set()
        signal.signal(signal.SIGINT, mine)
        threading.Thread(target=ready).start()
        batch = fl.run(waits, range(3), progress=None)
        print("result", batch.values, seen, signal.getsignal(signal.SIGINT) is mine, flush=True)
    case "consumer":
        # While the consumer works, nothing of ours stands in the way of Ctrl-C.
        try:
            for result in fl.stream(one, iter(range(3))):
                print("at", signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
                time.sleep(3600)
        except KeyboardInterrupt as error:
            print("result", type(error).__name__, flush=True)
    case "input":
        started, both = [], threading.Event()
        def noted(n):
            started.append(n)
            if len(started) == 2:
                both.set()
            return n
        def blocked():
            yield 0
            yield 1
            both.wait(10)  # what has not started yet would be cancelled
            print("at", flush=True)
            release.wait(3600)
        try:
            fl.run(noted, blocked(), progress=None)
        except KeyboardInterrupt as error:
            print("result", type(error).__name__, error.batch.values, flush=True)
    case "other thread":
        out = []
        ended = threading.Event()  # an interrupted join() cannot be relied on to join again
        def work():
            out.append(fl.run(waits, range(3), progress=None).values)
            ended.set()
        threading.Thread(target=work).start()
        try:
            ready()
            ended.wait()
        except KeyboardInterrupt:
            print("back", flush=True)
        release.set()
        ended.wait(10)
        print("result", out[0], flush=True)
"""


@pytest.mark.parametrize(
    ("what", "result"),
    [
        ("job", "[0, 1, 2]"),
        ("result", "[0, 1, 2]"),
        ("own handler", f"[0, 1, 2] [{int(signal.SIGINT)}] True"),
        ("consumer", "KeyboardInterrupt"),
        ("input", "BatchInterrupted [0, 1]"),
        ("other thread", "[0, 1, 2]"),
    ],
)
def test_interrupt_keeps_work_whoever_it_reaches(
    what: str, result: str, script: Callable[..., Script]
) -> None:
    run = script(OTHERS, what)
    run.wait_for("at")
    sent = run.interrupt(group=False)
    assert run.wait_for("result") == result
    assert time.monotonic() - sent < 3
    if what in ("job", "result"):
        assert run.wait_for("back") == "running"
    assert run.end(10) == 0, run.stderr


STARTING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import fetchline as fl

def slow(n):
    import time
    time.sleep(3600)

print("at", flush=True)
try:
    fl.run(slow, range(4), executor=fl.use("process", start="spawn"), workers=2, progress=None)
except KeyboardInterrupt as error:
    print("back", error.batch.summary.codes["cancelled"], flush=True)
"""


def test_interrupt_keeps_work_silently_even_while_workers_are_starting(script: Callable[..., Script]) -> None:
    """The terminal sends Ctrl-C to interpreters that are still importing; they print no traceback."""
    run = script(STARTING)
    run.wait_for("at")
    # Not before there is a worker process, and long before it has imported anything.
    until(lambda: len(run.leftover()) >= 2, "a worker process", patience=10)
    run.interrupt(group=True)
    assert run.wait_for("back") == "4"
    assert run.end(10) == 0, run.stderr
    assert "Traceback" not in run.stderr
    until(lambda: not run.leftover(), "its processes to be gone", patience=5)


def test_interrupt_keeps_work_with_a_handler_only_while_the_main_thread_waits() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[Any] = []
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        seen.extend(signal.getsignal(signal.SIGINT) for _ in fl.stream(abs, iter(range(3))))
        assert set(seen) <= {signal.default_int_handler, before}
        fl.run(abs, [1], progress=None)
        assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, before)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
