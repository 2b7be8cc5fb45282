"""Plain calls of a fetcher: what is returned and raised, in place retries, session, timeout, pace, attempt()."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest

import fetchline as fl


class Door:
    """A session that counts."""

    def __init__(self) -> None:
        type(self).opened += 1

    opened = closed = 0

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        type(self).closed += 1


class AsyncDoor:
    opened = closed = 0

    async def __aenter__(self) -> Any:
        type(self).opened += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        type(self).closed += 1


@pytest.fixture(autouse=True)
def counted() -> None:
    Door.opened = Door.closed = AsyncDoor.opened = AsyncDoor.closed = 0


POLICIES: dict[str, dict[str, Any]] = {
    "none": {},
    "retry": {"retry": fl.Try(3, 0)},
    "session": {"session": Door},
    "timeout": {"timeout": 10},
    "pace": {"pace": "1000/s"},
    "all": {"retry": fl.Try(3, 0), "session": Door, "timeout": 10, "pace": "1000/s"},
}
EVERY = pytest.mark.parametrize("policies", POLICIES.values(), ids=POLICIES)


def make(function: Callable[..., Any], **policies: Any) -> fl.Fetcher[Any, Any, Any]:
    return fl.Fetcher.of(function, **policies)


# -- what comes back


@EVERY
def test_a_call_takes_the_functions_own_arguments(policies: dict[str, Any]) -> None:
    def fetch(a: int, *rest: int, b: int = 3, **more: int) -> Any:
        return a, rest, b, more

    assert make(fetch, **policies)(1, 2, 3, b=4, c=5) == (1, (2, 3), 4, {"c": 5})
    assert make(fetch, **policies)(a=1) == (1, (), 3, {})


@EVERY
def test_a_wrong_call_is_a_type_error_of_the_function(policies: dict[str, Any]) -> None:
    calls: list[int] = []

    def fetch(a: int) -> None:
        calls.append(a)

    with pytest.raises(TypeError):
        make(fetch, **policies)(1, 2)
    assert calls == []


@EVERY
def test_a_call_returns_the_very_object_the_function_returned(policies: dict[str, Any]) -> None:
    for value in (object(), None, pl.DataFrame({"a": [1]})):
        assert make(lambda value: value, **policies)(value) is value


@EVERY
def test_a_call_returns_a_lazy_frame_as_it_is(policies: dict[str, Any]) -> None:
    frame = pl.LazyFrame({"a": [1]})
    assert make(lambda value: value, **policies)(frame) is frame


@EVERY
def test_a_call_takes_arguments_that_have_no_key(policies: dict[str, Any]) -> None:
    value = {"a": [1]}
    assert make(lambda value: value, **policies)(value) is value


# -- what is raised


class Refused(Exception):
    def __init__(self, *, why: str) -> None:
        super().__init__(why)


@EVERY
def test_a_call_raises_the_original_error_with_its_own_traceback(policies: dict[str, Any]) -> None:
    error = Refused(why="no")

    def deep_inside(item: int) -> None:
        raise error

    def fetch(item: int) -> None:
        deep_inside(item)

    with pytest.raises(Refused) as caught:
        make(fetch, **policies)(1)
    assert caught.value is error
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["fetch", "deep_inside"]
    assert error.__cause__ is None


@EVERY
def test_no_data_is_raised_and_not_turned_into_a_frame(policies: dict[str, Any]) -> None:
    def fetch(item: int) -> None:
        raise fl.NoData("a holiday")

    with pytest.raises(fl.NoData, match="a holiday"):
        make(fetch, **policies)(1)


@EVERY
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_or_exit_goes_straight_through(policies: dict[str, Any], error: type) -> None:
    calls: list[int] = []

    def fetch(item: int) -> None:
        calls.append(item)
        raise error

    if policies.get("timeout"):
        pytest.skip("it is raised in another thread there")
    with pytest.raises(error):
        make(fetch, **policies)(1)
    assert calls == [1]


@pytest.mark.parametrize("policies", POLICIES.values(), ids=POLICIES)
def test_settings_of_runs_do_not_touch_a_direct_call(
    policies: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FETCHLINE_ON_ERROR", "raise")
    monkeypatch.setenv("FETCHLINE_PLUGINS", "no-such-plugin")
    monkeypatch.setenv("FETCHLINE_PROGRESS", "log")

    def fetch(item: int) -> int:
        return item // 0 if item == 0 else item

    caplog.set_level(logging.INFO, "fetchline")
    assert make(fetch, **policies)(7) == 7
    with pytest.raises(ZeroDivisionError):
        make(fetch, **policies)(0)
    assert [record.getMessage() for record in caplog.records] == []


# -- retries, in place


@pytest.mark.parametrize("extra", [{}, {"session": Door}, {"timeout": 10}, {"pace": "1000/s"}])
def test_a_call_retries_in_place(extra: dict[str, Any]) -> None:
    calls: list[Any] = []

    def fetch(item: str) -> str:
        calls.append(fl.attempt().number)
        if len(calls) < 3:
            raise ValueError(item)
        return item

    assert make(fetch, retry=fl.Try(3, 0), **extra)("a") == "a"
    assert calls == [1, 2, 3]
    calls.clear()
    with pytest.raises(ValueError):
        make(fetch, retry=fl.Try(2, 0), **extra)("a")
    assert calls == [1, 2]


def test_an_error_that_is_not_worth_it_is_raised_at_once() -> None:
    calls: list[int] = []

    def fetch(item: int) -> None:
        calls.append(item)
        raise KeyError(item)

    with pytest.raises(KeyError):
        make(fetch, retry=fl.Try(5, 0, on=ValueError))(1)
    assert calls == [1]


def test_a_call_waits_between_attempts() -> None:
    starts: list[float] = []

    def fetch(item: int) -> None:
        starts.append(time.monotonic())
        raise ValueError

    with pytest.raises(ValueError):
        make(fetch, retry=fl.Try(3, 0.01, backoff=2, jitter=0))(1)
    assert starts[1] - starts[0] >= 0.01 and starts[2] - starts[1] >= 0.02


@pytest.mark.parametrize("extra", [{}, {"session": Door}, {"timeout": 10}])
def test_not_ready_is_asked_again_with_its_memo(extra: dict[str, Any]) -> None:
    memos: list[Any] = []

    def fetch(item: str) -> str:
        memos.append(fl.attempt().memo)
        if len(memos) < 3:
            raise fl.NotReady(0, memo=f"task-{len(memos)}")
        return item

    assert make(fetch, **extra)("a") == "a"
    assert memos == [None, "task-1", "task-2"]


def test_a_pause_the_server_asks_for_is_kept_without_a_retry() -> None:
    calls: list[float] = []

    def fetch(item: str) -> str:
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise fl.RetryAfter(0.02)
        return item

    assert make(fetch)("a") == "a"
    assert calls[1] - calls[0] >= 0.02


# -- session


def test_every_call_opens_and_closes_its_own_session() -> None:
    seen: list[Any] = []
    fetch = make(lambda item, *, session=fl.injected: seen.append(session), session=Door)
    fetch(1)
    fetch(2)
    assert (Door.opened, Door.closed) == (2, 2)
    assert seen[0] is not seen[1] and isinstance(seen[0], Door)


def test_a_session_is_closed_when_the_call_fails() -> None:
    def fetch(item: int, *, session: Any = fl.injected) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        make(fetch, session=Door)(1)
    assert (Door.opened, Door.closed) == (1, 1)


@pytest.mark.parametrize("extra", [{}, {"timeout": 10}, {"retry": fl.Try(2, 0), "pace": "1000/s"}])
def test_open_keeps_one_session_over_several_calls(extra: dict[str, Any]) -> None:
    fetch = make(lambda item, *, session=fl.injected: (item, session), session=Door, **extra)
    with fetch.open() as call:
        assert (call("a"), call("b")) == (("a", call("c")[1]), ("b", call("d")[1]))
        assert (Door.opened, Door.closed) == (1, 0)
    assert (Door.opened, Door.closed) == (1, 1)


@pytest.mark.parametrize("extra", [{}, {"timeout": 10}])
def test_open_closes_when_the_block_raises(extra: dict[str, Any]) -> None:
    fetch = make(lambda item, *, session=fl.injected: item, session=Door, **extra)
    with pytest.raises(RuntimeError, match="mine"), fetch.open() as call:
        call("a")
        raise RuntimeError("mine")
    assert (Door.opened, Door.closed) == (1, 1)


def test_a_session_given_by_the_caller_is_the_one_that_is_used() -> None:
    def fetch(item: int, *, session: Any = fl.injected) -> Any:
        return session

    assert make(fetch, session=Door)(1, session="mine") == "mine"


# -- timeout


def test_a_call_that_takes_too_long_is_given_up() -> None:
    gate = threading.Event()
    try:
        began = time.monotonic()
        with pytest.raises(fl.AttemptTimeout):
            make(lambda item: gate.wait(20), timeout=0.05)(1)
        assert time.monotonic() - began < 5
    finally:
        gate.set()


def test_a_call_within_its_timeout_sees_the_deadline() -> None:
    def fetch(item: int) -> float | None:
        return fl.attempt().deadline

    now = time.monotonic()
    deadline = make(fetch, timeout=10)(1)
    assert deadline is not None and now + 9 < deadline < time.monotonic() + 10.1
    assert make(fetch)(1) is None


def test_the_deadline_of_a_second_attempt_is_its_own() -> None:
    left: list[float] = []

    async def fetch(item: int) -> None:
        deadline = fl.attempt().deadline
        assert deadline is not None
        left.append(deadline - time.monotonic())
        if len(left) == 1:
            await asyncio.sleep(0.1)
            raise ValueError

    asyncio.run(make(fetch, timeout=5, retry=fl.Try(2, 0))(1))
    assert left[1] > 4.95


def test_a_timeout_is_per_attempt() -> None:
    calls: list[int] = []
    gate = threading.Event()

    def fetch(item: int) -> str:
        calls.append(item)
        if len(calls) == 1:
            gate.wait(20)
        return "done"

    try:
        assert make(fetch, timeout=0.1, retry=fl.Try(2, 0))(1) == "done"
    finally:
        gate.set()


# -- async


@EVERY
def test_an_async_fetcher_returns_its_coroutine(policies: dict[str, Any]) -> None:
    policies = {**policies, **({"session": AsyncDoor} if "session" in policies else {})}
    value = object()

    async def fetch(item: int) -> Any:
        await asyncio.sleep(0)
        return value

    coroutine = make(fetch, **policies)(1)
    assert inspect.iscoroutine(coroutine)
    assert asyncio.run(coroutine) is value


def test_an_async_call_returns_a_lazy_frame_as_it_is() -> None:
    frame = pl.LazyFrame({"a": [1]})

    async def fetch(item: int) -> Any:
        return frame

    assert asyncio.run(make(fetch)(1)) is frame


def test_an_async_fetcher_is_known_as_one() -> None:
    async def fetch(item: int) -> None: ...

    assert make(fetch).is_async and not make(abs).is_async


@EVERY
def test_an_async_call_raises_the_original_error(policies: dict[str, Any]) -> None:
    policies = {**policies, **({"session": AsyncDoor} if "session" in policies else {})}
    calls: list[int] = []
    error = Refused(why="no")

    async def fetch(item: int) -> None:
        calls.append(item)
        raise error

    with pytest.raises(Refused) as caught:
        asyncio.run(make(fetch, **policies)(1))
    assert caught.value is error
    assert len(calls) == (3 if "retry" in policies else 1)
    assert traceback.extract_tb(error.__traceback__)[-1].name == "fetch"
    assert AsyncDoor.opened == AsyncDoor.closed


def test_an_async_call_times_out_and_others_on_the_loop_go_on() -> None:
    async def fetch(item: float) -> float:
        await asyncio.sleep(item)
        return item

    quick = make(fetch, timeout=0.1)

    async def main() -> Any:
        return await asyncio.gather(quick(0), quick(30), quick(0.001), return_exceptions=True)

    first, late, third = asyncio.run(main())
    assert (first, third) == (0, 0.001)
    assert isinstance(late, fl.AttemptTimeout)


def test_an_async_fetcher_opens_with_async_with() -> None:
    async def fetch(item: str, *, session: Any = fl.injected) -> Any:
        return item, session

    async def main() -> None:
        fetcher = make(fetch, session=AsyncDoor)
        async with fetcher.open() as call:
            results = await asyncio.gather(call("a"), call("b"))
            assert results[0][1] is results[1][1] and [r[0] for r in results] == ["a", "b"]
            assert (AsyncDoor.opened, AsyncDoor.closed) == (1, 0)
        assert (AsyncDoor.opened, AsyncDoor.closed) == (1, 1)

    asyncio.run(main())


def test_cancelling_an_async_call_closes_its_session() -> None:
    async def fetch(item: str, *, session: Any = fl.injected) -> None:
        begun.set()
        await asyncio.sleep(60)

    begun = asyncio.Event()

    async def main() -> None:
        task = asyncio.create_task(make(fetch, session=AsyncDoor)("a"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (AsyncDoor.opened, AsyncDoor.closed) == (1, 1)


# -- attempt()


def test_attempt_outside_of_everything_is_a_plain_first_one() -> None:
    attempt = fl.attempt()
    assert (attempt.key, attempt.number, attempt.memo, attempt.deadline) == ("", 1, None, None)
    attempt.logger.debug("it can be written to")


@pytest.mark.parametrize("open_timeout", [None, 5], ids=["here", "aside"])
def test_attempt_after_a_serial_run_with_a_session_is_none_of_that_run(open_timeout: float | None) -> None:
    @contextlib.contextmanager
    def login() -> Iterator[str]:
        yield "token"

    def fetch(item: str, *, session: Any = fl.injected) -> str:
        return fl.attempt().key

    spec = fl.SessionSpec(name="token", factory=login, open_timeout=open_timeout)
    batch = fl.run(make(fetch, session=spec), ["a"], executor="serial", progress=None)
    assert batch.values == ["a"]
    assert fl.attempt().key == ""


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def test_attempt_in_a_run_knows_key_number_and_deadline(executor: str) -> None:
    def fetch(item: str) -> Any:
        attempt = fl.attempt()
        if attempt.number == 1:
            raise ValueError
        left = None if attempt.deadline is None else attempt.deadline - time.monotonic()
        return attempt.key, attempt.number, left

    timeout = None if executor == "serial" else 10
    fetcher = make(fetch, retry=fl.Try(2, 0), timeout=timeout)
    batch = fl.run(fetcher, ["a", "b"], executor=executor, progress=None)
    assert [value[:2] for value in batch.values] == [("a", 2), ("b", 2)]
    for value in batch.values:
        assert value[2] is None if timeout is None else 8 < value[2] <= 10


def test_attempt_in_an_async_run_is_the_tasks_own() -> None:
    async def fetch(item: int) -> Any:
        before = fl.attempt().key
        await asyncio.sleep(0.001 * (item % 3))
        return before, fl.attempt().key

    batch = fl.run(fetch, range(30), concurrency=10, progress=None)
    assert batch.values == [(str(n), str(n)) for n in range(30)]


@EVERY
def test_a_direct_call_inside_a_run_does_not_see_the_outer_item(policies: dict[str, Any]) -> None:
    inner = make(lambda item: (fl.attempt().key, fl.attempt().number), **policies)

    def outer(item: str) -> Any:
        if fl.attempt().number == 1:
            raise ValueError
        before = fl.attempt().key
        seen = inner("x")
        return before, seen, fl.attempt().key

    [value] = fl.run(make(outer, retry=fl.Try(2, 0)), ["k"], progress=None).values
    assert value == ("k", ("", 1), "k")


@EVERY
def test_after_a_call_attempt_is_what_it_was(policies: dict[str, Any]) -> None:
    calls: list[int] = []

    def fetch(item: str) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError

    try:
        make(fetch, **policies)("a")
    except ValueError:
        assert "retry" not in policies
    assert (fl.attempt().key, fl.attempt().number) == ("", 1)


# -- the fetcher itself


def test_a_decorated_function_keeps_what_it_was() -> None:
    registry = fl.Registry()

    @fl.fetcher(registry=registry)
    def quote(symbol: str, depth: int = 3) -> str:
        """Say it."""
        return symbol * depth

    assert quote.__doc__ == "Say it." and quote.__wrapped__.__name__ == "quote" and quote.name == "quote"
    assert str(inspect.signature(quote)) == "(symbol: 'str', depth: 'int' = 3) -> 'str'"
    assert quote.__wrapped__("a") == "aaa" == quote("a")
    assert "quote" in repr(quote)


def test_bare_decorating_a_fetcher_or_a_method_is_refused() -> None:
    with pytest.raises(TypeError, match="is a fetcher already"):
        fl.fetcher(make(abs))
    registry = fl.Registry()

    class Client:
        @fl.fetcher(registry=registry)
        def get(self, item: str) -> str:
            return item

    with pytest.raises(TypeError, match="decorates a method"):
        Client().get("a")


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"retry": 0}, "retry"),
        ({"pace": "fast"}, "is not a rate"),
        ({"session": 3}, "session must be"),
        ({"schema": [1]}, "schema must map"),
        ({"idempotent": 1}, "idempotent must be"),
        ({"key": "symbol"}, "key must be"),
        ({"retries": 3}, "no policy 'retries'"),
    ],
)
def test_a_policy_that_is_none_is_refused_by_the_decorator(policies: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        fl.fetcher(registry=fl.Registry(), **policies)(lambda item: item)


def test_replace_gives_another_fetcher_and_leaves_the_first() -> None:
    first = make(abs, timeout=5)
    second = first.replace(timeout=7, retry=3)
    assert (first.policies.timeout, second.policies.timeout, second.policies.retry) == (5, 7, fl.Try(3))
    assert second.name == first.name
    with pytest.raises(TypeError, match="no policy 'retries'"):
        first.replace(retries=3)


def _ambient(said: contextvars.ContextVar[str]) -> Any:
    @contextlib.contextmanager
    def session() -> Iterator[None]:
        said.set("open")
        yield
        said.set("closed")

    return session


def test_what_a_session_sets_in_the_context_is_there_in_every_attempt_of_a_call_with_a_timeout() -> None:
    said: contextvars.ContextVar[str] = contextvars.ContextVar("said", default="nothing")
    seen = []

    def fetch(n: int) -> str:
        seen.append(said.get())
        if len(seen) < 3:
            raise OSError("not yet")
        return said.get()

    fetcher = fl.Fetcher.of(fetch, session=_ambient(said), timeout=5, retry=fl.Try(3, 0))
    assert fetcher(1) == "open" and seen == ["open"] * 3


def test_what_a_session_puts_back_when_it_closes_is_put_back_for_the_caller() -> None:
    said: contextvars.ContextVar[str] = contextvars.ContextVar("said", default="nothing")
    spec = fl.SessionSpec(name="ambient", factory=_ambient(said), open_timeout=5)
    assert fl.Fetcher.of(lambda n: said.get(), session=spec)(1) == "open"
    assert said.get() == "closed"
