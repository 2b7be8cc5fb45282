"""What an attempt came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from fetchline.results import ErrorCode

__all__ = ["Verdict", "VerdictKind"]


VerdictKind: TypeAlias = Literal["retry", "throttled", "not_ready", "expired", "permanent", "no_data", "stop"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one failed attempt means for its item.

    Attributes:
        kind: ``retry`` (charged), ``throttled`` (everybody pauses, uncharged), ``not_ready`` (this item
            waits, uncharged), ``expired`` (the session logs in again), ``permanent`` (no further attempt),
            ``no_data`` (an empty success), ``stop`` (the whole run ends).
        code: the failure's code, should this be the last attempt.
        delay: seconds until the item may start again.
        memo: what the item's next attempt is told (``NotReady(memo=...)``).
        patience: seconds the item may be held back uncharged, if not as long as the fetcher says.
        timeout: seconds the item's next attempt may take, if not as long as the fetcher says (``not_ready``).
        alike: any other item would have failed in the same way: a bulk call is not halved for it.
    """

    kind: VerdictKind
    code: ErrorCode = "error"
    delay: float = 0.0
    memo: Any = None
    patience: float | None = None
    timeout: float | None = None
    alike: bool = False
