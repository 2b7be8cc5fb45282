"""Sessions: what may be one, whose it is, how long it stays, and that it is closed exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import fetchline as fl
from fetchline.catalog import catalog

QUIET = {"progress": None}


class Log:
    """A session class whose doings are lines of a file, so that other processes can write there too."""

    def __init__(self, path: str, name: str = "s") -> None:
        self.path, self.name = path, name
        self.closed = False

    def note(self, what: str) -> None:
        with Path(self.path).open("a") as file:
            file.write(f"{what} {id(self)}-{os.getpid()} {threading.get_ident()} {os.getpid()}\n")

    def __enter__(self) -> Log:
        self.note("open")
        return self

    def __exit__(self, *_: object) -> None:
        assert not self.closed, "closed twice"
        self.closed = True
        self.note("close")

    def get(self, item: Any) -> str:
        assert not self.closed, "used after it was closed"
        return f"{self.name}:{item}"


class Book:
    """Reads what the sessions of one test did."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lines(self) -> list[tuple[str, str, str, str]]:
        text = self.path.read_text() if self.path.exists() else ""
        return [tuple(line.split()) for line in text.splitlines()]  # type: ignore[misc]

    @property
    def opened(self) -> int:
        return sum(line[0] == "open" for line in self.lines)

    @property
    def closed(self) -> int:
        return sum(line[0] == "close" for line in self.lines)

    def check(self, times: int | None = None) -> None:
        """Every session was closed exactly once, by the thread that opened it."""
        opens = Counter(line[1:] for line in self.lines if line[0] == "open")
        closes = Counter(line[1:] for line in self.lines if line[0] == "close")
        assert opens == closes
        if times is not None:
            assert self.opened == times


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "sessions.log")


@pytest.fixture
def named(book: Book) -> Iterator[Any]:
    """Register a session under a name: ``named("x", scope=...)``."""
    added: list[Any] = []

    def register(name: str, factory: Any = Log, **spec: Any) -> Any:
        class Provider:
            @staticmethod
            @fl.hookimpl
            def fetchline_register_sessions() -> list[fl.SessionSpec]:
                return [fl.SessionSpec(name=name, factory=factory, **spec)]

        catalog().register(Provider, f"plugin-of-{name}")
        added.append(Provider)
        return fl.use(name, path=str(book.path))

    yield register
    for provider in added:
        catalog().unregister(provider)


def get(item: Any, *, session: Any = fl.injected) -> str:
    answer: str = session.get(item)
    return answer


async def aget(item: Any, *, session: Any = fl.injected) -> str:
    await asyncio.sleep(0)
    answer: str = session.get(item)
    return answer


def using(function: Any, session: Any, **policies: Any) -> fl.Fetcher[Any, Any, Any]:
    return fl.Fetcher.of(function, session=session, **policies)


# -- what may be a session


def test_a_session_by_name_takes_its_options_from_use(named: Any, book: Book) -> None:
    use = named("unit.log")
    fetcher = using(get, fl.use("unit.log", path=str(book.path), name="n"))
    assert fl.run(fetcher, ["a"], **QUIET).values == ["n:a"]
    assert fl.run(using(get, use), ["a"], **QUIET).values == ["s:a"]
    book.check(2)


def test_a_bare_name_opens_without_options(named: Any, book: Book) -> None:
    named("unit.bare", factory=lambda: Log(str(book.path)))
    assert fl.run(using(get, "unit.bare"), ["a"], **QUIET).values == ["s:a"]
    book.check(1)


def test_an_unknown_session_is_refused_before_anything_starts() -> None:
    with pytest.raises(fl.UnknownName, match="no session is named 'nosuch'"):
        fl.run(using(get, "nosuch"), ["a"], **QUIET)
    with pytest.raises(fl.UnknownName, match="no session is named 'nosuch'"):
        using(get, "nosuch")("a")


