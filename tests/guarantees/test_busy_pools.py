"""A stranger's pool that is busy with other work: what waits in it too long is a timeout, and is never called."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import fetchline as fl


class Busy:
    """A pool of two threads that are both held until they are let go."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(2)
        self.free = threading.Event()
        self.calls: list[int] = []
        for _ in range(2):
            self.pool.submit(self.free.wait, 30)

    def fetch(self, item: int) -> int:
        self.calls.append(item)
        return item

    def drain(self) -> None:
        """Let the threads go, and wait until they have come to everything that was waiting."""
        self.free.set()
        for future in [self.pool.submit(lambda: None) for _ in range(8)]:
            future.result(timeout=30)


@pytest.fixture
def busy() -> Iterator[Busy]:
    made = Busy()
    yield made
    made.free.set()
    made.pool.shutdown()


def test_timeout_is_one_item_that_never_began_and_is_not_called_afterwards(busy: Busy) -> None:
    fetcher = fl.Fetcher.of(busy.fetch, timeout=0.1)
    batch = fl.run(fetcher, range(2), executor=busy.pool, concurrency=2, progress=None)
    assert [result.error_code for result in batch.failures] == ["timeout", "timeout"]
    assert batch.summary.succeeded == 0
    busy.drain()
    assert busy.calls == []


def test_one_outcome_for_an_item_whose_earlier_attempt_still_waits_in_the_pool(busy: Busy) -> None:
    fetcher = fl.Fetcher.of(busy.fetch, timeout=0.2, retry=fl.Try(20, sleep=0))
    stream = fl.stream(fetcher, range(6), executor=busy.pool, concurrency=2)
    threading.Timer(0.5, busy.free.set).start()
    results = list(stream)
    assert [result.index for result in results] == list(range(6))
    assert all(result.is_success for result in results)


def test_deadline_ends_what_waits_in_the_pool_and_it_is_not_called_afterwards(busy: Busy) -> None:
    batch = fl.run(busy.fetch, range(2), executor=busy.pool, concurrency=2, deadline=0.1, progress=None)
    assert [result.error_code for result in batch.failures] == ["deadline", "deadline"]
    busy.drain()
    assert busy.calls == []
