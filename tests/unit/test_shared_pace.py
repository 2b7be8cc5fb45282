"""A named pace by itself: taken when it is due, by one of those who want it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import fetchline as fl
from fetchline.drive.named import NamedPace, state_folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FETCHLINE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_state_is_in_the_users_state_folder_unless_the_environment_says_otherwise(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state_folder() == folder
    monkeypatch.delenv("FETCHLINE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    assert state_folder() == Path("/elsewhere/fetchline")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_folder() == Path.home() / ".local/state/fetchline"


def test_a_start_is_taken_when_it_is_due_and_not_before() -> None:
    pace = NamedPace(fl.Pace("1/min", name="slow"))
    assert pace.take() == 0
    assert 55 < pace.take() <= 60
    assert 55 < NamedPace(fl.Pace("1/min", name="slow")).take() <= 60
    assert NamedPace(fl.Pace("1/min", name="other")).take() == 0


def test_a_longer_window_is_counted_over_all_who_share_it() -> None:
    paces = [NamedPace(fl.Pace("1000/s, 3/min", name="both")) for _ in range(3)]
    for pace in paces:
        while (wait := pace.take()) > 0:
            assert wait < 1
            time.sleep(wait)
    assert 50 < paces[0].take() <= 60


def test_a_name_with_other_rates_is_told_of_and_does_not_forget_the_starts_of_the_longer_window(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = NamedPace(fl.Pace("1/s, 1/day", name="mixed"))
    assert long.take() == 0
    NamedPace(fl.Pace("1/s, 1/day", name="mixed")).close()
    assert caplog.messages == []
    short = NamedPace(fl.Pace("1000/s", name="mixed"))
    assert "the pace 'mixed' is 1000/s here, and was 1/s, 1/day in the last hour" in caplog.text
    while (wait := short.take()) > 0:
        time.sleep(wait)
    assert long.take() > 80_000


def test_a_cooldown_is_everybodys() -> None:
    one, two = NamedPace(fl.Pace("100/s", name="cool")), NamedPace(fl.Pace("100/s", name="cool"))
    one.cool_down(30)
    assert 25 < two.take() <= 30


def test_a_clock_that_was_set_back_does_not_make_everybody_wait_for_it(folder: Path) -> None:
    pace = NamedPace(fl.Pace("10/s, 100/min", name="clock"))
    assert pace.take() == 0
    base = sqlite3.connect(folder / "pace-clock.sqlite", isolation_level=None)
    base.execute("update state set value = value + 3600 where name = 'next'")
    base.execute("update state set value = ? where name = 'cool_until'", (time.time() + 3600,))
    base.execute("update starts set at = at + 3600")
    base.close()
    assert pace.take() == 0


def test_many_may_open_the_same_new_name_at_once() -> None:
    def opens(number: int) -> float:
        return NamedPace(fl.Pace("1/min", name="crowd")).take()

    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(opens, range(16)))
    assert waits.count(0.0) == 1


def test_direct_calls_that_are_given_up_take_nothing_with_them() -> None:
    @fl.Try(1)
    async def fetch(item: int) -> int:
        return item

    paced = fetch.replace(pace=fl.Pace("1/min", name="direct"))

    async def main() -> None:
        assert await paced(0) == 0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(paced(n) for n in range(5))), 0.2)

    asyncio.run(main())
    assert NamedPace(fl.Pace("1/min", name="direct")).take() <= 60
