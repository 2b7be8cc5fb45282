"""The simulator: what it finds in the schedule (nothing), and in schedules with planted bugs (each one)."""

from __future__ import annotations

import pytest
from planted import BUGS

from fetchline.core.schedule import Schedule
from fetchline.testing.simulator import main, play, simulate


@pytest.mark.parametrize("start", range(0, 20_000, 2_500))
def test_every_promise_is_kept_in_every_simulated_run(start: int) -> None:
    for seed in range(start, start + 2_500):
        trace = simulate(seed)
        assert trace is None, str(trace)


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found_within_two_thousand_runs(name: str) -> None:
    for seed in range(2_000):
        if simulate(seed, BUGS[name]) is not None:
            return
    pytest.fail(f"no run out of 2,000 shows that {name}")


def test_a_broken_run_goes_the_same_way_again_from_its_seed_and_from_its_choices() -> None:
    bug = BUGS["WaitsTooShort"]
    trace = next(trace for seed in range(2_000) if (trace := simulate(seed, bug)))
    assert trace.seed is not None
    assert simulate(trace.seed, bug) == trace
    again = play(trace.choices, bug)
    assert again is not None
    assert (again.promise, again.what, again.events) == (trace.promise, trace.what, trace.events)


def test_a_trace_names_the_promise_the_seed_and_every_call() -> None:
    trace = next(trace for seed in range(2_000) if (trace := simulate(seed, BUGS["LeavesOutOfOrder"])))
    first, *events = str(trace).splitlines()
    assert first.startswith("input_order: item ")
    assert f"(seed {trace.seed})" in first
    assert events[0].startswith("  Limits(concurrency=")
    assert events[-1].startswith("  heads(")


def test_a_schedule_that_raises_is_a_broken_run() -> None:
    class Raises(Schedule):
        def timer(self, now: float) -> float:
            raise ZeroDivisionError("a bug")

    trace = next(trace for seed in range(100) if (trace := simulate(seed, Raises)))
    assert (trace.promise, trace.what) == ("raises", "raises: ZeroDivisionError('a bug')")


def test_a_run_decided_by_nothing_is_plain_and_ends() -> None:
    assert play(b"") is None


def test_the_command_counts_the_runs_of_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0.05"]) == 0
    assert "a minute; broken: 0" in capsys.readouterr().out


def test_the_command_plays_one_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "7"]) == 0
    assert capsys.readouterr().out == "seed 7: every promise was kept\n"
