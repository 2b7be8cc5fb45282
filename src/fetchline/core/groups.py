"""Several items in one attempt: who travels together, and what becomes of each of them.

A group is formed when it starts, of what is ready then. From there on it stays together: it waits, is attempted
again, and remembers as one slot does. It comes apart when it is finished, when some of its items failed by
themselves, or when it failed for good as a whole: then its halves are attempted, one after the other, and so on,
until the item that is at fault stands alone. If the first half is good, the fault is in the second, which is halved
without a call of its own: binary splitting (Sobel and Groll 1959, "Group testing to eliminate efficiently all
defectives in a binomial sample").

A half of a group that has used its attempts up is halved as soon as it fails in a way that an item may be the
cause of; other failures, such as those of the network, are tried again, and a lone item has all its attempts. So a
group of n items of which k are at fault costs at most 2 k log2(n) calls more than one that is not halved, and those
that a lone item may make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from fetchline.core.limits import Limits
from fetchline.core.schedule import Schedule
from fetchline.core.slots import DONE, FAILED, HELD, READY, RUNNING, Slot, Troubles
from fetchline.interfaces import Verdict

__all__ = ["Answers", "BulkSchedule", "Group"]

# Of these a single item may be the cause; of a refused login, say, it is not.
_HALVED = frozenset({"error", "timeout", "permanent", "wrong_answer", "unpicklable"})


class Answers(Protocol):
    """What came of an attempt for several items, in their order; ``misses`` are those without a value."""

    @property
    def values(self) -> Sequence[Any]: ...

    @property
    def misses(self) -> Mapping[int, tuple[Any, Verdict]]: ...


class Group(Slot):
    """Slots that are attempted as one.

    Its state is theirs.

    Attributes:
        blamed: its items failed by themselves: there is nobody to be found out.
        suspect: an attempt failed in a way that one of its items may be the cause of.
        hunted: it is a part of one that has used its attempts up: it is halved as soon as it fails in such a way.
        sibling: the other half of a group that failed: it waits for what comes of this one.
    """

    __slots__ = ("blamed", "hunted", "members", "sibling", "suspect")

    members: tuple[Slot, ...]

    def __init__(self, members: Sequence[Slot]) -> None:
        self.members = tuple(members)
        super().__init__(members[0].index, tuple(slot.item for slot in members), members[0].fed)
        self.began = self.ended = self.fed
        self.value = None
        self.blamed = self.suspect = self.hunted = False
        self.sibling: Group | None = None

    @property
    def size(self) -> int:  # type: ignore[override]  # of a plain slot it is always 1
        return len(self.members)

    @property
    def state(self) -> int:
        return self.members[0].state

    @state.setter
    def state(self, state: int) -> None:
        for member in self.members:
            member.state = state


class BulkSchedule(Schedule):
    """A schedule whose leases are groups of up to ``limits.bulk`` items.

    What a driver brings as the value of a group are its ``Answers``.

    Attributes:
        calls: attempts that have ended.
        ran_s: seconds they ran.
    """

    __slots__ = ("_now", "calls", "ran_s")

    lingers = True

    def __init__(
        self, limits: Limits, *, ordered: bool = False, known: Mapping[Any, Any] | None = None
    ) -> None:
        super().__init__(limits, ordered=ordered, known=known)
        self._now = float("-inf")
        self.calls = 0
        self.ran_s = 0.0

    # -- starting -------------------------------------------------------------------------------------------

    def feed(self, items: Sequence[Any], now: float, keys: Any = None) -> None:
        self._now = now
        super().feed(items, now, keys)

    def lease(self, now: float) -> Slot | None:
        self._now = now
        if self._waits.when <= now:
            self._wake(now)
        while self.stopping is None and len(self._ready) < self.limits.bulk and self._bite(now):
            pass
        if not self._is_worth_a_call:
            return None
        lead = super().lease(now)
        if lead is None:
            return None
        if not isinstance(lead, Group):
            return self._gather(lead, now)
        if self._weights is not None:
            self._weights.flying += lead.size - 1
        return lead

    def _gather(self, lead: Slot, now: float) -> Group:
        """Have others go along with a slot that was leased."""
        ready, weights = self._ready, self._weights
        most = self.limits.bulk if weights is None else int(min(self.limits.bulk, 1 + max(weights.spare, 0)))
        members, troubles = [lead], lead.troubles
        if troubles is None:
            while ready and len(members) < most and _goes_along(ready[0]):
                members.append(ready.popleft())
        for member in members:
            member.value = None
        if weights is not None:
            weights.flying += len(members) - 1
        group = Group(members)
        group.state = RUNNING
        group.token, lead.token = lead.token, 0
        group.troubles = troubles  # what a single item has left of a task goes with it, and with no other
        group.began = now
        if self._timeouts is not None:
            self._timeouts.started(group, now)
        return group

    def lease_more(self, now: float, count: int) -> list[Slot]:
        """Groups travel alone."""
        return []

    @property
    def _is_worth_a_call(self) -> bool:
        """Whether what is ready is enough for a call, or has waited for more long enough."""
        ready = self._ready
        return bool(ready) and (
            len(ready) >= self.limits.bulk
            or isinstance(ready[0], Group)
            or (self._closed and not self.backlog and not self.unwritten)
            or (self.room() <= 0 and not self.running)
            or self._now >= ready[0].fed + self.limits.linger
        )

    @property
    def startable(self) -> bool:
        return super().startable and (self._mouthful() > 0 or self._is_worth_a_call)

    def timer(self, now: float) -> float:
        self._now = now
        when = super().timer(now)
        if self._ready and not self.startable and self.running < self.concurrency:
            lingers = self._ready[0].fed + self.limits.linger
            when = min(when, lingers) if lingers > now else when
        elif self.startable and self.traffic is None and self.running < self.concurrency:
            when = min(when, now)
        return when

    # -- ending ---------------------------------------------------------------------------------------------

    def succeed(
        self, slot: Slot, token: int, value: Any, now: float, units: int = 1, weight: float = 0.0
    ) -> bool:
        if not token or slot.token != token:
            return False
        assert isinstance(slot, Group)
        answers: Answers = value
        if self.traffic is not None:
            self.traffic.succeeded(token, now)
        past, attempts = slot.troubles, slot.number
        if past is not None:
            past.attempts, past.verdict = attempts, None
        slot.token = 0
        slot.value = answers
        slot.ended = now
        self._land(units, slot.size)
        self._count(slot)
        odd: list[tuple[Verdict, list[Slot]]] = []
        for position, member in enumerate(slot.members):
            if position not in answers.misses:
                member.value = answers.values[position]
                # Most items never have troubles, and a record of them costs more than they do.
                member.troubles = past
                if self._weights is not None:
                    self._weights.add(member.index, weight / slot.size)
                self._end(slot, member, DONE)
                continue
            member.value, verdict = answers.misses[position]
            for place, (other, members) in enumerate(odd):
                if _go_together(other, verdict):
                    members.append(member)
                    odd[place] = replace(other, delay=max(other.delay, verdict.delay)), members
                    break
            else:
                odd.append((verdict, [member]))
        for verdict, members in odd:
            self._miss(slot, members, attempts, verdict, now)
        self._go_on_with_sibling(slot, innocent=True)
        return True

    def _miss(self, whole: Group, members: list[Slot], attempts: int, verdict: Verdict, now: float) -> None:
        """Some items of a group failed by themselves, for the same reason: from here on they go their own way."""
        group = Group(members)
        group.began, group.ended = whole.began, whole.ended
        group.blamed = True
        troubles = group.troubles = _heir(whole)
        troubles.attempts, troubles.charged, troubles.verdict = attempts, whole.charged, verdict
        if whole.troubles is not None and len(members) == whole.size:
            # What was left running is theirs; of a part of them nobody knows.
            troubles.memo, troubles.timeout = whole.troubles.memo, whole.troubles.timeout
        if verdict.kind == "throttled":
            self.cool_down(now, now + verdict.delay)
            assert self.traffic is not None
            self.traffic.refused += verdict.code == "throttled"
        self._decide(group, troubles, verdict, now)

    def crashed(
        self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1
    ) -> bool:
        """Nobody knows whose crash it was: a lone item is charged, the halves of a group are tried."""
        if slot.size == 1 or verdict.kind != "retry" or not self.limits.idempotent:
            return super().crashed(slot, token, error, verdict, now, units)
        if not token or slot.token != token:
            return False
        assert isinstance(slot, Group)
        if self.traffic is not None:
            self.traffic.forget(token)
        self._end_attempt(slot, error, verdict, now, units)
        if self.stopping is not None:
            self._cancel(slot)
        else:
            self._halve(slot)
        return True

    def _end_attempt(self, slot: Slot, error: Any, verdict: Verdict, now: float, units: int) -> Troubles:
        troubles = super()._end_attempt(slot, error, verdict, now, units)
        assert isinstance(slot, Group)
        slot.blamed = False
        self._count(slot)
        for member in slot.members:
            member.value = error
        return troubles

    def _decide(self, slot: Slot, troubles: Troubles, verdict: Verdict, now: float) -> None:
        if isinstance(slot, Group) and not slot.blamed and verdict.code in _HALVED and not verdict.alike:
            slot.suspect = True
            if slot.hunted and verdict.kind == "retry" and slot.size > 1 and self.stopping is None:
                self._halve(slot)
                return
        super()._decide(slot, troubles, verdict, now)

    def _count(self, group: Group) -> None:
        self.calls += 1
        self.ran_s += max(0.0, group.ended - group.began)

    def _finish(self, slot: Slot, state: int) -> None:
        if not isinstance(slot, Group):
            super()._finish(slot, state)
        elif state == FAILED and self._is_halved(slot):
            if self.stopping is None:
                self._halve(slot)
            else:
                self._cancel(slot)  # which of them is to blame will not be found out
        else:
            for member in slot.members:
                member.troubles = slot.troubles
                self._end(slot, member, state)
            self._go_on_with_sibling(slot, innocent=state == DONE)

    def _end(self, group: Group, member: Slot, state: int) -> None:
        member.began, member.ended = group.began, group.ended
        super()._finish(member, state)

    def _is_halved(self, group: Group) -> bool:
        verdict = group.verdict
        return (
            group.size > 1
            and self.limits.idempotent
            and not group.blamed
            and verdict is not None
            and verdict.kind != "stop"
            and group.suspect
        )

    def _halve(self, group: Group) -> None:
        self._go_on_with_sibling(group, innocent=False)
        middle = (group.size + 1) // 2
        first, second = (
            self._half(group, members) for members in (group.members[:middle], group.members[middle:])
        )
        first.sibling = second
        second.state = HELD
        self._ready.appendleft(first)

    def _half(self, group: Group, members: Sequence[Slot]) -> Group:
        half = Group(members)
        half.troubles = _heir(group)
        half.hunted = group.hunted or group.charged >= self.limits.retry
        half.value = group.value
        half.began, half.ended = group.began, group.ended
        return half

    def _go_on_with_sibling(self, group: Group, *, innocent: bool) -> None:
        sibling, group.sibling = group.sibling, None
        if sibling is None:
            return
        if self.stopping is not None:
            self._cancel(sibling)
        elif innocent and sibling.size > 1:
            self._halve(sibling)
        else:
            sibling.state = READY
            self._ready.appendleft(sibling)

    # -- counting -------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        return sum(slot.size for slot in self._waits.all())

    @property
    def waiting(self) -> int:
        ready = list(self._ready)
        together = sum(slot.size - 1 for slot in ready)
        return super().waiting + together + sum(map(_kin, (*ready, *self._waits.all())))


def _kin(slot: Slot) -> int:
    """How many items wait for what comes of a group."""
    return slot.sibling.size if isinstance(slot, Group) and slot.sibling is not None else 0


def _goes_along(slot: Slot) -> bool:
    return not isinstance(slot, Group) and slot.troubles is None


def _go_together(one: Verdict, other: Verdict) -> bool:
    """Whether items that failed so may be tried again in one call; how long each would wait does not matter."""
    return one.memo is other.memo and replace(one, delay=0.0, memo=None) == replace(
        other, delay=0.0, memo=None
    )


def _heir(group: Group) -> Troubles:
    """What a part of a group keeps of the group's past."""
    heir, past = Troubles(), group.troubles
    if past is None:
        heir.first = group.began
    else:
        heir.attempts, heir.first, heir.verdict = past.attempts, past.first, past.verdict
        heir.held_since, heir.pending_since = past.held_since, past.pending_since
    return heir
