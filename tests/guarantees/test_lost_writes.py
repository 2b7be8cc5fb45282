"""A write that was in flight when its run was stopped may have arrived: nobody is told that it was cancelled."""

from __future__ import annotations

import asyncio
import time

import pytest
from lanes import Lane, Log

import fetchline as fl


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_write_in_flight_at_a_stop_has_an_unknown_outcome(wide: Lane, log: Log, idempotent: bool) -> None:
    def write(item: str) -> str:
        log.note("sent", item)
        if item == "bad":
            log.wait_for("sent", "slow")
            raise ValueError("refused")
        time.sleep(0 if item == "quick" else 8)
        return item

    fetcher = wide.fetcher(write, idempotent=idempotent, undo=lambda item, value: log.note("undone", item))
    with pytest.raises(fl.BatchFailed, match="refused") as caught:
        wide.run(fetcher, ["slow", "bad"], on_error="raise")
    batch = caught.value.batch
    code = "cancelled" if idempotent else "unknown_outcome"
    assert {result.key: result.error_code for result in batch.failures} == {"slow": code, "bad": "error"}
    undone = batch.undo()
    # Told either way: what was in flight may be there.
    assert [failure.key for failure in undone.failures] == ["slow"]
    assert log.count("undone") == 0


def test_a_write_whose_session_was_still_opening_has_not_been_sent(wide: Lane, log: Log) -> None:
    class Slow:
        async def __aenter__(self) -> None:
            log.note("opening")
            await asyncio.sleep(8)

        async def __aexit__(self, *error: object) -> None: ...

        def __enter__(self) -> None:
            log.note("opening")
            time.sleep(4)

        def __exit__(self, *error: object) -> None: ...

    def write(item: int) -> None:
        log.note("sent")

    fetcher = wide.fetcher(write, idempotent=False, session=Slow)
    batch = wide.run(fetcher, range(20), deadline=2)
    assert log.count("opening") and not log.count("sent")
    assert batch.summary.codes == {"deadline": 20}


def test_a_write_that_had_not_started_is_cancelled(wide: Lane) -> None:
    def write(item: int) -> int:
        if item == 0:
            raise ValueError("refused")
        time.sleep(0.01)
        return item

    with pytest.raises(fl.BatchFailed) as caught:
        wide.run(wide.fetcher(write, idempotent=False), range(5000), on_error="raise")
    codes = caught.value.batch.summary.codes
    assert codes["cancelled"] > 3000 and codes["unknown_outcome"] <= wide.width