@pytest.mark.parametrize("how", ["class", "factory", "generator", "spec"])
def test_a_class_a_factory_a_generator_and_a_spec_are_sessions(how: str, book: Book) -> None:
    class Mine(Log):
        def __init__(self) -> None:
            super().__init__(str(book.path))

    @contextlib.contextmanager
    def opening() -> Iterator[Any]:
        with Mine() as log:
            yield log

    session: Any = {"class": Mine, "factory": lambda: Mine(), "generator": opening}.get(how)
    if session is None:
        session = fl.SessionSpec(name="mine", factory=Mine)
    assert fl.run(using(get, session), ["a", "b"], executor="serial", **QUIET).values == ["s:a", "s:b"]
    book.check(1)


@pytest.mark.parametrize("how", ["class", "generator", "sync class", "sync generator"])
def test_async_functions_take_async_and_plain_context_managers(how: str, book: Book) -> None:
    class Mine(Log):
        def __init__(self) -> None:
            super().__init__(str(book.path))

    class Async:
        async def __aenter__(self) -> Log:
            self.log = Mine()
            return self.log.__enter__()

        async def __aexit__(self, *_: object) -> None:
            await asyncio.sleep(0)
            self.log.__exit__()

    @contextlib.asynccontextmanager
    async def opening() -> AsyncIterator[Log]:
        with Mine() as log:
            await asyncio.sleep(0)
            yield log

    @contextlib.contextmanager
    def plainly() -> Iterator[Log]:
        with Mine() as log:
            yield log

    session = {"class": Async, "generator": opening, "sync class": Mine, "sync generator": plainly}[how]
    assert fl.run(using(aget, session), range(20), **QUIET).n_succeeded == 20
    book.check(1)

    async def main() -> Any:
        return await fl.arun(using(aget, session), range(20), **QUIET)

    assert asyncio.run(main()).n_succeeded == 20
    book.check(2)


def test_an_open_session_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="give its class or a factory"):
        using(get, Log(str(tmp_path / "x")))


def test_a_factory_of_what_is_no_context_manager_fails_its_items_by_name() -> None:
    def something() -> int:
        return 3

    [failure] = fl.run(using(get, something), ["a"], **QUIET)
    assert isinstance(failure, fl.Failure) and failure.error_code == "session"
    assert "something" in failure.message and "no context manager" in failure.message


def bare() -> Iterator[str]:
    yield "token"


async def abare() -> AsyncIterator[str]:
    yield "token"


async def coroutine() -> str:
    return "token"


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        (bare, r"is a bare generator: decorate it with @contextlib\.contextmanager"),
        (abare, r"is a bare generator: decorate it with @contextlib\.asynccontextmanager"),
        (coroutine, "is a coroutine function, which cannot be closed"),
        (Log, r"cannot be opened: missing a required argument: 'path'; its signature is \(path"),
    ],
)
def test_a_session_that_could_be_opened_for_no_item_is_refused_beforehand(factory: Any, why: str) -> None:
    for function in (get, aget):
        with pytest.raises(TypeError, match=why):
            fl.run(using(function, factory), ["a"], **QUIET)
        with pytest.raises(TypeError, match=why):
            fl.plan(using(function, factory), ["a"])


def test_a_decorator_may_give_a_session_what_nobody_else_gives(book: Book) -> None:
    @contextlib.contextmanager
    def login(path: str) -> Iterator[Log]:
        with Log(path) as log:
            yield log

    def knowing(factory: Any) -> Any:
        @functools.wraps(factory)
        def wrapper() -> Any:
            return factory(str(book.path))

        return wrapper

    for factory in (knowing(login), knowing(Log), functools.partial(login, str(book.path))):
        assert fl.run(using(get, factory), ["a"], **QUIET).values == ["s:a"]
    with pytest.raises(TypeError, match="missing a required argument: 'path'"):
        fl.run(using(get, login), ["a"], **QUIET)
    book.check(3)


