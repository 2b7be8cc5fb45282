"""Results are narrowed by isinstance and by is_success; a Batch is a sequence of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never, assert_type

import polars as pl

from fetchline import Batch, Failure, Result, Success


def by_class(result: Result[int]) -> None:
    if isinstance(result, Success):
        assert_type(result.value, int)
    else:
        assert_type(result, Failure)
        assert_type(result.error, BaseException)


def by_match(result: Result[str]) -> str:
    match result:
        case Success(value):
            assert_type(value, str)
            return value
        case Failure(error):
            return str(error)
        case _:
            assert_never(result)


def by_property(result: Result[int]) -> int:
    if result.is_success:
        assert_type(result.value, int)
        return result.value
    assert_type(result, Failure)
    raise result.error


def by_the_other_property(result: Result[int]) -> int:
    if result.is_failure:
        assert_type(result, Failure)
        raise result.error
    assert_type(result.value, int)
    return result.value


def unnarrowed(result: Result[int]) -> None:
    print(result.value)  # type: ignore[union-attr]
    print(result.error)  # type: ignore[union-attr]


def literals(success: Success[int], failure: Failure) -> None:
    assert_type(success.is_success, Literal[True])
    assert_type(failure.is_success, Literal[False])
    assert_type(success.status, Literal["success", "empty"])


def batch(batch: Batch[int]) -> None:
    wanted: Sequence[Result[int]] = batch
    assert_type(batch[0], Result[int])
    assert_type(batch[1:], list[Result[int]])
    assert_type(batch.values, list[int])
    assert_type(batch.successes, list[Success[int]])
    assert_type(batch.failures, list[Failure])
    assert_type(batch.frame(), pl.DataFrame)
    assert_type(batch.frame(key=("symbol", "day")), pl.DataFrame)
    assert_type(batch.report(), pl.DataFrame)
    assert_type(batch.retry_failed(), Batch[int])
    for result in wanted:
        assert_type(result, Result[int])
    batch.frame(key=3)  # type: ignore[arg-type]
    batch["a"]  # type: ignore[call-overload]


def error_codes(failure: Failure) -> bool:
    failure.error_code = "nonsense"  # type: ignore[assignment]
    return failure.error_code == "timeout"
