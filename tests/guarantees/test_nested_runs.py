"""A fetch function that runs a batch itself works, or is refused by name; it never waits for itself."""

from __future__ import annotations

from typing import Any

import pytest

import fetchline as fl


def _inner(n: int) -> int:
    return 10 * n


@pytest.mark.parametrize("outer", ["serial", "thread", "process"])
@pytest.mark.parametrize("inner", ["serial", "thread", "process"])
def test_a_run_inside_a_run_has_workers_of_its_own(outer: str, inner: str) -> None:
    def nests(n: int) -> list[int]:
        return fl.run(_inner, range(n), executor=inner, progress=None).values

    batch = fl.run(nests, [1, 2, 3], executor=outer, progress=None)
    assert batch.values == [[0], [0, 10], [0, 10, 20]], batch.failures


def test_coroutines_nest_by_arun() -> None:
    async def leaf(n: int) -> int:
        return 10 * n

    async def nests(n: int) -> list[int]:
        return (await fl.arun(leaf, range(n), progress=None)).values

    assert fl.run(nests, [1, 2], progress=None).values == [[0], [0, 10]]


@pytest.mark.parametrize("name", ["thread", "asyncio"])
def test_a_run_on_the_warm_pool_that_carries_it_is_refused(name: str) -> None:
    with fl.get_executor(name, max_workers=1) as pool:

        async def leaf(n: int) -> int:
            return n

        async def nests_async(n: int) -> Any:
            return fl.run(leaf, [n], executor=pool, progress=None)

        def nests(n: int) -> Any:
            return fl.run(_inner, [n], executor=pool, progress=None)

        batch = fl.run(nests_async if name == "asyncio" else nests, [1], executor=pool, progress=None)
        assert batch.n_failed == 1
        assert "would wait for itself" in batch.failures[0].message
        assert fl.run(_inner, [1], executor="thread", progress=None).values == [10]


@pytest.mark.parametrize("name", ["thread", "process"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_warm_pool_that_carries_an_open_stream_carries_a_run_too(name: str, is_async: bool) -> None:
    async def leaf(n: int) -> int:
        return 10 * n

    function: Any = leaf if is_async else _inner
    with fl.get_executor(name, max_workers=2) as pool:
        out = []
        for outer in fl.stream(_inner, iter(range(50)), executor=pool, window=4):
            inner = fl.run(function, range(3), executor=pool, progress=None)
            out.append((outer.value, inner.values))
    assert out == [(10 * n, [0, 10, 20]) for n in range(50)]


@pytest.mark.parametrize("name", ["thread", "process"])
def test_two_streams_take_turns_on_one_warm_pool(name: str) -> None:
    with fl.get_executor(name, max_workers=1) as pool:
        one = fl.stream(_inner, iter(range(40)), executor=pool, window=2)
        two = fl.stream(_inner, iter(range(40)), executor=pool, window=2)
        pairs = [(a.value, b.value) for a, b in zip(one, two, strict=True)]
    assert pairs == [(10 * n, 10 * n) for n in range(40)]


def test_runs_of_coroutines_one_after_another_on_a_warm_process_pool_call_their_own_function() -> None:
    with fl.get_executor("process", max_workers=1) as pool:
        for factor in range(30):

            async def times(n: int, factor: int = factor) -> int:
                return factor * n

            batch = fl.run(times, range(8), executor=pool, concurrency=4, progress=None)
            assert batch.values == [factor * n for n in range(8)]