def test_an_option_that_a_session_does_not_take_is_refused_beforehand(named: Any, book: Book) -> None:
    named("unit.log")
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'pathh'"):
        fl.run(using(get, fl.use("unit.log", path=str(book.path), pathh="")), ["a"], **QUIET)
    named("unit.any", factory=lambda **options: Log(**options), accepts=lambda: ["path", "name"])
    with pytest.raises(
        TypeError, match=r"session 'unit.any' of 'get' takes no 'pathh'; did you mean 'path'\?"
    ):
        fl.run(using(get, fl.use("unit.any", pathh="")), ["a"], **QUIET)
    with pytest.raises(TypeError, match=r"takes no 'colour'; it takes name, path"):
        fl.plan(using(get, fl.use("unit.any", colour="")), ["a"])
    assert fl.run(using(get, fl.use("unit.any", path=str(book.path))), ["a"], **QUIET).values == ["s:a"]
    book.check(1)


def test_a_spec_without_a_factory_is_refused() -> None:
    with pytest.raises(TypeError, match=r"session 'v' needs a factory=, or an async_factory="):
        fl.SessionSpec(name="v")


@pytest.mark.parametrize(
    "session",
    [
        fl.use("unit.secret", path="hunter2"),
        fl.SessionSpec(name="unit.secret", factory=functools.partial(Log, "hunter2"), max_age=3),
        functools.partial(Log, "hunter2"),
    ],
)
def test_what_is_shown_of_a_session_is_no_secret(session: Any) -> None:
    shown = repr(fl.Fetcher.of(get, session=session))
    assert "unit.secret" in shown or "Log" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize("wrong", [{"workers": "2"}, {"max_open": 0}, {"workers": True}])
def test_a_spec_takes_whole_numbers_of_sessions(wrong: Any) -> None:
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        fl.SessionSpec(name="v", factory=Log, **wrong)


def test_a_coroutine_function_cannot_say_that_a_login_is_over() -> None:
    async def is_over(error: BaseException) -> bool:
        return False

    with pytest.raises(TypeError, match="not a coroutine function"):
        fl.SessionSpec(name="v", factory=Log, expired=is_over)  # type: ignore[arg-type]


def test_a_parameter_that_waits_for_a_session_wants_one_declared() -> None:
    with pytest.raises(TypeError, match=r"wants a session in 'session', but declares none"):
        fl.run(get, ["a"], **QUIET)


def test_params_may_not_take_the_place_of_the_session(book: Book) -> None:
    fetcher = using(get, lambda: Log(str(book.path)))
    with pytest.raises(TypeError, match="where 'get' gets its session"):
        fl.run(fetcher, ["a"], params={"session": 3}, **QUIET)
    assert book.opened == 0


def test_an_async_session_is_refused_for_a_plain_function(named: Any) -> None:
    use = named("unit.async", factory=None, async_factory=Log)
    with pytest.raises(TypeError, match=r"not async, but session 'unit.async' is for async functions"):
        fl.run(using(get, use), ["a"], **QUIET)


def test_a_spec_with_two_factories_serves_both_kinds(named: Any, book: Book) -> None:
    @contextlib.asynccontextmanager
    async def opening(path: str) -> AsyncIterator[Log]:
        with Log(path, "async") as log:
            yield log

    use = named("unit.both", async_factory=opening)
    assert fl.run(using(get, use), ["a"], **QUIET).values == ["s:a"]
    assert fl.run(using(aget, use), ["a"], **QUIET).values == ["async:a"]
    book.check(2)


def test_a_session_that_nobody_takes_is_ambient(book: Book) -> None:
    current: list[Log] = []

    @contextlib.contextmanager
    def login() -> Iterator[None]:
        with Log(str(book.path)) as log:
            current.append(log)
            yield
            current.remove(log)

    def fetch(item: str) -> str:
        return current[0].get(item)

    assert fl.run(using(fetch, login), ["a", "b"], workers=1, **QUIET).values == ["s:a", "s:b"]
    book.check(1)
    assert using(fetch, login)("c") == "s:c"
    book.check(2)


# -- scopes


def test_the_default_scope_is_the_worker(named: Any, book: Book) -> None:
    use = named("unit.worker")
    barrier = threading.Barrier(3)

    def fetch(item: int, *, session: Any = fl.injected) -> str:
        if item < 3:
            barrier.wait(10)
        return f"{threading.get_ident()} {session.get(item)}"

    batch = fl.run(using(fetch, use), range(30), workers=3, **QUIET)
    assert batch.n_failed == 0
    book.check(3)
    assert {line[2] for line in book.lines} == {value.split()[0] for value in batch.values}
    assert batch.summary.logins == batch.summary.logouts == 3


