"""What is wrong with the input is said clearly, before anything starts, or is one item's result."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

import fetchline as fl
from fetchline.catalog import Catalog


def echo(n: Any) -> Any:
    return n


def never(n: Any, **options: Any) -> Any:
    raise AssertionError("nothing was to start")


# -- unknown names -----------------------------------------------------------------------------------------


def test_an_unknown_fetcher_names_the_near_ones_and_what_to_do() -> None:
    registry = fl.Registry()
    for name in ("ohlcv", "ohlcv.weekly", "quote"):
        fl.fetcher(name, registry=registry)(lambda n: n)
    with pytest.raises(fl.UnknownName) as caught:
        fl.run("ohlvc", ["AAPL"], registry=registry)
    said = str(caught.value)
    assert "no fetcher is named 'ohlvc'" in said
    assert "did you mean 'ohlcv'" in said
    assert "Import the module that defines it" in said
    assert isinstance(caught.value, LookupError)


def test_an_unknown_fetcher_of_an_empty_registry_says_that_there_is_none() -> None:
    with pytest.raises(fl.UnknownName, match="no fetcher is registered yet"):
        fl.run("ohlcv", ["AAPL"], registry=fl.Registry())


def test_an_empty_registry_that_was_given_is_asked_instead_of_the_default_one() -> None:
    from fetchline.registry import default

    fl.fetcher("bad.in_default")(echo)
    try:
        with pytest.raises(fl.UnknownName):
            fl.run("bad.in_default", [1], registry=fl.Registry(), progress=None)
    finally:
        default.unregister("bad.in_default")


@pytest.mark.parametrize(
    ("executor", "said"),
    [
        ("tread", "did you mean 'thread'"),
        ("ray", "pip install fetchline-ray"),
        ("dask", "pip install fetchline-dask"),
        ("warp.nine", "fetchline-warp"),
    ],
)
def test_an_unknown_executor_names_the_near_ones_and_what_to_install(executor: str, said: str) -> None:
    for call in (fl.run, fl.stream, fl.submit, fl.plan):
        with pytest.raises(fl.UnknownName) as caught:
            call(never, [1], executor=executor)
        assert said in str(caught.value)
    with pytest.raises(fl.UnknownName, match="no executor is named"):
        fl.get_executor(executor)


def test_an_unknown_session_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Catalog(entry_points=list)  # as on a machine where no plugin is installed
    monkeypatch.setattr("fetchline.deciding.catalog", lambda: bare)
    with pytest.raises(fl.UnknownName, match=r"no session is named 'wats'.*pip install fetchline-wats"):
        fl.run(fl.Fetcher.of(never, session="wats"), [1])


def test_an_unknown_progress_display_names_the_near_ones() -> None:
    with pytest.raises(fl.UnknownName, match="no progress is named 'tqmd'; did you mean 'tqdm'"):
        fl.run(never, [1], progress="tqmd")


def test_an_unknown_plugin_is_refused_before_anything_starts() -> None:
    with pytest.raises(fl.UnknownName, match="no plugin is named 'otle'"):
        fl.run(never, [1], plugins=["otle"], progress=None)


def test_an_unknown_option_names_the_near_one() -> None:
    with pytest.raises(TypeError, match="no option 'wokers'; did you mean 'workers'"):
        fl.run(never, [1], wokers=3)
    with pytest.raises(TypeError, match=r"a fetcher's policy.*fetcher\.replace"):
        fl.run(never, [1], timeout=3)
    with pytest.raises(TypeError, match="no policy 'retries'; did you mean 'retry'"):
        fl.fetcher(retries=3)
    with pytest.raises(TypeError, match="no policy 'retries'"):
        fl.Fetcher.of(echo).replace(retries=3)


@pytest.mark.parametrize("option", [{"reuse": "all"}, {"on_change": "keep"}])
def test_an_option_of_a_store_without_a_store_is_refused(option: dict[str, Any]) -> None:
    for call in (fl.run, fl.plan, fl.stream):
        with pytest.raises(ValueError, match=r"is in a store: give store= too"):
            call(abs, [1], **option)  # type: ignore[operator]


# -- wrong types and counts --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["workers", "max_workers", "concurrency", "window"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (True, TypeError),
        (False, TypeError),
        (2.5, TypeError),
        ("3", TypeError),
    ],
)
def test_a_count_is_a_whole_number_of_at_least_one(name: str, value: Any, error: type[Exception]) -> None:
    for call in (fl.run, fl.stream, fl.submit):
        with pytest.raises(error, match=name):
            call(never, [1], **{name: value})
    with pytest.raises(error, match=name):
        fl.BatchConfig(**{name: value})


@pytest.mark.parametrize("amount", ["", "MB", "10", "0MB", "-1MB", "3 bananas", "1e3MB"])
def test_a_window_of_memory_is_a_number_and_a_unit(amount: str) -> None:
    with pytest.raises((TypeError, ValueError), match=r"window must be .* or an amount of memory"):
        fl.stream(never, [1], window=amount)


@pytest.mark.parametrize("name", ["thread", "process", "asyncio"])
@pytest.mark.parametrize("value", [0, -1, True, 2.5, "3"])
def test_a_pool_has_at_least_one_worker(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_workers"):
        fl.get_executor(name, max_workers=value)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"on_error": "ignore"}, ValueError, 'on_error must be "collect" or "raise"'),
        ({"deadline": 0}, ValueError, "deadline"),
        ({"deadline": -1}, ValueError, "deadline"),
        ({"deadline": "soon"}, TypeError, "deadline"),
        ({"deadline": True}, TypeError, "deadline"),
        ({"deadline": float("nan")}, ValueError, "deadline"),
        ({"params": [1]}, TypeError, "params must map"),
        ({"key": "symbol"}, TypeError, "key must be a function"),
        ({"on_progress": 3}, TypeError, "on_progress must be a function"),
        ({"plugins": "otel"}, TypeError, "plugins must be a list"),
        ({"executor": 3}, TypeError, "executor must be a name"),
        ({"progress": 3}, TypeError, "progress must be"),
        ({"config": {"workers": 3}}, TypeError, "config must be a BatchConfig"),
        ({"registry": {"a": 1}}, TypeError, "registry"),
        ({"workers": 2, "max_workers": 2}, ValueError, "workers and max_workers are the same"),
        ({"workers": 2, "concurrency": 9}, ValueError, "concurrency=9"),
        ({"executor": "serial", "workers": 2}, ValueError, "serial"),
        ({"executor": "process", "workers": 1, "concurrency": 2}, ValueError, "concurrency=2"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_wrong_option_is_refused_by_name_before_anything_starts(
    options: Any, error: type[Exception], said: str
) -> None:
    for call in (fl.run, fl.stream, fl.submit):
        with pytest.raises(error, match=said):
            call(never, [1], **{"progress": None, **options})


@pytest.mark.parametrize(
    ("policies", "error", "said"),
    [
        ({"retry": 0}, ValueError, "retry must be at least 1"),
        ({"retry": -2}, ValueError, "retry"),
        ({"retry": True}, TypeError, "retry"),
        ({"retry": "3"}, TypeError, "retry"),
        ({"retry": 2.0}, TypeError, "retry"),
        ({"timeout": 0}, ValueError, "timeout"),
        ({"timeout": -5}, ValueError, "timeout"),
        ({"timeout": True}, TypeError, "timeout"),
        ({"timeout": "5"}, TypeError, "timeout"),
        ({"timeout": timedelta(0)}, ValueError, "timeout"),
        ({"pace": "fast"}, ValueError, "'fast' is not a rate"),
        ({"pace": "0/s"}, ValueError, "not a rate"),
        ({"pace": "-1/s"}, ValueError, "not a rate"),
        ({"pace": 20}, TypeError, "pace must be"),
        ({"session": 3}, TypeError, "session must be"),
        ({"schema": ["a"]}, TypeError, "schema must map"),
        ({"idempotent": 1}, TypeError, "idempotent must be True or False"),
        ({"key": "symbol"}, TypeError, "key must be a function"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_wrong_policy_is_refused_where_it_is_declared(
    policies: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        fl.fetcher("bad.policy", registry=fl.Registry(), **policies)(echo)
    with pytest.raises(error, match=said):
        fl.Fetcher.of(echo).replace(**policies)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"retry": 0}, ValueError),
        ({"retry": False}, TypeError),
        ({"sleep": -1}, ValueError),
        ({"sleep": "1"}, TypeError),
        ({"sleep": float("inf")}, ValueError),
        ({"backoff": 0.5}, ValueError),
        ({"jitter": 2}, ValueError),
        ({"max_sleep": -1}, ValueError),
        ({"on": "ConnectionError"}, TypeError),
        ({"on": (ConnectionError, "x")}, TypeError),
        ({"on": 3}, TypeError),
    ],
    ids=str,
)
def test_a_wrong_try_is_refused(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        fl.Try(**arguments)


def test_an_open_session_is_refused_because_it_cannot_travel() -> None:
    class Open:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    with pytest.raises(TypeError, match="an open session cannot go to other threads and processes"):
        fl.fetcher("bad.session", registry=fl.Registry(), session=Open())(echo)


@pytest.mark.parametrize("name", ["", "two words", ".a", "a.", "1a", "a/b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a fetcher"):
        fl.fetcher(name, registry=fl.Registry())(echo)


@pytest.mark.parametrize("what", [None, 3, ["ohlcv"]])
def test_what_is_no_fetcher_is_refused(what: Any) -> None:
    for call in (fl.run, fl.stream, fl.submit, fl.plan):
        with pytest.raises(TypeError, match="a fetcher, its name or a function is wanted"):
            call(what, [1])


def test_a_fetcher_of_a_fetcher_is_refused_and_told_of_replace() -> None:
    made = fl.Fetcher.of(echo)
    with pytest.raises(TypeError, match=r"is a fetcher already; change its policies with \.replace"):
        fl.fetcher("again", registry=fl.Registry())(made)


# -- names that are taken ----------------------------------------------------------------------------------


def test_a_name_belongs_to_one_function_and_both_are_named() -> None:
    registry = fl.Registry()
    fl.fetcher("price", registry=registry)(echo)
    with pytest.raises(fl.DuplicateName) as caught:
        fl.fetcher("price", registry=registry)(never)
    said = str(caught.value)
    assert f"{__name__}.echo" in said
    assert f"{__name__}.never" in said
    assert "another name" in said
    assert registry["price"].function is echo


def test_the_same_function_registers_again_silently() -> None:
    registry = fl.Registry()
    for answer in (1, 2):
        namespace: dict[str, Any] = {"fl": fl, "registry": registry, "__name__": "a_notebook"}
        exec(f"@fl.fetcher(registry=registry)\ndef price(n):\n    return {answer}", namespace)
    assert registry["price"](0) == 2


# -- items -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("AAPL", r"items is a str, not a collection of items: write \['AAPL'\]"),
        (b"AAPL", "items is a bytes"),
        ({"AAPL": 1}, r"items is a dict, .* list\(items\) for its keys"),
        (7, r"items is an int, .* write \[items\]"),
        (None, "items is None, not a collection of items; what gave it may have returned nothing"),
        (pl.DataFrame({"symbol": ["A"]}), r'items\["column"\]'),
    ],
    ids=["str", "bytes", "dict", "int", "None", "DataFrame"],
)
def test_items_that_are_no_collection_are_refused_with_what_to_write(items: Any, said: str) -> None:
    for call in (fl.run, fl.stream, fl.submit, fl.plan):
        with pytest.raises(TypeError, match=said):
            call(never, items)
    for acall in (fl.arun, fl.astream):
        with pytest.raises(TypeError, match=said):
            _await(acall(never, items))


def _await(awaited: Any) -> Any:
    async def main() -> Any:
        if inspect.isawaitable(awaited):
            return await awaited
        return [result async for result in awaited]

    return asyncio.run(main())


def test_a_series_of_a_frame_is_a_collection() -> None:
    batch = fl.run(echo, pl.DataFrame({"symbol": ["A", "B"]})["symbol"], progress=None)
    assert [result.key for result in batch] == ["A", "B"]


def test_an_async_generator_is_refused_where_there_is_no_loop_for_it() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1

    for call in (fl.run, fl.stream, fl.submit):
        with pytest.raises(TypeError, match="use arun or astream"):
            call(never, items())


@pytest.mark.parametrize("executor", ["serial", "thread", "process", "asyncio"])
@pytest.mark.parametrize(
    "items", [[], (), range(0), iter(()), {}.keys()], ids=["list", "tuple", "range", "iterator", "keys"]
)
def test_an_empty_batch_is_empty_and_complete(executor: str, items: Any) -> None:
    async def echo_async(n: int) -> int:
        return n

    function = echo_async if executor == "asyncio" else echo
    batch = fl.run(function, items, executor=executor, progress=None)
    assert (len(batch), batch.complete, batch.failures, batch.values) == (0, True, [], [])
    assert batch.frame().height == 0
    assert batch.report().height == 0
    assert "0 of 0" in repr(batch)
    batch.raise_for_failures()


def test_an_empty_batch_has_the_declared_schema() -> None:
    fetcher = fl.Fetcher.of(echo, schema={"price": pl.Float64})
    assert fl.run(fetcher, [], progress=None).frame().schema == {"key": pl.String, "price": pl.Float64}


# -- signatures --------------------------------------------------------------------------------------------


def two(symbol: str, period: str, *, adjust: bool = False) -> None:
    raise AssertionError("nothing was to start")


def none_at_all() -> None:
    raise AssertionError("nothing was to start")


@pytest.mark.parametrize(
    ("function", "items", "params", "said"),
    [
        (two, ["AAPL"], {}, "missing a required argument: 'period'"),
        (two, ["AAPL"], {"perid": "Q1"}, "params names 'perid'"),
        (two, [fl.Args("AAPL", perid="Q1")], {}, "cannot take Args"),
        (two, [("AAPL", "Q1")], {}, r"fetchline\.Args\(\.\.\.\) stands for several"),
        (two, [fl.Args("A", "Q1", "raw")], {}, "too many positional arguments"),
        (two, fl.grid(symbol=["A"], year=[1]), {}, "year"),
        (none_at_all, [1], {}, "too many positional arguments"),
    ],
)
def test_a_signature_that_cannot_take_the_item_is_refused_before_anything_starts(
    function: Any, items: Any, params: Any, said: str
) -> None:
    for call in (fl.run, fl.stream, fl.submit):
        with pytest.raises(TypeError, match=said) as caught:
            call(function, items, params=params, progress=None)
        assert f"Its signature is {function.__name__}(" in str(caught.value)


def test_an_item_none_is_an_item_like_any_other_and_is_named_when_it_does_not_fit() -> None:
    for call in (fl.run, fl.stream, fl.submit):
        with pytest.raises(TypeError, match="cannot take None: too many positional arguments"):
            call(none_at_all, [None], key=repr, progress=None)
        with pytest.raises(TypeError, match="cannot take None: missing a required argument: 'period'"):
            call(two, [None, "AAPL"], key=repr, progress=None)


def test_params_that_the_function_does_not_take_are_refused_even_for_a_generator() -> None:
    with pytest.raises(TypeError, match="params names 'perid', which it does not take"):
        fl.run(two, iter(["AAPL"]), params={"perid": "Q1"}, progress=None)


def test_params_may_not_name_the_session() -> None:
    def uses(n: int, *, session: Any = fl.injected) -> None: ...

    with pytest.raises(TypeError, match="'session', where 'uses' gets its session"):
        fl.run(fl.Fetcher.of(uses, session=_Plain), [1], params={"session": 3}, progress=None)


class _Plain:
    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_session_parameter_without_a_session_is_refused() -> None:
    def uses(n: int, *, session: Any = fl.injected) -> None: ...

    with pytest.raises(TypeError, match="wants a session in 'session', but declares none"):
        fl.run(uses, [1], progress=None)


def test_one_item_of_a_generator_that_does_not_fit_is_its_own_failure() -> None:
    def pair(a: int, b: int) -> int:
        return a + b

    batch = fl.run(pair, iter([fl.Args(1, 2), 3, fl.Args(4, 5)]), progress=None)
    assert [result.is_success for result in batch] == [True, False, True]
    assert isinstance(batch[1].error, TypeError)


def test_a_method_is_refused_as_a_fetcher_when_it_is_called() -> None:
    class Client:
        @fl.fetcher("bad.method", registry=fl.Registry())
        def get(self, n: int) -> int:
            return n

    with pytest.raises(TypeError, match="decorates a method"):
        Client().get(1)


# -- sessions ----------------------------------------------------------------------------------------------


def _raises() -> Any:
    raise PermissionError("wrong password")


class _RaisesOnEntering:
    def __enter__(self) -> None:
        raise PermissionError("wrong password")

    def __exit__(self, *_: object) -> None:
        raise AssertionError("it was never entered")


@pytest.mark.parametrize("session", [_raises, _RaisesOnEntering])
@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def test_a_session_that_cannot_be_opened_is_each_items_failure(session: Any, executor: str) -> None:
    batch = fl.run(fl.Fetcher.of(never, session=session), range(4), executor=executor, progress=None)
    assert dict(batch.summary.codes) == {"session": 4}
    assert "PermissionError: wrong password" in batch[0].message
    with pytest.raises(fl.BatchFailed, match="none of 4 items succeeded"):
        batch.frame()


def test_a_session_that_is_no_context_manager_says_what_it_is() -> None:
    batch = fl.run(fl.Fetcher.of(never, session=lambda: 3), [1], progress=None)
    assert batch[0].error_code == "session"
    assert "is no context manager but int" in batch[0].message


def test_a_session_that_cannot_be_opened_raises_from_a_direct_call() -> None:
    with pytest.raises(fl.SessionFailed, match="wrong password") as caught:
        fl.Fetcher.of(never, session=_raises)(1)
    assert isinstance(caught.value.__cause__, PermissionError)


def test_a_session_that_fails_to_close_is_logged_and_costs_no_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Sticky:
        def __enter__(self) -> int:
            return 1

        def __exit__(self, *_: object) -> None:
            raise OSError("still busy")

    batch = fl.run(fl.Fetcher.of(echo, session=Sticky), [1, 2], workers=1, progress=None)
    assert batch.values == [1, 2]
    assert any("did not close cleanly" in record.getMessage() for record in caplog.records)


# -- generators that raise ---------------------------------------------------------------------------------


class AtStart:
    def __iter__(self) -> Iterator[int]:
        raise OSError("no file")


def midway() -> Iterator[int]:
    yield from range(5)
    raise OSError("cut off")


def at_end() -> Iterator[int]:
    try:
        yield from range(5)
    finally:
        raise OSError("no goodbye")


class NotFromNext:
    def __iter__(self) -> NotFromNext:
        return self

    def __next__(self) -> int:
        raise OSError("no file")


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
@pytest.mark.parametrize(
    ("items", "taken"),
    [(AtStart, 0), (NotFromNext, 0), (midway, 5), (at_end, 5)],
    ids=["start", "first", "midway", "end"],
)
def test_an_input_that_raises_is_input_failed_with_what_was_done(
    items: Any, taken: int, executor: str
) -> None:
    for call in (fl.run, lambda *args, **options: fl.submit(*args, **options).result(timeout=20)):
        with pytest.raises(fl.InputFailed, match=f"after {taken} of them") as caught:
            call(echo, items(), executor=executor, progress=None)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.batch.values == list(range(taken))
        assert not caught.value.batch.complete
    got: list[int] = []
    with pytest.raises(fl.InputFailed):
        got.extend(result.value for result in fl.stream(echo, items(), executor=executor))
    assert got == list(range(taken))


def test_an_async_input_that_raises_is_input_failed_too() -> None:
    async def broken() -> AsyncIterator[int]:
        for n in range(5):
            yield n
        raise OSError("cut off")

    async def echo_async(n: int) -> int:
        return n

    with pytest.raises(fl.InputFailed, match="cut off") as caught:
        asyncio.run(fl.arun(echo_async, broken(), progress=None))
    assert caught.value.batch.values == list(range(5))


# -- keys --------------------------------------------------------------------------------------------------


def test_items_without_a_key_of_their_own_ask_for_one_before_anything_starts() -> None:
    for items in ([[1, 2]], [{"a": 1}], [object()], [1, {2}], [True]):
        with pytest.raises(TypeError, match="has no key of its own: pass key="):
            fl.run(never, items, progress=None)


def test_items_without_a_key_in_a_generator_are_input_failed() -> None:
    with pytest.raises(fl.InputFailed, match="pass key=") as caught:
        fl.run(echo, iter([1, [2], 3]), progress=None)
    assert caught.value.batch.values == [1]


def test_unhashable_items_are_welcome_with_a_key() -> None:
    items: list[Any] = [{"symbol": "A"}, {"symbol": "B"}, [1]]
    batch = fl.run(echo, items, key=lambda item: str(item), progress=None)
    assert batch.values == items
    arrays = [pl.Series([1, 2]), pl.Series([3])]
    batch = fl.run(lambda series: series.sum(), arrays, key=lambda series: f"s{len(series)}", progress=None)
    assert batch.values == [3, 3]


@pytest.mark.parametrize("call", [fl.run, fl.submit, fl.stream], ids=["run", "submit", "stream"])
def test_equal_keys_of_unequal_items_are_refused_by_name(call: Any) -> None:
    with pytest.raises(ValueError, match="two different items have the key '1': 1 and '1'"):
        call(never, [1, "1"], progress=None)
    with pytest.raises(ValueError, match="the key 'a'"):
        call(never, ["apple", "axe"], key=lambda item: item[0], progress=None)


def test_equal_keys_of_unequal_items_in_a_generator_are_input_failed() -> None:
    with pytest.raises(fl.InputFailed, match="two different items have the key 'a'") as caught:
        fl.run(echo, iter(["apple", "axe"]), key=lambda item: item[0], progress=None)
    assert caught.value.batch.values == ["apple"]


def test_equal_items_are_as_many_results() -> None:
    assert fl.run(echo, ["a", "a", "b"], progress=None).values == ["a", "a", "b"]


def test_a_key_that_is_no_text_or_raises_is_refused_before_anything_starts() -> None:
    with pytest.raises(TypeError, match="key= must give a str; for 1 it gave 1"):
        fl.run(never, [1, 2], key=lambda n: n, progress=None)
    with pytest.raises(KeyError):
        fl.run(never, [1, 2], key=lambda n: {}[n], progress=None)


# -- a plan says it all without doing it -------------------------------------------------------------------


def test_a_plan_lists_what_does_not_fit_instead_of_raising() -> None:
    plan = fl.plan(two, [fl.Args("A", "Q1"), "B", [1]])
    assert plan.keys == ["A/Q1"]
    assert [item for item, _ in plan.refused] == ["B", [1]]
    assert "missing a required argument" in plan.refused[0][1]


# -- names of the package ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        "fl.stream(abs, [1])",
        "fl.fetcher",
        "fl.plan(abs, [1])",
        "fl.submit(abs, [1]).result()",
        "fl.Fetcher.of(abs).run([1], progress=None)",
    ],
)
def test_names_are_what_they_say_whatever_was_used_first(first: str) -> None:
    """A submodule of the same name must not take a function's place."""
    code = (
        f"import fetchline as fl; {first}\n"
        "for name in fl.__all__:\n"
        "    assert type(getattr(fl, name)).__name__ != 'module', name\n"
        "assert fl.run(abs, [-1], progress=None).values == [1]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_nothing_is_left_running_by_what_was_refused() -> None:
    before = {thread.name for thread in threading.enumerate()}
    for bad in ({"workers": 0}, {"executor": "tread"}, {"progress": 3}, {"plugins": ["otle"]}):
        with pytest.raises((TypeError, ValueError, LookupError)):
            fl.submit(never, [1], **bad)
    assert {thread.name for thread in threading.enumerate()} <= before
