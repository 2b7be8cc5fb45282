"""What somebody who reads the pages may expect, though no page shows it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"


def script(code: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    """Run a newcomer's script; one that hangs must not take the suite along."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "import fetchline as fl\n" + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": str(SRC)},
    )


def printed(code: str, timeout: float = 20) -> str:
    done = script(code, timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "first",
    ["fl.run_in_parallel(abs, [-1])", "fl.submit(abs, [-1]).result()", "fl.Fetcher.of(abs).plan([1])"],
)
def test_run_and_plan_are_functions_whatever_was_used_first(first: str) -> None:
    assert printed(f"{first}\nprint(callable(fl.run), callable(fl.plan))") == "True True"


def test_a_timeout_on_the_serial_executor_does_not_hang_the_run() -> None:
    code = """
        import time
        slow = fl.Fetcher.of(lambda n: time.sleep(n / 5), timeout=0.05)
        print(len(fl.run(slow, [0, 1, 0], executor="serial", progress=None)))
    """
    assert printed(code) == "3"


def test_a_timeout_of_a_coroutine_on_a_foreign_pool_is_its_own_items_and_nothing_else_breaks() -> None:
    code = """
        import asyncio
        from concurrent.futures import ThreadPoolExecutor
        async def nap(n):
            await asyncio.sleep(n)
        with ThreadPoolExecutor(2) as pool:
            batch = fl.run(fl.Fetcher.of(nap, timeout=0.2), [0, 1, 0, 0], executor=pool, progress=None)
        print([result.status for result in batch])
    """
    done = script(code)
    assert done.stdout.strip() == "['success', 'failure', 'success', 'success']"
    assert "Traceback" not in done.stderr, done.stderr


def test_async_attempts_share_the_loops_of_few_processes() -> None:
    code = """
        import asyncio, time
        async def nap(n):
            await asyncio.sleep(0.3)
        with fl.get_executor("process", max_workers=1) as pool:
            fl.run(nap, [0], executor=pool, progress=None)
            began = time.monotonic()
            fl.run(nap, range(20), executor=pool, concurrency=20, progress=None)
            print(time.monotonic() - began < 3)
    """
    assert printed(code) == "True"


def test_the_first_key_of_a_code_is_the_first_in_the_order_of_the_input() -> None:
    code = """
        import time
        def fail(n):
            time.sleep(0.2 if n == 0 else 0)
            raise ValueError(n)
        print(fl.run(fail, range(3), progress=None).summary.first_keys)
    """
    assert printed(code) == "{'error': '0'}"


def test_a_policy_given_to_run_is_refused_in_whole_sentences() -> None:
    code = """
        try:
            fl.run(abs, [1], timeout=5)
        except TypeError as error:
            print(error)
    """
    assert printed(code) == (
        "timeout is a fetcher's policy, not an option of a run: write fetcher.replace(timeout=...)"
    )


def test_a_near_miss_of_a_policy_is_not_taken_for_an_option() -> None:
    code = """
        try:
            fl.run(abs, [1], retry=5)
        except TypeError as error:
            print(error)
    """
    assert "did you mean" not in printed(code)


def test_unequal_items_with_equal_keys_are_refused_in_any_order() -> None:
    code = """
        for items in (["1", 1], [1, "1"], iter([1, "1"])):
            try:
                fl.run(abs, items, progress=None)
            except (ValueError, fl.InputFailed) as error:
                print("two different items" in str(error))
    """
    assert printed(code).split() == ["True", "True", "True"]