def test_one_session_for_each_attempt(named: Any, book: Book) -> None:
    use = named("unit.attempt", scope="attempt")
    calls: list[int] = []

    def fetch(item: int, *, session: Any = fl.injected) -> str:
        calls.append(item)
        if item == 2 and calls.count(2) == 1:
            raise ValueError
        answer: str = session.get(item)
        return answer

    batch = fl.run(using(fetch, use, retry=fl.Try(2, 0)), range(4), workers=2, **QUIET)
    assert batch.n_failed == 0
    book.check(5)


def test_one_async_session_for_each_attempt(named: Any, book: Book) -> None:
    use = named("unit.aattempt", scope="attempt")
    assert fl.run(using(aget, use), range(7), concurrency=3, **QUIET).n_succeeded == 7
    book.check(7)


def test_one_session_for_the_process(named: Any, book: Book) -> None:
    use = named("unit.process", scope="process")
    barrier = threading.Barrier(4)

    def fetch(item: int, *, session: Any = fl.injected) -> str:
        if item < 4:
            barrier.wait(10)
        answer: str = session.get(item)
        return answer

    assert fl.run(using(fetch, use), range(40), workers=4, **QUIET).n_failed == 0
    assert (book.opened, book.closed) == (1, 1)


def test_each_worker_process_has_its_own(named: Any, book: Book) -> None:
    use = named("unit.inprocess")
    batch = fl.run(using(get, use), range(12), executor="process", workers=2, **QUIET)
    assert batch.values == [f"s:{n}" for n in range(12)]
    book.check()
    assert 1 <= book.opened <= 2
    assert str(os.getpid()) not in {line[3] for line in book.lines}


def test_a_loop_shares_one_among_its_attempts(named: Any, book: Book) -> None:
    use = named("unit.loop")
    assert fl.run(using(aget, use), range(50), concurrency=20, **QUIET).n_succeeded == 50
    book.check(1)


def test_async_functions_in_processes_share_one_in_each_loop(named: Any, book: Book) -> None:
    use = named("unit.aloop")
    batch = fl.run(using(aget, use), range(20), executor="process", workers=1, **QUIET)
    assert batch.n_succeeded == 20
    book.check(1)


def test_a_session_that_nobody_needed_is_not_opened(named: Any, book: Book) -> None:
    fl.run(using(get, named("unit.unused")), [], **QUIET)
    assert book.lines == []


def test_two_fetchers_with_other_options_do_not_share(named: Any, book: Book) -> None:
    named("unit.options", scope="process")
    one = using(get, fl.use("unit.options", path=str(book.path), name="one"))
    two = using(get, fl.use("unit.options", path=str(book.path), name="two"))
    with fl.get_executor("thread", max_workers=1) as pool:
        assert fl.run(one, ["a"], executor=pool, **QUIET).values == ["one:a"]
        assert fl.run(two, ["a"], executor=pool, **QUIET).values == ["two:a"]
    book.check(2)


# -- warm pools


@pytest.mark.parametrize("executor", ["thread", "process", "asyncio"])
def test_a_warm_pool_keeps_its_sessions_from_run_to_run(executor: str, named: Any, book: Book) -> None:
    function = aget if executor == "asyncio" else get
    fetcher = using(function, named(f"unit.warm-{executor}"))
    with fl.get_executor(executor, max_workers=1) as pool:
        for _ in range(3):
            assert fl.run(fetcher, ["a", "b"], executor=pool, **QUIET).values == ["s:a", "s:b"]
        assert (book.opened, book.closed) == (1, 0)
    book.check(1)


def test_an_attempt_scoped_session_is_not_kept_by_a_warm_pool(named: Any, book: Book) -> None:
    fetcher = using(get, named("unit.warm-attempt", scope="attempt"))
    with fl.get_executor("thread", max_workers=1) as pool:
        fl.run(fetcher, ["a", "b"], executor=pool, **QUIET)
        assert (book.opened, book.closed) == (2, 2)
    book.check(2)


