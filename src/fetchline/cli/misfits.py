"""One frame of the values of a batch that makes none by itself: of plain values, or of those that fit together."""

from __future__ import annotations

import datetime
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fetchline.errors import Undecodable
from fetchline.items import key_parts
from fetchline.results import ErrorCode, Failure, Success

if TYPE_CHECKING:
    import polars as pl

    from fetchline.batch import Batch

__all__ = ["join_most", "join_plain"]

_PLAIN = (str, int, float, bool, datetime.date, datetime.time, datetime.timedelta, Decimal, type(None))


def join_plain(batch: Batch[Any], key: str | tuple[str, ...] | None) -> pl.DataFrame | None:
    """Put texts, numbers and times into one column, ``value``, beside their keys; None if there are other values.

    Raises:
        TypeError, ValueError: the values are of kinds that are no one column.
    """
    from fetchline import frames

    results = [result for result in batch.successes if not result.empty]
    if not results or batch._reading.decode is not None:
        return None
    if not all(isinstance(result.value, _PLAIN) for result in results):
        return None
    return frames.join(
        [{"value": result.value} for result in results],
        [result.key for result in results],
        key=key,
        parts=_parts(results, key),
    )


def join_most(batch: Batch[Any], key: str | tuple[str, ...] | None) -> tuple[pl.DataFrame, list[Failure]]:
    """Join the values with the most common columns and types; the others as failures, in input order.

    Raises:
        TypeError, ValueError: not even those make a frame.
    """
    from fetchline import frames
    from fetchline.decode import decode

    how, schema = batch._reading.decode, batch._reading.schema
    fitting: list[tuple[Success[Any], pl.DataFrame, tuple[Any, ...]]] = []
    misfits: list[Failure] = []
    for result in batch.successes:
        if result.empty:
            continue
        try:
            values = [result.value]
            if how is not None:
                values = decode(values, [result.key], how, schema=schema)
            frame = frames.as_frame(values[0], result.key)
        except Undecodable as error:
            misfits.append(_misfit(result, str(error), "undecodable"))
        except (TypeError, ValueError) as error:
            misfits.append(_misfit(result, str(error)))
        else:
            fitting.append((result, frame, tuple(frame.schema.items())))
    if not fitting:
        raise TypeError(str(misfits[0].error) if misfits else "there are no values")
    (most, _), *_ = Counter(shape for _, _, shape in fitting).most_common(1)
    kept = [(result, frame) for result, frame, shape in fitting if shape == most]
    usual = dict(most)
    for result, frame, shape in fitting:
        if shape != most:
            odd = {name: kind for name, kind in frame.schema.items() if usual.get(name) != kind}
            misfits.append(
                _misfit(result, f"its columns {odd or list(frame.schema)} are not as most others'")
            )
    misfits.sort(key=lambda failure: failure.index)
    joined = frames.join(
        [frame for _, frame in kept],
        [result.key for result, _ in kept],
        key=key,
        parts=_parts([result for result, _ in kept], key),
    )
    return joined, misfits


def _parts(results: list[Success[Any]], key: str | tuple[str, ...] | None) -> list[tuple[str, ...]] | None:
    return [key_parts(result.item, key) for result in results] if isinstance(key, tuple) else None


def _misfit(result: Success[Any], why: str, code: ErrorCode = "wrong_answer") -> Failure:
    return Failure(
        ValueError(why),
        result.key,
        result.index,
        result.item,
        result.attempts,
        result.waited_s,
        result.ran_s,
        code,
    )
