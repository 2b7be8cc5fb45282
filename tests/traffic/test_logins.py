"""Logins against a real desk: they expire in the middle, are slow, fail, hang, grow old; and are counted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from clients import Login, login
from lanes import Lane, Log, lane_of
from manners import Desk
from servers import Server

import fetchline as fl

Serving = Callable[..., Server]


def get(n: int, *, session: Any = fl.injected) -> int:
    session.get(n)
    return n


@pytest.fixture(params=["thread", "asyncio"])
def eight(request: pytest.FixtureRequest) -> Iterator[Lane]:
    """Eight attempts at once in this process: eight workers, or one loop."""
    with lane_of(request.param, 8) as made:
        yield made


@pytest.fixture(params=["thread", "process"])
def workers(request: pytest.FixtureRequest) -> Iterator[Lane]:
    """Workers that can be left behind. The serial executor is the caller's own thread, which cannot."""
    with lane_of(request.param) as made:
        yield made


def settled(batch: Any, desk: Desk) -> None:
    """The run's own counts are those of the server."""
    assert (batch.summary.logins, batch.summary.logouts) == (desk.logins, desk.logouts)
    assert desk.logins == desk.logouts


# -- expiry --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["worker", "process"])
def test_logins_that_expire_in_the_middle_are_renewed_once_a_worker_and_cost_no_item(
    eight: Lane, serving: Serving, scope: Any
) -> None:
    desk = Desk(uses=100, service=0.01)
    server = serving(desk)
    batch = eight.run(eight.fetcher(get, session=login(server.url, scope=scope)), range(250))
    assert batch.values == list(range(250)), batch
    holders = 8 if eight.name == "thread" and scope == "worker" else 1
    assert 2 <= desk.logins <= 2 * holders
    settled(batch, desk)


def test_async_logins_that_expire_in_the_middle_are_renewed_once(serving: Serving) -> None:
    desk = Desk(uses=100, service=0.01)
    server = serving(desk)

    @asynccontextmanager
    async def open_one() -> AsyncIterator[Login]:
        made = Login(server.url)
        await asyncio.to_thread(made.__enter__)
        try:
            yield made
        finally:
            await asyncio.to_thread(made.__exit__, None, None, None)

    async def get_async(n: int, *, session: Any = fl.injected) -> int:
        await asyncio.to_thread(session.get, n)
        return n

    spec = login(server.url, factory=None, async_factory=open_one)
    batch = fl.run(fl.Fetcher.of(get_async, session=spec), range(250), concurrency=8, progress=None)
    assert batch.values == list(range(250)), batch
    assert desk.logins == 2
    settled(batch, desk)


def test_expiry_in_worker_processes_is_one_new_login_each(serving: Serving) -> None:
    desk = Desk(uses=60, service=0.005)
    server = serving(desk)
    with lane_of("process", 2) as lane:
        batch = lane.run(lane.fetcher(get, session=login(server.url)), range(150))
    assert batch.values == list(range(150)), batch
    assert 2 <= desk.logins <= 4
    settled(batch, desk)


# -- how many ------------------------------------------------------------------------------------------------


def test_no_more_sessions_are_open_than_may_be(serving: Serving) -> None:
    desk = Desk(uses=50, service=0.01)
    server = serving(desk)
    fetcher = fl.Fetcher.of(get, session=login(server.url, max_open=2))
    batch = fl.run(fetcher, range(100), executor="thread", workers=8, progress=None)
    assert batch.values == list(range(100)), batch
    assert desk.most <= 2
    assert max(seen.in_flight for seen in server.seen) <= 2
    settled(batch, desk)


