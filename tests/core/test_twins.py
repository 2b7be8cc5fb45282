"""Items with equal keys: one attempt, and its outcome in every place."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fetchline.core.limits import Dedupe, Limits
from fetchline.core.schedule import Schedule
from fetchline.core.slots import DONE, FAILED
from fetchline.core.twins import Known, Pending
from fetchline.interfaces import Verdict


def schedule_of(dedupe: Dedupe = "run", *, ordered: bool = False, **limits: Any) -> Schedule:
    return Schedule(Limits(10, dedupe=dedupe, **limits), ordered=ordered)


def test_equal_keys_are_one_attempt_and_fill_every_place() -> None:
    schedule = schedule_of()
    schedule.feed_from(["a", "b", "a", "a"], ["a", "b", "a", "a"])
    one, two = schedule.lease(0.0), schedule.lease(0.0)
    assert one and two and schedule.lease(0.0) is None
    assert schedule.succeed(one, one.token, "A", 1.0) and schedule.succeed(two, two.token, "B", 1.0)
    slots = {slot.index: slot for slot in schedule.drain(1.0)}
    assert [slots[n].value for n in range(4)] == ["A", "B", "A", "A"]
    assert [slots[n].attempts for n in range(4)] == [1, 1, 0, 0]
    assert schedule.finished


def test_one_that_comes_later_gets_what_is_there() -> None:
    schedule = schedule_of()
    schedule.feed(["a"], 0.0, ["a"])
    first = schedule.lease(0.0)
    assert first and schedule.succeed(first, first.token, "A", 1.0)
    schedule.drain(1.0)
    schedule.feed(["a"], 2.0, ["a"])
    assert schedule.lease(2.0) is None
    [twin] = schedule.drain(2.0)
    assert (twin.index, twin.value, twin.state) == (1, "A", DONE)


def test_a_failure_is_shared_too() -> None:
    schedule = schedule_of()
    schedule.feed_from(["a", "a"], ["a", "a"])
    first = schedule.lease(0.0)
    assert first
    schedule.fail(first, first.token, "bad", Verdict("permanent", "permanent"), 1.0)
    assert [(s.state, s.value, s.verdict and s.verdict.code) for s in schedule.drain(1.0)] == [
        (FAILED, "bad", "permanent")
    ] * 2


def test_a_stop_reaches_those_that_wait_for_another() -> None:
    schedule = schedule_of()
    schedule.feed_from(["a", "a", "b", "b"], ["a", "a", "b", "b"])
    flying = schedule.lease(0.0)
    assert flying
    schedule.stop()
    schedule.give_up(flying, flying.token, 1.0)
    slots = schedule.drain(1.0)
    assert len(slots) == 4 and schedule.finished
    assert {slot.verdict.code for slot in slots if slot.verdict} == {"cancelled"}


def test_in_a_stream_a_key_is_forgotten_when_its_first_has_left() -> None:
    schedule = schedule_of("window", ordered=True)
    schedule.feed(["a", "a"], 0.0, ["a", "a"])
    first = schedule.lease(0.0)
    assert first and schedule.succeed(first, first.token, "A", 0.0)
    schedule.drain(0.0)
    assert [slot.value for slot in schedule.heads(9)] == ["A", "A"]
    schedule.feed(["a"], 1.0, ["a"])
    again = schedule.lease(1.0)
    assert again is not None and again.index == 2


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.sampled_from(["run", "window"]), st.data())
def test_every_place_has_the_outcome_of_its_key_in_order(
    items: list[str], dedupe: Dedupe, data: st.DataObject
) -> None:
    schedule = schedule_of(dedupe, ordered=True, window=5)
    schedule.feed_from(items, items)
    flying, left, calls = [], [], 0
    while not (schedule.finished and len(left) == len(items)):
        slot = schedule.lease(0.0)
        if slot is not None:
            flying.append(slot)
            calls += 1
        if flying and (slot is None or data.draw(st.booleans())):
            one = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            schedule.succeed(one, one.token, one.item.upper(), 0.0)
        schedule.drain(0.0)
        heads = schedule.heads(9)
        left += [head.value for head in heads]
        schedule.release(len(heads))
    assert left == [item.upper() for item in items]
    assert calls == len(set(items)) if dedupe == "run" else calls <= len(items)


# -- what is known beforehand ------------------------------------------------------------------------------


def test_what_is_known_is_not_attempted() -> None:
    known = {
        "value": "V",
        "empty": Known("E", Verdict("no_data")),
        "failed": Known("F", Verdict("permanent", "error")),
    }
    schedule = Schedule(Limits(10, dedupe="store"), ordered=True, known=known)
    schedule.feed(["value", "new", "empty", "failed"], 0.0, ["value", "new", "empty", "failed"])
    new = schedule.lease(0.0)
    assert new is not None and new.item == "new" and schedule.lease(0.0) is None
    settled = {slot.item: slot for slot in schedule.drain(0.0)}
    assert {item: (slot.state, slot.value, slot.attempts) for item, slot in settled.items()} == {
        "value": (DONE, "V", 0),
        "empty": (DONE, "E", 0),
        "failed": (FAILED, "F", 0),
    }
    assert [slot.item for slot in schedule.heads(9)] == ["value"]
    assert schedule.succeed(new, new.token, "N", 1.0)
    assert [slot.item for slot in schedule.heads(9)] == ["new", "empty", "failed"]


def test_a_task_that_was_begun_is_told_so_and_keeps_its_own_timeout() -> None:
    schedule = Schedule(
        Limits(10, dedupe="store", timeout=60), known={"a": Pending({"task": 7}, timeout=2.0)}
    )
    schedule.feed(["a"], 0.0, ["a"])
    slot = schedule.lease(0.0)
    assert slot is not None and slot.troubles is not None
    assert (slot.troubles.memo, slot.number) == ({"task": 7}, 1)
    assert schedule.expired(2.5) == [(slot, slot.token)]


def test_who_is_not_ready_is_noted_for_the_store() -> None:
    schedule = Schedule(Limits(10, dedupe="store"))
    schedule.feed(["a"], 0.0, ["a"])
    slot = schedule.lease(0.0)
    assert slot is not None and schedule.memos is not None
    later = Verdict("not_ready", "not_ready", 1.0, memo="task")
    schedule.fail(slot, slot.token, "wait", later, 0.0)
    assert list(schedule.memos) == [(slot, later)]


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), max_size=8), st.data())
def test_no_key_is_attempted_again_once_it_is_stored_or_in_flight(
    batches: list[list[str]], data: Any
) -> None:
    known: dict[str, Any] = {"a": "known a"}
    schedule = Schedule(Limits(4, dedupe="store"), known=known)
    flying: list[Any] = []
    drained: list[Any] = []
    now = 0.0
    for batch in [*batches, []]:
        schedule.feed(batch, now, batch)
        last = batch is batches[-1] if batches else True
        while slot := schedule.lease(now):
            assert slot.item not in known
            assert slot.item not in {other.item for other in flying}
            flying.append(slot)
        some = st.lists(st.sampled_from(flying), unique=True) if flying else st.just([])
        for slot in list(flying) if last else data.draw(some):
            flying.remove(slot)
            now += 1.0
            if data.draw(st.booleans()):
                schedule.succeed(slot, slot.token, f"{slot.item} at {now}", now)
            else:
                schedule.fail(slot, slot.token, "bad", Verdict("permanent"), now)
        settled = schedule.drain(now)
        # What the host does: write, then say what is known, then have the schedule forget.
        known.update({slot.item: slot.value for slot in settled if slot.state == DONE})
        assert schedule.twins is not None
        schedule.twins.stored(settled)
        drained += settled
    schedule.close_input()
    while flying or (slot := schedule.lease(now)):
        slot = flying.pop() if flying else slot
        schedule.succeed(slot, slot.token, "last", now)
        drained += schedule.drain(now)
    assert schedule.finished
    assert sorted(slot.index for slot in drained) == list(range(sum(map(len, batches))))
