"""What may not start before it has been written down: what is offered for that, and who is woken."""

from __future__ import annotations

from typing import Any

import pytest

from fetchline.core.groups import BulkSchedule
from fetchline.core.limits import NEVER, Limits
from fetchline.core.schedule import Schedule

KINDS: list[tuple[type[Schedule], dict[str, Any]]] = [
    (Schedule, {}),
    (Schedule, {"rates": ((1000, 1.0),)}),
    (Schedule, {"granted": True}),
    (BulkSchedule, {"bulk": 8}),
    (BulkSchedule, {"bulk": 8, "rates": ((1000, 1.0),)}),
]


@pytest.mark.parametrize(("kind", "limits"), KINDS)
def test_nothing_is_startable_while_all_there_is_waits_to_be_written_down(
    kind: type[Schedule], limits: dict[str, Any]
) -> None:
    """Whoever was woken for it would find nothing, again and again."""
    schedule = kind(Limits(4, write_ahead=True, **limits))
    schedule.feed_from(range(1000))
    assert schedule.startable
    assert schedule.lease(0.0) is None
    assert schedule.wants_writing and not schedule.startable and not schedule.wants_grant
    assert schedule.timer(0.0) == NEVER
    schedule.admit(schedule.to_write())
    assert schedule.startable


def test_few_are_written_down_at_once_and_more_when_half_of_them_are_gone() -> None:
    schedule = Schedule(Limits(4, write_ahead=True))
    schedule.feed(range(100), 0.0)
    offered = []
    for _ in range(3):
        slots = schedule.to_write()
        offered.append([slot.index for slot in slots])
        schedule.admit(slots)
        for _ in range(2):
            slot = schedule.lease(0.0)
            assert slot is not None and schedule.succeed(slot, slot.token, None, 0.0)
        assert schedule.wants_writing == (len(schedule.to_write()) > 0)
    assert offered == [[0, 1, 2, 3], [], [4, 5, 6, 7]]
