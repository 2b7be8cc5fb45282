"""What somebody who has looked on the other side says of writes of unknown outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fetchline.journal.entries import GONE, Entry, as_stored
from fetchline.journal.reading import Standing
from fetchline.journal.segments import pack

__all__ = ["settled"]


def settled(standing: Standing, sent: Mapping[str, Any], not_sent: Sequence[str]) -> list[Entry]:
    """Make outcomes of what is said: values by key, and keys of which there is to be no outcome.

    Raises:
        ValueError: the outcome of a key is not unknown.
        TypeError: a value cannot be stored.
    """
    entries = standing.entries
    unknown = {
        one["key"]: one for one in entries.filter(entries["code"] == "unknown_outcome").iter_rows(named=True)
    }
    outcomes: dict[str, tuple[int, Any]] = dict.fromkeys(not_sent, (GONE, None))
    for key, value in sent.items():
        try:
            outcomes[key] = as_stored(value)
        except TypeError as problem:
            raise TypeError(f"the value of {key!r} cannot be stored: {problem}") from problem
    for key in outcomes:
        if key not in unknown:
            listed = ", ".join(map(repr, [*unknown][:5])) + (", ..." if len(unknown) > 5 else "")
            raise ValueError(f"the outcome of {key!r} is not unknown; that of {listed or 'none'} is")
    made = [
        Entry(key, unknown[key]["index"], kind, value, unknown[key]["item"], at=time.time())
        for key, (kind, value) in outcomes.items()
    ]
    for at, refusal in pack(made).refused.items():
        raise TypeError(f"the value of {made[at].key!r} cannot be stored: {refusal}") from refusal
    return made