# -- closed exactly once, whatever happens


def _fails(item: Any, *, session: Any = fl.injected) -> None:
    raise ValueError(item)


async def _afails(item: Any, *, session: Any = fl.injected) -> None:
    raise ValueError(item)


@pytest.mark.parametrize("executor", ["serial", "thread", "process", "asyncio"])
@pytest.mark.parametrize("on_error", ["collect", "raise"])
@pytest.mark.parametrize("scope", ["worker", "attempt", "process"])
def test_sessions_are_closed_once_when_items_fail(
    executor: str, on_error: str, scope: str, named: Any, book: Book
) -> None:
    use = named(f"unit.fails-{executor}-{on_error}-{scope}", scope=scope)
    function = _afails if executor == "asyncio" else _fails
    try:
        fl.run(using(function, use), range(3), executor=executor, on_error=on_error, **QUIET)
    except fl.BatchFailed:
        assert on_error == "raise"
    assert book.opened == book.closed >= 1


def test_sessions_are_closed_once_when_a_stream_is_left_early(named: Any, book: Book) -> None:
    results = fl.stream(using(get, named("unit.left")), iter(range(1000)), workers=2)
    assert next(results).is_success
    results.close()  # type: ignore[attr-defined]
    assert book.opened == book.closed >= 1


def test_sessions_are_closed_once_when_the_input_fails(named: Any, book: Book) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(fl.InputFailed):
        fl.run(using(get, named("unit.input")), items(), workers=2, **QUIET)
    assert book.opened == book.closed >= 1


def test_sessions_are_closed_once_when_a_job_is_cancelled(named: Any, book: Book) -> None:
    begun = threading.Event()
    gate = threading.Event()

    def fetch(item: int, *, session: Any = fl.injected) -> None:
        begun.set()
        gate.wait(10)

    job = fl.submit(using(fetch, named("unit.cancelled")), range(100), workers=2)
    assert begun.wait(10)
    job.cancel()
    gate.set()
    with pytest.raises(fl.BatchCancelled):
        job.result()
    assert book.opened == book.closed >= 1


def test_sessions_are_closed_once_when_the_callers_task_is_cancelled(named: Any, book: Book) -> None:
    async def hang(item: int, *, session: Any = fl.injected) -> None:
        begun.set()
        await asyncio.sleep(60)

    begun = asyncio.Event()

    async def main() -> None:
        task = asyncio.create_task(fl.arun(using(hang, named("unit.task")), range(5), **QUIET))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    book.check(1)


