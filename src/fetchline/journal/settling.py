"""What somebody who has looked on the other side says of writes of unknown outcome."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fetchline.journal.entries import EMPTY, FAILURE, GONE, Entry, as_stored
from fetchline.journal.reading import Standing
from fetchline.journal.segments import pack

__all__ = ["settled"]

_SAID = "settled"
"""The mark, in the column of errors, of what was said and not fetched: it may be said again otherwise."""

_LISTED = 5


def settled(
    standing: Standing, values: Mapping[str, Any], sent: Iterable[str], not_sent: Iterable[str]
) -> list[Entry]:
    """Make outcomes of what is said: values by key, keys that succeeded with nothing, keys of which there is none.

    Raises:
        ValueError: the outcome of a key is not unknown, nor was it only said.
        TypeError: a value cannot be stored.
    """
    newest = {row["key"]: row for row in standing.newest.iter_rows(named=True)}
    outcomes: dict[str, tuple[int, Any]] = {
        **dict.fromkeys(not_sent, (GONE, None)),
        **dict.fromkeys(sent, (EMPTY, None)),  # still with the code: its answer is unknown
    }
    for key, value in values.items():
        try:
            outcomes[key] = as_stored(value)
        except TypeError as problem:
            raise TypeError(f"the value of {key!r} cannot be stored: {problem}") from problem
    wrong = [key for key in outcomes if not _may_be_settled(newest.get(key))]
    if wrong:
        unknown = [key for key, row in newest.items() if _may_be_settled(row) and row["error"] != _SAID]
        raise ValueError(_refusal([(key, newest.get(key)) for key in wrong], unknown))
    made = [
        Entry(
            key,
            newest[key]["index"],
            kind,
            value,
            newest[key]["item"],
            code="unknown_outcome" if kind == EMPTY else None,
            error=_SAID,
            at=time.time(),
        )
        for key, (kind, value) in outcomes.items()
    ]
    for at, refusal in pack(made).refused.items():
        raise TypeError(f"the value of {made[at].key!r} cannot be stored: {refusal}") from refusal
    return made


def _may_be_settled(row: Mapping[str, Any] | None) -> bool:
    if row is None:
        return False
    is_said: bool = row["kind"] != FAILURE and row["error"] == _SAID
    return is_said or row["code"] == "unknown_outcome"


def _refusal(wrong: Sequence[tuple[str, Mapping[str, Any] | None]], unknown: Sequence[str]) -> str:
    each = [f"{key!r} {_standing_of(row)}" for key, row in wrong]
    left = f"unknown is what became of {_some(list(map(repr, unknown)), ', ')}"
    if not unknown:
        left = "of no item it is unknown; only writes, by fetchers with idempotent=False, have such outcomes"
    return f"nothing was settled: {_some(each, '; ')}. Of this run {left}"


def _standing_of(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "has no outcome here: it was not started, or is no key of this run"
    if row["kind"] == FAILURE:
        return f"has failed, with the code {row['code']}, and is sent again by the next run"
    return "is to be fetched again" if row["kind"] == GONE else "has succeeded"


def _some(texts: Sequence[str], separator: str) -> str:
    more = f"{separator}and {len(texts) - _LISTED:,} more" if len(texts) > _LISTED else ""
    return separator.join(texts[:_LISTED]) + more
