"""Try: how often, after which pause, on what; tenacity's objects; Try(...)(f) and .with_session."""

from __future__ import annotations

import copy
import pickle
import time
from datetime import timedelta
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

import fetchline as fl
from fetchline.retry import ONCE, Try, TryWithSession
from fetchline.verdict import Judge


class Flaky:
    """Fails so many times, then gives its argument back; counts its calls."""

    def __init__(self, failures: int, error: type[Exception] = ValueError) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self, item: Any) -> Any:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"call {self.calls}")
        return item


# -- what is accepted


@pytest.mark.parametrize("retry", [0, -1, -100])
def test_zero_and_negative_counts_are_refused(retry: int) -> None:
    with pytest.raises(ValueError, match="retry must be at least 1"):
        Try(retry=retry)


@pytest.mark.parametrize("retry", [True, False, 2.0, "3", None, []])
def test_a_count_that_is_no_whole_number_is_refused(retry: Any) -> None:
    with pytest.raises(TypeError, match="retry must be a whole number"):
        Try(retry=retry)


@pytest.mark.parametrize("name", ["sleep", "max_sleep"])
@pytest.mark.parametrize("value", [-1, -0.001, float("inf"), float("nan")])
def test_waits_must_be_finite_and_not_negative(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Try(**{name: value})


@pytest.mark.parametrize("name", ["sleep", "max_sleep", "backoff", "jitter"])
@pytest.mark.parametrize("value", [True, "1", None])
def test_waits_must_be_numbers(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        Try(**{name: value})


def test_a_shrinking_backoff_and_more_jitter_than_all_are_refused() -> None:
    with pytest.raises(ValueError, match="backoff must be at least 1"):
        Try(backoff=0.5)
    with pytest.raises(ValueError, match="jitter must be between 0 and 1"):
        Try(jitter=1.5)


@pytest.mark.parametrize("on", [3, "ValueError", (ValueError, 3), int, None])
def test_on_takes_exception_types_or_a_function(on: Any) -> None:
    with pytest.raises(TypeError, match="on= takes exception types"):
        Try(on=on)


def test_a_timedelta_is_seconds() -> None:
    policy = Try(sleep=timedelta(minutes=1), max_sleep=timedelta(hours=1))
    assert (policy.sleep, policy.max_sleep) == (60.0, 3600.0)


def test_a_policy_is_a_frozen_value() -> None:
    policy = Try(retry=4, on=[ValueError, KeyError])
    with pytest.raises(AttributeError):
        policy.retry = 5  # type: ignore[misc]
    assert policy == Try(retry=4, on=(ValueError, KeyError)) == copy.deepcopy(policy)
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_a_number_is_short_for_a_policy_and_none_for_one_call() -> None:
    assert Try.of(3) == Try(retry=3)
    assert Try.of(None).limit == 1
    policy = Try(retry=2)
    assert Try.of(policy) is policy
    with pytest.raises(TypeError, match="whole number"):
        Try.of(True)


# -- how long


def test_waits_grow_by_the_backoff_up_to_max_sleep() -> None:
    policy = Try(retry=9, sleep=1, backoff=3, jitter=0, max_sleep=20)
    assert [policy.delay(n) for n in range(1, 6)] == [1, 3, 9, 20, 20]


@given(
    sleep=st.floats(0, 1e6),
    backoff=st.floats(1, 1e3),
    jitter=st.floats(0, 1),
    max_sleep=st.floats(0, 1e6),
    failed=st.integers(1, 100_000),
)
def test_every_wait_is_between_its_unjittered_part_and_max_sleep(
    sleep: float, backoff: float, jitter: float, max_sleep: float, failed: int
) -> None:
    policy = Try(retry=2, sleep=sleep, backoff=backoff, jitter=jitter, max_sleep=max_sleep)
    plain = Try(retry=2, sleep=sleep, backoff=backoff, jitter=0, max_sleep=max_sleep).delay(failed)
    wait = policy.delay(failed)
    assert 0 <= wait <= plain <= max_sleep
    assert wait >= plain * (1 - jitter) * (1 - 1e-9)


def test_a_steep_backoff_ends_at_max_sleep_and_not_in_an_overflow() -> None:
    assert Try(retry=500, sleep=1, backoff=1e6, jitter=0, max_sleep=30).delay(400) == 30


def test_jitter_spreads_the_waits() -> None:
    policy = Try(sleep=1, jitter=0.5)
    assert len({policy.delay(1) for _ in range(20)}) > 10


# -- on what


@pytest.mark.parametrize(
    ("on", "error", "expected"),
    [
        (ValueError, ValueError(), 1.0),
        (ValueError, KeyError(), None),
        ((ValueError, OSError), ConnectionError(), 1.0),
        (lambda error: True, KeyError(), 1.0),
        (lambda error: False, KeyError(), None),
        (lambda error: None, KeyError(), None),
        (lambda error: 7, KeyError(), 7.0),
        (lambda error: 0, KeyError(), 0.0),
        (lambda error: timedelta(seconds=9), KeyError(), 9.0),
    ],
)
def test_on_decides_whether_and_when(on: Any, error: Exception, expected: float | None) -> None:
    assert Try(sleep=1, jitter=0, on=on).judge(error, 1, 0.0) == expected


def test_an_answer_of_on_that_is_no_time_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="answer of on="):
        Try(on=lambda error: "soon").judge(ValueError(), 1, 0.0)


def test_an_on_that_raises_ends_the_item_with_its_own_error_and_a_note() -> None:
    def broken(error: BaseException) -> bool:
        raise ZeroDivisionError

    flaky = Flaky(9)
    [failure] = fl.run(Try(retry=5, sleep=0, on=broken)(flaky), ["a"], progress=None)
    assert isinstance(failure, fl.Failure) and isinstance(failure.error, ValueError)
    assert any("ZeroDivisionError" in note for note in failure.error.__notes__)
    assert flaky.calls == 1


# -- tenacity


def test_a_tenacity_stop_ends_by_itself() -> None:
    flaky = Flaky(99)
    policy = Try(retry=tenacity.stop_after_attempt(4), sleep=0)
    [failure] = fl.run(policy(flaky), ["a"], progress=None)
    assert flaky.calls == failure.attempts == 4
    flaky = Flaky(99)
    with pytest.raises(ValueError, match="call 4"):
        policy(flaky)("a")


def test_tenacity_stops_are_combined_as_in_tenacity() -> None:
    stop = tenacity.stop_after_attempt(2) | tenacity.stop_after_delay(1000)
    flaky = Flaky(99)
    fl.run(Try(retry=stop, sleep=0)(flaky), ["a"], progress=None)
    assert flaky.calls == 2


def test_a_tenacity_stop_by_time_counts_from_the_first_attempt() -> None:
    bound = 200
    for how in (lambda f: fl.run(f, ["a"], progress=None), lambda f: _error_of(f, "a")):
        flaky = Flaky(bound)
        how(Try(retry=tenacity.stop_after_delay(0.03), sleep=0.005, jitter=0, backoff=1)(flaky))
        assert 2 <= flaky.calls < bound


def test_a_tenacity_stop_before_delay_takes_the_next_wait_into_account() -> None:
    policy = Try(retry=tenacity.stop_before_delay(10), sleep=6, jitter=0)
    assert policy.judge(ValueError(), 1, 1.0) == 6
    assert policy.judge(ValueError(), 1, 5.0) is None


def _error_of(function: Any, *args: Any) -> Exception:
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_tenacity_wait_decides_how_long() -> None:
    policy = Try(retry=9, sleep=tenacity.wait_exponential(multiplier=2, max=10))
    assert [policy.judge(ValueError(), n, 0.0) for n in (1, 2, 3, 4)] == [2, 4, 8, 10]
    added = Try(retry=9, sleep=tenacity.wait_fixed(1) + tenacity.wait_fixed(2))
    assert added.judge(ValueError(), 1, 0.0) == 3


def test_a_tenacity_retry_decides_on_what() -> None:
    policy = Try(sleep=0, on=tenacity.retry_if_exception_type(OSError))
    assert policy.judge(ConnectionError(), 1, 0.0) == 0
    assert policy.judge(ValueError(), 1, 0.0) is None
    by_message = Try(sleep=0, on=tenacity.retry_if_exception_message(match="busy"))
    assert by_message.judge(ValueError("busy now"), 1, 0.0) == 0
    assert by_message.judge(ValueError("gone"), 1, 0.0) is None
    either = tenacity.retry_if_exception_type(OSError) | tenacity.retry_if_exception_type(KeyError)
    assert Try(sleep=0, on=either).judge(KeyError(), 1, 0.0) == 0


@pytest.mark.parametrize(
    "on", [tenacity.retry_always, tenacity.retry_if_not_exception_type(ValueError), BaseException]
)
def test_an_interrupt_is_never_worth_another_attempt(on: Any) -> None:
    calls: list[int] = []

    def interrupted(item: str) -> None:
        calls.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Try(retry=3, sleep=0, on=on)(interrupted)("a")
    assert len(calls) == 1
    judge = Judge(Try(retry=3, sleep=0, on=on))
    assert judge(KeyboardInterrupt(), failed=1, attempt=1, elapsed=0.0).kind == "permanent"


def test_tenacity_predicates_that_say_yes_to_interrupts_are_not_asked() -> None:
    assert Try(sleep=0, on=tenacity.retry_always).judge(KeyboardInterrupt(), 1, 0.0) is None


class Every(tenacity.wait.wait_base):
    """A wait of one's own, as tenacity's documentation shows."""

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        return 0.25 * retry_state.attempt_number


class Twice(tenacity.stop.stop_base):
    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return retry_state.attempt_number >= 2


def test_subclasses_of_tenacity_objects_are_accepted_too() -> None:
    policy = Try(retry=Twice(), sleep=Every())
    assert policy.judge(ValueError(), 1, 0.0) == 0.25
    assert policy.judge(ValueError(), 2, 0.0) is None


def test_tenacity_policies_reach_worker_processes() -> None:
    policy = Try(
        retry=tenacity.stop_after_attempt(3),
        sleep=tenacity.wait_none(),
        on=tenacity.retry_if_exception_type(ValueError),
    )

    def fail(item: str) -> None:
        raise ValueError(item)

    [failure] = fl.run(policy(fail), ["a"], executor="process", workers=1, progress=None)
    assert failure.attempts == 3


def test_items_that_share_a_tenacity_policy_are_counted_apart() -> None:
    policy = Try(retry=tenacity.stop_after_attempt(3), sleep=tenacity.wait_none())

    def fail(item: int) -> None:
        raise ValueError(item)

    batch = fl.run(policy(fail), range(40), workers=8, progress=None)
    assert {failure.attempts for failure in batch.failures} == {3}
    assert len(batch.failures) == 40


# -- in a run


def test_retry_counts_calls_in_all() -> None:
    flaky = Flaky(2)
    [result] = fl.run(Try(retry=3, sleep=0)(flaky), ["a"], progress=None)
    assert result.is_success and result.attempts == flaky.calls == 3
    flaky = Flaky(3)
    [result] = fl.run(Try(retry=3, sleep=0)(flaky), ["a"], progress=None)
    assert result.is_failure and result.attempts == flaky.calls == 3


def test_without_a_policy_an_item_gets_one_call() -> None:
    flaky = Flaky(1)
    [result] = fl.run(flaky, ["a"], progress=None)
    assert result.is_failure and flaky.calls == 1
    assert ONCE.limit == 1


def test_an_error_that_on_leaves_out_ends_the_item_at_once() -> None:
    flaky = Flaky(9, KeyError)
    [failure] = fl.run(Try(retry=9, sleep=0, on=ValueError)(flaky), ["a"], progress=None)
    assert flaky.calls == 1
    assert isinstance(failure, fl.Failure) and isinstance(failure.error, KeyError)


def test_on_is_asked_with_the_live_exception() -> None:
    seen: list[BaseException] = []

    def on(error: BaseException) -> bool:
        seen.append(error)
        assert error.__traceback__ is not None
        return True

    fl.run(Try(retry=3, sleep=0, on=on)(Flaky(2)), ["a"], progress=None)
    assert [str(error) for error in seen] == ["call 1", "call 2"]


def test_the_wait_is_kept_between_attempts() -> None:
    starts: list[float] = []

    def fail(item: str) -> None:
        starts.append(time.monotonic())
        raise ValueError

    fl.run(Try(retry=3, sleep=0.02, backoff=2, jitter=0)(fail), ["a"], progress=None)
    assert starts[1] - starts[0] >= 0.02
    assert starts[2] - starts[1] >= 0.04


# -- Try(...)(f) and .with_session


def test_try_makes_an_unregistered_fetcher() -> None:
    def quote(symbol: str) -> str:
        """Say it."""
        return symbol

    made = Try(retry=3)(quote)
    assert isinstance(made, fl.Fetcher)
    assert (made.name, made.__doc__, made.__wrapped__) == ("quote", "Say it.", quote)
    assert getattr(made, "__name__") == "quote"  # noqa: B009
    assert made.policies.retry == Try(retry=3)
    with pytest.raises(fl.UnknownName):
        fl.run("quote", ["a"], progress=None)


def test_try_over_a_fetcher_is_refused() -> None:
    with pytest.raises(TypeError, match="is a fetcher already"):
        Try(retry=2)(Try(retry=3)(len))


def test_given_to_map_the_policy_retries_in_place() -> None:
    from concurrent.futures import ThreadPoolExecutor

    flaky = Flaky(2)
    with ThreadPoolExecutor(1) as pool:
        assert list(pool.map(Try(retry=3, sleep=0)(flaky), ["a"])) == ["a"]
    assert flaky.calls == 3


class Door:
    """A session that counts how often it was opened and closed."""

    opened = closed = 0

    def __enter__(self) -> Door:
        type(self).opened += 1
        return self

    def __exit__(self, *_: object) -> None:
        type(self).closed += 1

    def get(self, item: str) -> str:
        return item.upper()


@pytest.mark.parametrize("how", ["with_session", "class"])
def test_with_session_is_a_policy_and_a_session(how: str) -> None:
    class Mine(Door):
        pass

    policy = Try(retry=3, sleep=0).with_session(Mine) if how == "with_session" else TryWithSession(3, 0, Mine)
    calls: list[str] = []

    @policy
    def shout(item: str, *, session: Any = fl.injected) -> str:
        calls.append(item)
        if len(calls) < 3:
            raise ValueError
        answer: str = session.get(item)
        return answer

    assert shout("a") == "A"
    assert len(calls) == 3
    assert Mine.opened == Mine.closed == 1
    batch = fl.run(shout, ["b", "c"], executor="serial", progress=None)
    assert batch.values == ["B", "C"]
    assert Mine.opened == Mine.closed == 2
    assert shout.policies.retry == Try(retry=3, sleep=0)


def test_with_session_keeps_every_part_of_the_policy() -> None:
    policy = Try(retry=4, sleep=1, backoff=3, jitter=0, max_sleep=5, on=KeyError)
    assert policy.with_session(Door).policy == policy
    assert "Door" in repr(policy.with_session(Door))
