"""What a fetch function can ask about the attempt it is making."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

__all__ = ["Attempt", "Call", "Cell", "Past", "attempt", "current"]


class Call(Protocol):
    """What the worker is told of the item in hand; the schedule's slot is one."""

    index: int
    item: Any
    began: float

    @property
    def troubles(self) -> Any: ...

    @property
    def number(self) -> int: ...


class Past(NamedTuple):
    """What an item's earlier attempts left behind, as a worker elsewhere is told of it."""

    charged: int
    first: float
    memo: Any
    timeout: float | None

    @classmethod
    def of(cls, call: Call) -> Past | None:
        """The past of an item; None if this is its first attempt."""
        troubles = call.troubles
        if troubles is None:
            return None
        return cls(troubles.charged, troubles.first, troubles.memo, troubles.timeout)


class Cell:
    """Where ``attempt()`` looks: one for each worker, in its context, pointed at the item in hand."""

    __slots__ = ("call", "program")

    def __init__(self, program: Any) -> None:
        self.program = program
        self.call: Any = None


current: ContextVar[Cell | None] = ContextVar("fetchline_attempt", default=None)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The attempt in hand, as the fetch function sees it.

    Attributes:
        key: the item's key; empty in a direct call.
        number: 1 for the first attempt of the item.
        memo: what the last ``NotReady(memo=...)`` of this item left, else None.
        idempotency_key: a UUID to send along with a write, so that the server takes it once: the same for every
            attempt of the item, and when the same is run again.
        deadline: the time on ``time.monotonic``'s clock at which the attempt is given up, or None.
        logger: a logger that names the key.
    """

    key: str = ""
    number: int = 1
    memo: Any = None
    idempotency_key: str = ""
    deadline: float | None = None
    logger: logging.LoggerAdapter[logging.Logger] = field(
        default_factory=lambda: logging.LoggerAdapter(logging.getLogger("fetchline.attempt"), {})
    )


def attempt() -> Attempt:
    """Tell a fetch function about the attempt it is making.

    >>> attempt().number
    1
    """
    cell = current.get()
    if cell is None or cell.call is None:
        return Attempt()
    call, program = cell.call, cell.program
    timeout = program.timeout_of(call)
    key = program.key_of(call.item)
    troubles = call.troubles
    return Attempt(
        key=key,
        number=call.number,
        memo=None if troubles is None else troubles.memo,
        idempotency_key=program.idempotency_key(call.item),
        deadline=None if timeout is None else call.began + timeout,
        logger=logging.LoggerAdapter(
            logging.getLogger("fetchline.attempt"), {"key": key, "number": call.number}
        ),
    )
