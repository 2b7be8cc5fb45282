"""Bugs of schedules that start nothing before it is written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fetchline.core.schedule import Schedule
from fetchline.core.slots import READY, Slot
from planted._bugs import bug


@bug
class StartsWhatIsNotWritten(Schedule):
    def _welcome(self, slots: Iterable[Slot]) -> None:
        self._ready.extend(slots)


@bug
class AdmitsOneMore(Schedule):
    def admit(self, slots: Sequence[Slot]) -> None:
        super().admit(slots)
        super().admit(list(self.unwritten or ())[:1])


@bug
class HasEverythingWritten(Schedule):
    def to_write(self) -> list[Slot]:
        return list(self.unwritten or ())


@bug
class HasNothingWritten(Schedule):
    def to_write(self) -> list[Slot]:
        return []


@bug
class ForgetsTheUnwrittenAtAStop(Schedule):
    def stop(self, *args: object) -> None:
        if self.unwritten:
            self.unwritten.clear()
        super().stop(*args)  # type: ignore[arg-type]


@bug
class BeginsAnewWhatIsNotWritten(Schedule):
    def _take_back(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            slot.state = READY
        self._ready.extendleft(reversed(slots))


@bug
class SendsWhoBeginsAnewToTheEnd(Schedule):
    def admit(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            if self.unwritten:
                self.unwritten.remove(slot)
                slot.state = READY
                self._ready.append(slot)


@bug
class AdmitsAsManyAsWereWritten(Schedule):
    def admit(self, slots: Sequence[Slot]) -> None:
        super().admit(list(self.unwritten or ())[: len(slots)])
