"""What functions log in workers reaches this process's handlers, on every executor of ours."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from lanes import Lane

import fetchline as fl

_log = logging.getLogger("tests.worker")


def _logs(n: int) -> int:
    log = logging.getLogger("tests.worker")
    log.debug("not asked for")
    log.info("item %d", n, extra={"n": n})
    if n == 2:
        try:
            raise LookupError("no such item")
        except LookupError:
            log.exception("item %d failed", n)
    fl.attempt().logger.warning("careful")
    return n


@pytest.mark.parametrize("again", [1, 2])
def test_records_of_workers_reach_the_handlers_of_this_process(
    lane: Lane, caplog: pytest.LogCaptureFixture, again: int
) -> None:
    with caplog.at_level(logging.INFO, "tests.worker"):
        for _ in range(again):
            assert lane.run(_logs, [1, 2, 3]).values == [1, 2, 3]
    mine = [record for record in caplog.records if record.name == "tests.worker"]
    said = sorted(record.getMessage().splitlines()[0] for record in mine)
    assert said == sorted(["item 1", "item 2", "item 3", "item 2 failed"] * again)
    assert {record.__dict__["n"] for record in mine if "n" in record.__dict__} == {1, 2, 3}
    assert "LookupError: no such item" in caplog.text
    assert sum(record.name == "fetchline.attempt" for record in caplog.records) == 3 * again


def test_coroutines_in_processes_log_here_too(caplog: pytest.LogCaptureFixture) -> None:
    async def logs(n: int) -> int:
        return _logs(n)

    with caplog.at_level(logging.INFO, "tests.worker"):
        fl.run(logs, [1, 3], executor="process", workers=1, concurrency=2, progress=None)
    said = sorted(record.getMessage() for record in caplog.records if record.name == "tests.worker")
    assert said == ["item 1", "item 3"]


def test_levels_set_between_two_runs_on_a_warm_pool_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    with fl.get_executor("process", max_workers=1) as pool:
        fl.run(_logs, [1], executor=pool, progress=None)
        assert "item 1" not in caplog.text
        with caplog.at_level(logging.DEBUG, "tests.worker"):
            fl.run(_logs, [3], executor=pool, progress=None)
    assert "item 3" in caplog.text
    assert "not asked for" in caplog.text


def test_a_record_with_something_unpicklable_still_arrives(caplog: pytest.LogCaptureFixture) -> None:
    def logs(n: int) -> None:
        import threading

        logging.getLogger("tests.worker").warning("held %s", "fast", extra={"lock": threading.Lock()})

    fl.run(logs, [1], executor="process", progress=None)
    (record,) = [record for record in caplog.records if record.name == "tests.worker"]
    assert record.getMessage() == "held fast"


def test_a_plain_call_on_the_process_executor_logs_here_too(caplog: pytest.LogCaptureFixture) -> None:
    with fl.get_executor("process", max_workers=1) as pool:
        pool.submit(_warns).result()
    assert "from the worker" in caplog.text


def _warns() -> Any:
    logging.getLogger("tests.worker").warning("from the worker")


class _LoadsElsewhere:
    """Unpickles nowhere."""

    def __reduce__(self) -> Any:
        return _refuses, ()


def _refuses() -> Any:
    raise ImportError("only the worker has that module")


def test_a_record_that_does_not_load_here_costs_no_item(caplog: pytest.LogCaptureFixture) -> None:
    def logs(n: int) -> int:
        logging.getLogger("tests.worker").warning("odd", extra={"odd": _LoadsElsewhere()})
        return n

    assert fl.run(logs, [1, 2], executor="process", progress=None).values == [1, 2]
    assert caplog.text.count("a log record of a worker was lost") == 2