def test_a_session_that_fails_to_close_is_logged_and_hurts_nobody(
    book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    class Sticky(Log):
        def __init__(self) -> None:
            super().__init__(str(book.path))

        def __exit__(self, *_: object) -> None:
            super().__exit__()
            raise OSError("logout refused")

    class AsyncSticky(Sticky):
        async def __aenter__(self) -> Log:
            return self.__enter__()

        async def __aexit__(self, *_: object) -> None:
            self.__exit__()

    for function, kind in ((get, Sticky), (aget, AsyncSticky)):
        caplog.clear()
        batch = fl.run(using(function, kind), ["a", "b"], workers=None, concurrency=1, **QUIET)
        assert batch.n_failed == 0
        warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(warnings) == 1 and "Sticky" in warnings[0] and "logout refused" in warnings[0]
    book.check(2)
    with contextlib.suppress(OSError):
        assert using(get, Sticky)("a") == "s:a"
    book.check(3)


def test_a_session_that_cannot_be_opened_fails_its_items_and_chains_the_cause() -> None:
    tries: list[int] = []

    class Locked:
        def __enter__(self) -> Any:
            tries.append(1)
            raise PermissionError("wrong password")

        def __exit__(self, *_: object) -> None:
            raise AssertionError("it was never open")

    [failure] = fl.run(using(get, Locked, retry=fl.Try(3, 0)), ["a"], **QUIET)
    assert isinstance(failure, fl.Failure) and failure.error_code == "session"
    assert isinstance(failure.error, fl.SessionFailed)
    assert isinstance(failure.error.__cause__, PermissionError)
    assert "Locked" in failure.message and "wrong password" in failure.message
    assert len(tries) == failure.attempts == 3


def test_an_async_session_that_cannot_be_opened_fails_every_item_that_waits_for_it() -> None:
    class Locked:
        async def __aenter__(self) -> Any:
            await asyncio.sleep(0)
            raise PermissionError("wrong password")

        async def __aexit__(self, *_: object) -> None:
            raise AssertionError("it was never open")

    batch = fl.run(using(aget, Locked), range(8), concurrency=4, **QUIET)
    assert [f.error_code for f in batch.failures] == ["session"] * 8


def test_a_login_that_fails_once_is_tried_again(book: Book) -> None:
    tries: list[int] = []

    def login() -> Log:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("busy")
        return Log(str(book.path))

    [result] = fl.run(using(get, login, retry=fl.Try(2, 0)), ["a"], **QUIET)
    assert result.is_success and result.attempts == 2
    book.check(1)


@pytest.mark.parametrize("executor", ["thread", "process", "asyncio"])
def test_a_login_does_not_count_against_the_timeout(executor: str, book: Book) -> None:
    path = str(book.path)

    @contextlib.contextmanager
    def slow() -> Iterator[Log]:
        time.sleep(0.3)
        with Log(path) as log:
            yield log

    @contextlib.asynccontextmanager
    async def aslow() -> AsyncIterator[Log]:
        await asyncio.sleep(0.3)
        with Log(path) as log:
            yield log

    function, session = (aget, aslow) if executor == "asyncio" else (get, slow)
    fetcher = using(function, session, timeout=0.2)
    batch = fl.run(fetcher, ["a"], executor=executor, **QUIET)
    assert batch.values == ["s:a"]


def _slow_opening(seconds: float) -> Any:
    @contextlib.asynccontextmanager
    async def opening(path: str) -> AsyncIterator[Log]:
        await asyncio.sleep(seconds)
        yield Log(path)

    return opening


def test_an_opening_does_not_hold_the_run_past_its_deadline(named: Any) -> None:
    use = named("unit.held", async_factory=_slow_opening(4))
    began = time.monotonic()
    batch = fl.run(using(aget, use), ["a"], deadline=0.1, **QUIET)
    assert time.monotonic() - began < 3
    assert [f.error_code for f in batch.failures] == ["deadline"]


def test_never_more_than_max_open_sessions_are_open(named: Any, book: Book) -> None:
    use = named("unit.maxopen", max_open=2)
    gate = threading.Barrier(2)

    def fetch(item: int, *, session: Any = fl.injected) -> str:
        if item < 2:
            gate.wait(5)
        time.sleep(0.005)
        answer: str = session.get(item)
        return answer

    batch = fl.run(using(fetch, use), range(12), workers=4, **QUIET)
    assert batch.n_failed == 0
    most = now = 0
    for line in book.lines:
        now += 1 if line[0] == "open" else -1
        most = max(most, now)
    assert most == 2


def test_a_session_that_is_not_thread_safe_is_not_shared_between_threads(named: Any) -> None:
    use = named("unit.unsafe", scope="process", thread_safe=False)
    with pytest.raises((TypeError, ValueError), match=r"unit\.unsafe"):
        fl.run(using(get, use), ["a", "b"], workers=2, **QUIET)


# -- expired logins


class Expired(Exception):
    pass


class Server:
    """Knows which login is valid; a session is a login."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.valid = 0
        self.logins = self.logouts = self.open = 0

    def forget(self) -> None:
        self.valid = self.logins + 1

    @contextlib.contextmanager
    def login(self) -> Iterator[int]:
        with self.lock:
            self.logins += 1
            self.open += 1
            number = self.logins
        try:
            yield number
        finally:
            with self.lock:
                self.logouts += 1
                self.open -= 1

    def ask(self, number: int, item: Any) -> Any:
        if number < self.valid:
            raise Expired(f"login {number} is no longer valid")
        return item


@pytest.mark.parametrize("kind", ["types", "predicate"])
@pytest.mark.parametrize("scope", ["worker", "attempt", "process"])
def test_an_expired_login_is_renewed_and_the_item_is_not_charged(kind: str, scope: Any) -> None:
    server = Server()
    server.valid = 2
    expired: Any = (Expired,) if kind == "types" else (lambda error: isinstance(error, Expired))
    spec = fl.SessionSpec(name="unit.expiring", factory=server.login, scope=scope, expired=expired)

    def fetch(item: int, *, session: int = fl.injected) -> Any:
        return server.ask(session, item)

    batch = fl.run(using(fetch, spec), range(5), workers=1, **QUIET)
    assert batch.n_failed == 0 and batch[0].attempts == 2
    assert server.logins == server.logouts == batch.summary.logins == batch.summary.logouts
    if scope != "attempt":
        assert server.logins == 2


def test_a_login_that_is_refused_though_it_is_fresh_ends_the_item_after_one_free_attempt() -> None:
    server = Server()
    server.valid = 10**9
    spec = fl.SessionSpec(name="unit.never", factory=server.login, expired=(Expired,))

    def fetch(item: int, *, session: int = fl.injected) -> Any:
        return server.ask(session, item)

    [failure] = fl.run(using(fetch, spec, retry=fl.Try(3, 0)), [1], **QUIET)
    assert isinstance(failure, fl.Failure) and failure.error_code == "session"
    assert failure.attempts == 2 and isinstance(failure.error, Expired)
    assert server.logins == server.logouts == 2


def test_a_process_wide_login_that_expires_is_renewed_while_others_hold_it() -> None:
    server = Server()
    spec = fl.SessionSpec(name="unit.sharedlogin", factory=server.login, scope="process", expired=(Expired,))
    barrier = threading.Barrier(4)

    def fetch(item: int, *, session: int = fl.injected) -> Any:
        if item < 4 and fl.attempt().number == 1:
            barrier.wait(10)
            server.valid = 2
        return server.ask(session, item)

    batch = fl.run(using(fetch, spec), range(20), workers=4, **QUIET)
    assert [f.message for f in batch.failures] == []
    assert server.logins == server.logouts == 2


def test_a_process_wide_login_stays_open_for_the_thread_that_still_uses_it() -> None:
    server = Server()
    spec = fl.SessionSpec(name="unit.inuse-sync", factory=server.login, scope="process", expired=(Expired,))
    both, renewed = threading.Barrier(2), threading.Event()

    def fetch(item: str, *, session: int = fl.injected) -> int:
        if item == "user":
            both.wait(10)
            assert renewed.wait(10)
            return server.logouts
        if fl.attempt().number == 1:
            both.wait(10)
            raise Expired
        renewed.set()
        return server.logouts

    batch = fl.run(using(fetch, spec), ["user", "expired"], workers=2, **QUIET)
    assert batch.values == [0, 0]
    assert server.logins == server.logouts == batch.summary.logouts == 2


def test_a_thread_that_holds_an_expired_process_wide_login_takes_the_new_one() -> None:
    server = Server()
    spec = fl.SessionSpec(name="unit.stale", factory=server.login, scope="process", expired=(Expired,))
    both, renewed, third = threading.Barrier(2), threading.Event(), threading.Event()

    def fetch(item: int, *, session: int = fl.injected) -> int:
        if item < 2 and fl.attempt().number == 1:
            both.wait(10)
        if item == 0:
            if fl.attempt().number == 1:
                raise Expired
            renewed.set()
            assert third.wait(10)
        elif item == 1:
            assert renewed.wait(10)
        else:
            third.set()
        return session

    batch = fl.run(using(fetch, spec), range(3), workers=2, **QUIET)
    assert batch.values == [2, 1, 2]
    assert server.logins == server.logouts == 2


def test_tasks_that_share_an_expired_login_log_in_again_once() -> None:
    server = Server()
    spec = fl.SessionSpec(name="unit.looplogin", factory=server.login, expired=(Expired,))

    async def fetch(item: int, *, session: int = fl.injected) -> Any:
        await asyncio.sleep(0.001)
        if item < 8 and fl.attempt().number == 1:
            server.valid = 2
        return server.ask(session, item)

    batch = fl.run(using(fetch, spec), range(30), concurrency=8, **QUIET)
    assert [f.message for f in batch.failures] == []
    assert server.logins == server.logouts == 2


def test_a_renewed_login_is_closed_when_the_last_task_that_uses_it_is_done() -> None:
    closed: set[int] = set()
    numbers = iter(range(1, 100))

    @contextlib.asynccontextmanager
    async def login() -> AsyncIterator[int]:
        number = next(numbers)
        yield number
        closed.add(number)

    renewed = asyncio.Event()
    using_it, done = asyncio.Event(), asyncio.Event()
    spec = fl.SessionSpec(name="unit.inuse", factory=login, async_factory=login, expired=(Expired,))  # type: ignore[arg-type]

    async def fetch(item: str, *, session: int = fl.injected) -> str:
        if item == "user":
            using_it.set()
            await renewed.wait()
            await asyncio.sleep(0.01)
            if session in closed:
                raise RuntimeError("the client has been closed")
            done.set()
        elif item == "later":
            await done.wait()
            async with asyncio.timeout(5):
                while 1 not in closed:
                    await asyncio.sleep(0.001)
        elif fl.attempt().number == 1:
            await using_it.wait()
            raise Expired
        else:
            renewed.set()
        return item

    async def main() -> Any:
        return await fl.arun(using(fetch, spec), ["user", "expired", "later"], concurrency=2, **QUIET)

    batch = asyncio.run(main())
    assert [f.message for f in batch.failures] == []


@pytest.mark.parametrize("function", ["sync", "async"])
def test_an_expired_predicate_that_raises_leaves_the_items_own_error(function: str) -> None:
    spec = fl.SessionSpec(
        name="unit.predicate",
        factory=contextlib.nullcontext,
        expired=lambda error: error.response.status_code == 401,  # type: ignore[attr-defined]
    )

    def fetch(item: int, *, session: Any = fl.injected) -> None:
        raise ConnectionError("refused")

    async def afetch(item: int, *, session: Any = fl.injected) -> None:
        raise ConnectionError("refused")

    [failure] = fl.run(using(fetch if function == "sync" else afetch, spec), [1], **QUIET)
    assert isinstance(failure, fl.Failure)
    assert type(failure.error) is ConnectionError


def test_a_direct_call_logs_in_again_too() -> None:
    server = Server()
    server.valid = 2
    spec = fl.SessionSpec(name="unit.directly", factory=server.login, expired=(Expired,))

    def fetch(item: int, *, session: int = fl.injected) -> Any:
        return server.ask(session, item)

    async def afetch(item: int, *, session: int = fl.injected) -> Any:
        return server.ask(session, item)

    assert using(fetch, spec, retry=2)(7) == 7
    assert server.logins == server.logouts == 2
    server.forget()
    server.valid += 1
    assert asyncio.run(using(afetch, spec, retry=2)(7)) == 7
    assert server.logins == server.logouts == 4


def test_a_direct_call_gets_its_free_login_without_a_retry_policy() -> None:
    server = Server()
    server.valid = 2
    spec = fl.SessionSpec(name="unit.freely", factory=server.login, expired=(Expired,))

    def fetch(item: int, *, session: int = fl.injected) -> Any:
        return server.ask(session, item)

    assert using(fetch, spec)(7) == 7
    assert server.logins == server.logouts == 2


# -- the session and its errors


def test_a_session_makes_its_errors_portable_in_the_worker_process(named: Any) -> None:
    use = named("unit.portable", portable=_portable)
    [failure] = fl.run(using(_unportable, use), ["a"], executor="process", workers=1, **QUIET)
    assert isinstance(failure, fl.Failure)
    assert type(failure.error) is LookupError and str(failure.error) == "was a"


class Unportable(Exception):
    def __init__(self, *, item: str) -> None:
        super().__init__(item)
        self.item = item


def _unportable(item: str, *, session: Any = fl.injected) -> None:
    raise Unportable(item=item)


def _portable(error: BaseException) -> BaseException:
    return LookupError(f"was {error.item}") if isinstance(error, Unportable) else error