def test_a_session_that_is_not_thread_safe_is_not_shared_between_threads_and_the_user_is_told(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused with a sentence that names the flag, or each thread gets its own and the log says so."""
    desk = Desk(service=0.01)
    server = serving(desk)
    fetcher = fl.Fetcher.of(get, session=login(server.url, thread_safe=False, scope="process"))
    try:
        with caplog.at_level(logging.WARNING, logger="fetchline"):
            batch = fl.run(fetcher, range(40), executor="thread", workers=4, progress=None)
    except (TypeError, ValueError) as error:
        assert "thread" in str(error)
        assert "desk" in str(error)
        assert server.seen == []
    else:
        assert batch.values == list(range(40))
        assert "thread_safe" in caplog.text
        assert desk.logins == 4


# -- slow, failing, hanging ----------------------------------------------------------------------------------


def test_a_slow_login_is_no_part_of_the_items_timeout_and_is_made_by_all_at_once(
    lane: Lane, serving: Serving
) -> None:
    desk = Desk(delay=1.0)
    server = serving(desk)
    batch = lane.run(lane.fetcher(get, session=login(server.url), timeout=0.6), range(24))
    assert batch.values == list(range(24)), batch
    logins = [seen for seen in server.seen if seen.path == "/login"]
    assert 1 <= len(logins) <= lane.width
    assert logins[-1].ended - logins[0].at < 1.9 or lane.far  # processes take their time to start
    settled(batch, desk)


def test_a_login_that_fails_half_of_the_time_has_tries_of_its_own(lane: Lane, serving: Serving) -> None:
    desk = Desk(fails=lambda n: n % 2 == 1, service=0.005)
    server = serving(desk)
    spec = login(server.url, login=fl.Try(retry=5, sleep=0.01))
    batch = lane.run(lane.fetcher(get, session=spec), range(30))  # one call an item
    assert batch.values == list(range(30)), batch
    assert desk.tried >= 2
    settled(batch, desk)


def test_a_login_that_never_works_is_tried_as_often_as_it_says(serving: Serving) -> None:
    desk = Desk(fails=lambda n: True)
    server = serving(desk)
    fetcher = fl.Fetcher.of(get, session=login(server.url, login=fl.Try(retry=5, sleep=0.01)))
    batch = fl.run(fetcher, ["only"], workers=1, progress=None, on_error="collect")
    assert batch[0].error_code == "unavailable"  # it answers 503
    assert desk.tried == 5


class Refused(Exception):
    status_code = 403


def test_a_login_that_is_refused_is_not_tried_again_by_its_own_policy(lane: Lane, log: Log) -> None:
    def refusing() -> Any:
        log.note("login")
        raise Refused("no such user")

    spec = fl.SessionSpec(name="shut", factory=refusing, login=fl.Try(retry=5, sleep=0))
    batch = lane.run(lane.fetcher(get, session=spec), ["only"])
    assert batch[0].error_code == "session" and batch[0].attempts == 1
    assert log.count("login") == 1


@pytest.mark.parametrize("name", ["serial", "thread", "asyncio", "pool"])
def test_a_desk_that_lets_nobody_in_is_not_stormed(name: str) -> None:
    knocks: list[float] = []

    class Refused:
        def __enter__(self) -> Any:
            knocks.append(time.monotonic())
            raise RuntimeError("wrong password")

        def __exit__(self, *error: object) -> None: ...

    async def get_async(n: int, *, session: Any = fl.injected) -> int:
        return n

    function: Any = get_async if name == "asyncio" else get
    fetcher = fl.Fetcher.of(function, session=Refused, retry=fl.Try(retry=3, sleep=0.05))
    with lane_of(name, 10) as lane:
        batch = fl.run(fetcher, range(2000), executor=lane.executor, progress=None)
    assert batch.summary.codes["session"] == 2000
    assert batch[1999].message.endswith("RuntimeError: wrong password"), batch[1999].message
    assert isinstance(batch[1999].error.__cause__, fl.SessionFailed)
    assert len(knocks) <= 100, "thousands, if each item that waits for its next try lets another one try"


def test_a_desk_is_not_stormed_from_the_processes_of_others(log: Log) -> None:
    def refused() -> Any:
        log.note("knock")
        raise RuntimeError("wrong password")

    fetcher = fl.Fetcher.of(get, session=refused, retry=fl.Try(retry=2, sleep=0.05))
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        batch = fl.run(fetcher, range(2000), executor=pool, progress=None)
    assert batch.summary.codes["session"] == 2000
    assert log.count("knock") <= 40


def test_a_desk_that_shuts_in_the_middle_is_not_stormed_by_a_chunk_of_items(tmp_path: Path) -> None:
    knocks = tmp_path / "knocks"

    class ForThousands:
        left = 1800

        def __enter__(self) -> Any:
            with knocks.open("ab") as file:
                file.write(b".")
            if self.left < 0:
                raise RuntimeError("wrong password")
            return self

        def __exit__(self, *error: object) -> None: ...

    def take(n: int, *, session: Any = fl.injected) -> int:
        ForThousands.left -= 1
        if ForThousands.left < 0:
            raise LookupError
        return n

    spec = fl.SessionSpec(name="thousands", factory=ForThousands, expired=(LookupError,))
    fetcher = fl.Fetcher.of(take, session=spec, retry=fl.Try(retry=3, sleep=0.05))
    batch = fl.run(fetcher, range(20_000), executor="process", workers=2, progress=None)
    assert (batch.n_succeeded, batch.summary.codes["session"]) == (3600, 16_400)
    assert knocks.stat().st_size <= 50, "hundreds, if what is left of a chunk tries in vain as well"


@pytest.mark.parametrize("name", ["thread", "process"])
def test_ten_logins_that_are_refused_for_good_are_enough(name: str, log: Log) -> None:
    """However often the items would be tried again: more of them lock an account."""

    def refused() -> Any:
        log.note("knock")
        raise PermissionError("wrong password")

    spec = fl.SessionSpec(name="shut", factory=refused, judge=lambda error: fl.Verdict("permanent"))
    with lane_of(name, 4) as lane:
        fetcher = lane.fetcher(get, session=spec, retry=fl.Try(retry=50, sleep=0))
        batch = lane.run(fetcher, range(1000))
    assert batch.summary.codes == {"session": 1000}
    assert 10 <= log.count("knock") <= 20


@pytest.mark.parametrize("name", ["serial", "thread", "asyncio", "pool"])
@pytest.mark.parametrize("items", [5, 20])
def test_a_desk_where_nobody_is_is_not_stormed_whatever_the_policy(name: str, items: int) -> None:
    knocks: list[float] = []

    class Nobody:
        def __enter__(self) -> Any:
            knocks.append(time.monotonic())
            if time.monotonic() - knocks[0] < 2:
                raise ConnectionRefusedError

        def __exit__(self, *error: object) -> None: ...

    async def get_async(n: int, *, session: Any = fl.injected) -> int:
        return n

    function: Any = get_async if name == "asyncio" else take
    fetcher = fl.Fetcher.of(function, session=Nobody, retry=fl.Try(retry=50, sleep=0))
    with lane_of(name, 4) as lane:
        batch = fl.run(fetcher, range(items), executor=lane.executor, progress=None)
    assert batch.values == [*range(items)]
    assert len(knocks) <= 40


def take(n: int, *, session: Any = fl.injected) -> int:
    return n


class Busy(Exception):
    pass


@pytest.mark.parametrize("error", [fl.RetryAfter(0.5), Busy()])
@pytest.mark.parametrize("own", [None, fl.Try(retry=20, sleep=0)])
def test_a_login_that_asks_for_a_pause_makes_everybody_wait(
    lane: Lane, error: Exception, own: Any, log: Log
) -> None:
    """Its own policy does not go on before."""

    def login() -> Any:
        log.note("knock")
        if log.count("knock") <= 3:
            raise error
        return contextlib.nullcontext()

    spec = fl.SessionSpec(
        name="busy",
        factory=login,
        login=own,
        judge=lambda error: fl.Verdict("throttled", "throttled", 0.5) if isinstance(error, Busy) else None,
    )
    batch = lane.run(lane.fetcher(take, session=spec, retry=fl.Try(retry=2, sleep=0)), range(40))
    assert batch.n_failed == 0
    assert batch.summary.wall_s >= 0.5
    assert log.count("knock") <= 3 + 2 * lane.width


def test_a_login_of_a_loop_that_fails_once_costs_those_who_waited_and_no_more() -> None:
    tries: list[int] = []

    class Once:
        async def __aenter__(self) -> None:
            await asyncio.sleep(0.01)
            tries.append(0)
            if len(tries) == 1:
                raise RuntimeError("not now")

        async def __aexit__(self, *error: object) -> None: ...

    async def get_async(n: int, *, session: Any = fl.injected) -> int:
        return n

    batch = fl.run(fl.Fetcher.of(get_async, session=Once), range(3000), concurrency=50, progress=None)
    assert 1 <= batch.n_failed <= 50
    assert batch.summary.stopped is None


def test_a_loop_of_a_process_that_cannot_log_in_leaves_the_work_to_others(log: Log) -> None:
    @asynccontextmanager
    async def only_one() -> AsyncIterator[None]:
        log.note("login", os.getpid())
        if log.lines()[0][1] == os.getpid():
            # Else an item might come to this one three times, and to nobody else.
            await asyncio.to_thread(log.wait_for, "work")
            raise RuntimeError("not this one")
        yield

    async def work(n: int, *, session: Any = fl.injected) -> int:
        log.note("work", n)
        await asyncio.sleep(0.005)
        return n

    fetcher = fl.Fetcher.of(work, session=only_one, retry=fl.Try(retry=3, sleep=0.01))
    batch = fl.run(fetcher, range(300), executor="process", workers=2, concurrency=8, progress=None)
    assert batch.values == [*range(300)], batch


@pytest.mark.parametrize("good_for", [30, 3])
def test_a_token_that_is_good_for_some_requests_only_costs_no_item_of_a_loop(good_for: int) -> None:
    """Whichever of them is answered first: who is refused is faster than who is served."""
    used: list[int] = []

    class Counted:
        async def __aenter__(self) -> list[int]:
            await asyncio.sleep(0.002)
            used.append(0)
            return used

        async def __aexit__(self, *error: object) -> None: ...

    async def get_async(n: int, *, session: Any = fl.injected) -> int:
        place = len(used) - 1
        used[place] += 1
        if n == 7 or used[place] > good_for:
            raise LookupError("who are you?")
        await asyncio.sleep(0.002)
        return n

    spec = fl.SessionSpec(name="counted", factory=Counted, expired=(LookupError,))
    batch = fl.run(fl.Fetcher.of(get_async, session=spec), range(300), concurrency=50, progress=None)
    (failure,) = batch.failures
    assert (failure.index, failure.error_code) == (7, "session")
    assert 300 / good_for <= len(used) <= 2 * 300 / good_for


@pytest.mark.parametrize("name", ["serial", "thread", "asyncio"])
def test_a_login_that_middleware_finds_over_is_renewed(name: str) -> None:
    logins: list[int] = []

    @contextlib.contextmanager
    def login() -> Iterator[None]:
        logins.append(0)
        yield

    @contextlib.contextmanager
    def audit() -> Iterator[None]:
        if len(logins) == 1:
            raise LookupError("who are you?")
        yield

    class Audited:
        @fl.hookimpl
        def fetchline_worker_middleware(self, run: Any) -> Any:
            return [audit]

    spec = fl.SessionSpec(name="audited", factory=login, expired=(LookupError,))
    with lane_of(name, 1) as lane:
        batch = lane.run(lane.fetcher(take, session=spec), range(3), plugins=[Audited()])
    assert (batch.n_failed, len(logins)) == (0, 2)


def test_a_run_does_not_wait_for_a_worker_that_rests_before_its_next_login() -> None:
    owner: list[int] = []
    ended: list[float] = []

    class OnlyOne:
        def __enter__(self) -> Any:
            owner.append(threading.get_ident())
            if owner[0] != threading.get_ident():
                raise ConnectionError("there is one already")

        def __exit__(self, *error: object) -> None: ...

    def work(n: int, *, session: Any = fl.injected) -> None:
        time.sleep(0.02)
        ended.append(time.monotonic())

    fetcher = fl.Fetcher.of(work, session=OnlyOne, retry=fl.Try(retry=20, sleep=0.001))
    # Its rests are 0.1, 0.2, 0.4 and 0.8 s: the last item is done in the middle of the fourth.
    batch = fl.run(fetcher, range(45), executor="thread", workers=2, progress=None)
    assert batch.n_failed == 0
    assert time.monotonic() - ended[-1] < 0.4


def test_a_client_that_is_banned_at_its_login_ends_the_run(lane: Lane, log: Log) -> None:
    """Whoever goes on asking may be shut out for longer."""

    def banning() -> Any:
        log.note("login")
        raise Refused("banned")

    spec = fl.SessionSpec(name="shut", factory=banning, judge=lambda error: fl.Verdict("stop", "banned"))
    batch = lane.run(lane.fetcher(get, session=spec, retry=3), range(1000))
    assert {failure.error_code for failure in batch.failures} == {"banned", "cancelled"}
    assert log.count("login") <= 2 * lane.width


@pytest.mark.parametrize("name", ["thread", "pool"])
def test_a_login_that_fails_for_one_worker_only_costs_no_item(name: str, serving: Serving) -> None:
    """The worker without a login fails faster than the others work: it must not eat what they could serve."""
    desk = Desk(service=0.02)
    server = serving(desk)
    banned: list[int] = []
    lock = threading.Lock()

    def open_one() -> Login:
        with lock:
            if not banned:
                banned.append(threading.get_ident())
        if threading.get_ident() in banned:
            deadline = time.monotonic() + 10
            while not desk.logins and time.monotonic() < deadline:
                time.sleep(0.002)  # else an item might come to this one three times, and to nobody else
            raise ConnectionError("this one is not let in")
        return Login(server.url)

    fetcher = fl.Fetcher.of(
        get, session=login(server.url, factory=open_one), retry=fl.Try(retry=3, sleep=0.01)
    )
    with lane_of(name, 4) as lane:
        began = time.monotonic()
        batch = lane.run(fetcher, range(100))
    assert batch.values == list(range(100)), batch
    assert 1 <= desk.logins <= 3
    assert time.monotonic() - began < 5, "the others wait for whoever rests"
    assert desk.logins == desk.logouts


def test_a_login_that_hangs_is_given_up_in_time(workers: Lane, serving: Serving) -> None:
    server = serving(Desk(delay=30))
    fetcher = workers.fetcher(get, session=login(server.url, open_timeout=0.5))
    began = time.monotonic()
    batch = workers.run(fetcher, range(2), on_error="collect")
    took = time.monotonic() - began
    assert dict(batch.summary.codes) == {"session": 2}, batch
    assert 0.4 < took < 8
    assert all(seen.path == "/login" for seen in server.seen)


def test_an_async_login_that_hangs_is_cancelled_in_time(serving: Serving) -> None:
    cancelled = []

    @asynccontextmanager
    async def hangs() -> AsyncIterator[None]:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        yield

    async def use(n: int, *, session: Any = fl.injected) -> int:
        return n

    spec = fl.SessionSpec(name="hangs", async_factory=hangs, open_timeout=0.5)
    batch = fl.run(fl.Fetcher.of(use, session=spec), range(2), progress=None, on_error="collect")
    assert dict(batch.summary.codes) == {"session": 2}, batch
    assert cancelled
    assert batch.summary.wall_s < 5


class HangingLogout:
    """A session whose end waits for a line in the log, at the most half a minute."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def __enter__(self) -> HangingLogout:
        self.log.note("open")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log.note("closing")
        self.log.wait_for("go", patience=30)


def test_a_logout_that_hangs_does_not_keep_the_run_from_ending(workers: Lane, log: Log) -> None:
    def use(n: int, *, session: Any = fl.injected) -> int:
        return n

    spec = fl.SessionSpec(name="hangs", factory=lambda: HangingLogout(log))
    try:
        began = time.monotonic()
        batch = workers.run(workers.fetcher(use, session=spec), range(8))
        took = time.monotonic() - began
        assert batch.values == list(range(8)), batch
        assert log.count("closing") >= 1
        assert took < 15  # about five seconds, and the start of processes on a busy machine; not thirty
        assert batch.summary.logins - batch.summary.logouts == log.count("open")
    finally:
        log.note("go")


@pytest.mark.parametrize("name", ["thread", "process", "pool"])
def test_a_logout_that_hangs_in_the_middle_costs_no_item(name: str, log: Log) -> None:
    """Not even a write, whose attempt has long ended then: the worker is left, and another takes its place."""

    def use(n: int, *, session: Any = fl.injected) -> int:
        log.note("use", n)
        if n == 4 and log.count("use", n) == 1:
            raise LookupError("who are you?")
        return n

    spec = fl.SessionSpec(name="hangs", factory=lambda: HangingLogout(log), expired=(LookupError,))
    with lane_of(name, 2) as lane:
        try:
            fetcher = lane.fetcher(use, session=spec, timeout=0.5, idempotent=False)
            batch = lane.run(fetcher, range(20))
            assert batch.values == list(range(20)), batch
            assert batch.summary.wall_s < 25  # about five seconds, twice; not thirty, twice
            assert log.count("open") >= 2 and log.count("use") == 21
        finally:
            log.note("go")


@pytest.mark.parametrize("expires", [True, False])
def test_ctrl_c_ends_a_logout_that_hangs_in_the_callers_own_thread(expires: bool) -> None:
    class Hangs:
        used = 0

        def __enter__(self) -> Hangs:
            return self

        def __exit__(self, *error: object) -> None:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            time.sleep(30)

    def use(n: int, *, session: Any = fl.injected) -> int:
        session.used += 1
        if expires and session.used == 3:
            raise LookupError
        return n

    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()
    try:
        spec = fl.SessionSpec(name="hangs", factory=Hangs, expired=(LookupError,))
        with pytest.raises(fl.BatchInterrupted) as caught:
            fl.run(fl.Fetcher.of(use, session=spec), range(4), executor="serial", progress=None)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 10
    assert caught.value.batch.n_succeeded == (2 if expires else 4)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_stream_that_is_left_half_way_logs_out_in_processes_too(is_async: bool, log: Log) -> None:
    @contextlib.contextmanager
    def login() -> Iterator[None]:
        log.note("open")
        yield
        log.note("close")

    async def use_async(n: int, *, session: Any = fl.injected) -> int:
        await asyncio.sleep(0.01)
        return n

    def use(n: int, *, session: Any = fl.injected) -> int:
        time.sleep(0.01)
        return n

    function: Any = use_async if is_async else use
    fetcher = fl.Fetcher.of(function, session=login)

    async def main() -> None:
        async with contextlib.aclosing(
            fl.astream(fetcher, range(1000), executor="process", workers=2)
        ) as stream:
            async for result in stream:
                if result.index == 60:
                    break

    asyncio.run(main())
    assert 1 <= log.count("open") == log.count("close")


@pytest.mark.parametrize("name", ["thread", "process"])
def test_a_logout_that_hangs_does_not_keep_a_pool_from_ending(name: str, log: Log) -> None:
    def use(n: int, *, session: Any = fl.injected) -> int:
        return n

    fetcher = fl.Fetcher.of(use, session=fl.SessionSpec(name="hangs", factory=lambda: HangingLogout(log)))
    try:
        with fl.get_executor(name, max_workers=2) as pool:
            assert fl.run(fetcher, range(4), executor=pool, progress=None).n_failed == 0
            began = time.monotonic()
        assert time.monotonic() - began < 8
        assert log.count("closing") >= 1
    finally:
        log.note("go")


def test_an_async_logout_that_hangs_is_cancelled_and_the_run_ends() -> None:
    cancelled = []

    @asynccontextmanager
    async def hangs() -> AsyncIterator[None]:
        yield
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def use(n: int, *, session: Any = fl.injected) -> int:
        return n

    began = time.monotonic()
    spec = fl.SessionSpec(name="hangs", async_factory=hangs)
    batch = fl.run(fl.Fetcher.of(use, session=spec), range(8), progress=None)
    assert batch.values == list(range(8)), batch
    assert cancelled
    assert time.monotonic() - began < 7
    assert (batch.summary.logins, batch.summary.logouts) == (1, 0)


# -- growing old, counting -----------------------------------------------------------------------------------


def test_a_session_that_is_too_old_is_closed_and_opened_anew(lane: Lane, serving: Serving) -> None:
    desk = Desk(service=0.05)
    server = serving(desk)
    with lane_of(lane.name, 1) as one:
        batch = one.run(one.fetcher(get, session=login(server.url, max_age=0.2)), range(20))
    assert batch.values == list(range(20)), batch
    assert 3 <= desk.logins <= 6  # a second's work, in pieces of 0.2 s and an item
    assert server.answered(401) == []
    settled(batch, desk)


def test_an_old_session_is_not_closed_under_those_that_use_it(serving: Serving) -> None:
    desk = Desk(service=0.1)
    server = serving(desk)
    fetcher = fl.Fetcher.of(get, session=login(server.url, max_age=0.25, scope="process"))
    batch = fl.run(fetcher, range(60), executor="thread", workers=4, progress=None)
    assert batch.values == list(range(60)), batch
    assert server.answered(401) == []
    assert desk.logins >= 3
    settled(batch, desk)


@pytest.mark.parametrize("scope", ["attempt", "worker", "process"])
def test_the_summary_counts_the_logins_and_logouts_that_the_server_saw(
    lane: Lane, serving: Serving, scope: Any
) -> None:
    desk = Desk()
    server = serving(desk)
    batch = lane.run(lane.fetcher(get, session=login(server.url, scope=scope)), range(12))
    assert batch.n_succeeded == 12, batch
    settled(batch, desk)
    assert scope != "attempt" or desk.logins == 12


def test_a_run_without_sessions_counts_none(lane: Lane) -> None:
    batch = lane.run(lane.fetcher(lambda n: n), range(3))
    assert (batch.summary.logins, batch.summary.logouts) == (0, 0)
