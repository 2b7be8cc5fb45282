"""Between a run and its store, on the host: what was finished is written, and only then told.

Small results are gathered, and written when a second has passed, when they are many or large, or when somebody waits
for them.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, overload

from fetchline.columns import Hit, Reading, Row
from fetchline.core.slots import DONE, FAILED, Slot, Troubles
from fetchline.core.twins import share
from fetchline.interfaces import Verdict
from fetchline.items import Grid, key_of, uniform_type
from fetchline.journal.encoding import encode, is_text
from fetchline.journal.entries import EMPTY, FAILURE, FRAME, TASK_GOES_ON, Begun, Entry, as_stored
from fetchline.results import ErrorCode, Failure

__all__ = ["Book", "Gathered", "Ledger", "item_text", "may_repeat", "whole_keys"]

FLUSH_S = 1.0
_MOST_BYTES = 64 << 20
_MOST_ENTRIES = 20_000
_REST = 10.0
_log = logging.getLogger("fetchline")


class Ledger(Protocol):
    """Where a book writes: the journal of a run, or files that several runs share."""

    def write(
        self, entries: Sequence[Entry], memos: Mapping[str, str], begun: Mapping[str, Begun | None]
    ) -> list[int | Exception | None]: ...

    def load(self, row: int, key: str) -> Any: ...

    def scan(self, rows: Sequence[int]) -> Any: ...

    def known(self, row: int) -> Any: ...

    def close(self, end: dict[str, Any] | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is written at once: slots and the key of each; what is stored, by key; memos; and what begins.

    ``ahead`` are the slots that may start then.
    """

    slots: list[Slot]
    keys: list[str]
    entries: dict[str, Entry]
    memos: dict[str, str]
    begun: dict[str, Begun | None]
    ahead: list[Slot]


class Book:
    """Takes settled slots, and reports them when they are in the store.

    After an error of the store it takes nothing and writes nothing: what it was not told of has not happened.

    Args:
        ledger: the store.
        known: what the run knows of keys; what is written is added.
        reading: how items are read.
        memos: what tasks that are not ready leave behind; taken from its left.
        to_write: gives slots that may not start before it is written down that they will; writes, that is, which
            nobody would know of after a kill.
        admit: told which of those may start now.
        report: told of slots that are in the store.
        report_hits: the same for values that were there before.
        stored: told of the same before: others with their keys may be told by ``known``.
        whole: the items of the run are in the store already.
        repeats: keys may come again.
        hold: told where the value of a slot is, so that it need not be kept; None if it is handed out.
        idempotent: what was fetched and cannot be stored may be fetched again.
    """

    def __init__(
        self,
        ledger: Ledger,
        known: dict[str, Any],
        reading: Reading,
        memos: deque[tuple[Slot, Verdict]],
        *,
        to_write: Callable[[], list[Slot]],
        admit: Callable[[list[Slot]], None],
        report: Callable[[list[Slot]], None],
        report_hits: Callable[[list[Slot]], None],
        stored: Callable[[list[Slot]], None],
        whole: bool,
        repeats: bool,
        hold: Callable[[int, Row], None] | None,
        idempotent: bool,
    ) -> None:
        self._ledger = ledger
        self._known = known
        self._reading = reading
        self._pending = memos
        self._to_write = to_write
        self._admit = admit
        self._begun: set[str] = set()
        self._withdrawn: dict[str, Begun | None] = {}
        self._report = report
        self._report_hits = report_hits
        self._stored = stored
        self._hold = hold
        self._whole = whole
        self._repeats = repeats
        self._code_if_refused: ErrorCode = "error" if idempotent else "unknown_outcome"
        self._slots: list[Slot] = []
        self._entries: dict[str, Entry] = {}
        self._of: list[str] = []
        self._bytes = 0
        self._since = 0.0
        self._memos: dict[str, str] = {}
        self._last_memos: dict[str, str] = {}
        self._unkept: set[str] = set()  # whose newest memo is not stored
        self._is_broken = False
        self._wrote_at = self._wrote_s = 0.0

    # -- taking ---------------------------------------------------------------------------------------------

    def take(self, settled: Iterable[Slot]) -> None:
        """Take settled slots; those that were stored before are reported at once."""
        if self._is_broken:
            return
        self._hear()
        hits: list[Slot] = []
        others: list[Slot] = []
        for slot in settled:
            if type(slot.value) is not Hit:
                self._enter(slot)
            elif slot.verdict is None:
                hits.append(slot)
            else:
                others.append(slot)
        if hits:
            self._report_hits(hits)
        if others:
            self._report(others)

    def _enter(self, slot: Slot) -> None:
        if not self._slots:
            self._since = time.monotonic()
        self._slots.append(slot)
        key = self._reading.key_of(slot.item)
        self._of.append(key)
        if not self._has_outcome(slot, key) or not is_text(key):
            return  # or it was refused for its key
        if key in self._entries:
            if slot.state == DONE and self._entries[key].kind == FAILURE:
                first = self._slots[self._of.index(key)]  # an equal item, whose value could not be stored
                share(slot, first)
                slot.state = first.state
            return
        if slot.state == DONE and not slot.attempts and key in self._known:
            return  # an equal item's too, written before
        entry = self._entry(slot, key)
        self._entries[key] = entry
        self._bytes += _size(entry)

    def _has_outcome(self, slot: Slot, key: str) -> bool:
        """Whether something has become of a slot: not if a stop kept it from that, or its task goes on."""
        verdict, is_of_a_stop = slot.verdict, _is_of_a_stop(slot)
        if key not in self._begun:
            return not is_of_a_stop
        self._begun.discard(key)
        troubles = slot.troubles
        if troubles is None or troubles.memo is None:
            if is_of_a_stop:
                self._withdrawn[key] = None
            return not is_of_a_stop
        # It has begun. By its memo it is asked about; if that is not stored, nobody knows what becomes of it.
        if key in self._unkept and verdict is not None and verdict.code in TASK_GOES_ON and not is_of_a_stop:
            troubles.verdict = replace(verdict, code="unknown_outcome")
        is_asked_about = key not in self._unkept and verdict is not None and verdict.kind == "stop"
        return not (is_of_a_stop or is_asked_about)

    def _entry(self, slot: Slot, key: str) -> Entry:
        kind, value, code, error = EMPTY, None, None, None
        if slot.state == DONE and slot.verdict is None:
            try:
                kind, value = as_stored(slot.value)
            except Exception as problem:  # a value that says no text of itself, in whatever way
                self._refuse(slot, TypeError(f"the value of {key!r} cannot be stored: {problem}"))
        if slot.state == FAILED:
            assert slot.verdict is not None
            kind, code = FAILURE, slot.verdict.code
            error = Failure(slot.value).message if isinstance(slot.value, BaseException) else code
            error = error.encode(errors="backslashreplace").decode()
        attempts = slot.attempts
        began = slot.began if attempts else slot.fed
        return Entry(
            key=key,
            index=slot.index,
            kind=kind,
            value=value,
            item=None if self._whole else item_text(slot.item, key),
            attempts=attempts,
            waited_s=began - slot.fed,
            ran_s=slot.ended - began if attempts else 0.0,
            code=code,
            error=error,
            at=time.time(),
        )

    def _refuse(self, slot: Slot, error: Exception) -> None:
        """Make a failure of a success whose value cannot be stored."""
        attempts = slot.attempts
        troubles = Troubles()
        troubles.attempts = attempts
        troubles.verdict = Verdict("permanent", self._code_if_refused)
        slot.troubles, slot.state, slot.value = troubles, FAILED, error

    def _hear(self) -> None:
        """Take memos in; before the outcomes of their tasks, which are told after them."""
        while self._pending:
            self._remember(*self._pending.popleft())

    def _remember(self, slot: Slot, verdict: Verdict) -> None:
        """Take what a task that is not ready leaves behind for the attempt that finds it."""
        for member in slot.members:
            self._unkept.add(self._reading.key_of(member.item))  # a bulk call's memo is of no single item
        if slot.members:
            return
        key = self._reading.key_of(slot.item)
        self._unkept.discard(key)
        try:
            memo = encode([verdict.memo, verdict.timeout])
        except Exception as error:  # whatever a value of the user's raises
            self._unkept.add(key)
            memo = encode([None, verdict.timeout])  # an older one is not of this task any more
            if self._last_memos.get(key) != memo:
                then = "does not know what became of it" if key in self._begun else "begins its task anew"
                _log.warning("the memo of %r is not stored, and the next run %s: %s", key, then, error)
        if self._last_memos.get(key) != memo:
            self._last_memos[key] = self._memos[key] = memo

    # -- writing --------------------------------------------------------------------------------------------

    def flush(self, *, awaited: bool = True, eager: bool = False) -> None:
        """Write what it is time to write, and report it; see ``gather``."""
        gathered = self.gather(awaited=awaited, eager=eager)
        while gathered is not None:
            again = self.settle(gathered, self.write(gathered))
            gathered = self.gather() if again else None

    def gather(self, *, awaited: bool = True, eager: bool = False) -> Gathered | None:
        """Take what it is time to write; None if there is nothing.

        Args:
            awaited: somebody waits for what was taken.
            eager: nobody may look again for long.
        """
        if self._is_broken:
            return None
        self._hear()
        ahead = self._to_write()
        # With what begins goes what has ended: after a kill, nobody would know of those writes either.
        if not (ahead or self._memos or (self._slots and (awaited or self._is_due(eager=eager)))):
            return None
        begun, self._withdrawn = self._withdrawn, {}
        for slot in ahead:
            key = self._reading.key_of(slot.item)
            begun[key] = slot.index, None if self._whole else item_text(slot.item, key)
            self._begun.add(key)
        gathered = Gathered(self._slots, self._of, self._entries, self._memos, begun, ahead)
        self._slots, self._of, self._entries, self._memos, self._bytes = [], [], {}, {}, 0
        return gathered

    def _is_due(self, *, eager: bool) -> bool:
        now = time.monotonic()
        return (
            self._bytes >= _MOST_BYTES
            or len(self._slots) >= _MOST_ENTRIES
            or now >= self._since + FLUSH_S
            # On a disk that is slow, writing must not take all the time there is.
            or (eager and now - self._wrote_at >= _REST * self._wrote_s)
        )

    def write(self, gathered: Gathered) -> Sequence[int | Exception | None]:
        """Write; the only part that may be done by another thread: it touches nothing that others look at."""
        if not gathered.entries and not gathered.memos and not gathered.begun:
            return ()
        began = time.monotonic()
        try:
            return self._ledger.write(list(gathered.entries.values()), gathered.memos, gathered.begun)
        except BaseException:
            self._is_broken = True
            raise
        finally:
            self._wrote_at = time.monotonic()
            self._wrote_s = self._wrote_at - began

    def settle(self, gathered: Gathered, written: Sequence[int | Exception | None]) -> bool:
        """Report what was written; whether there is something to write because of that."""
        entries, slots, keys = gathered.entries, gathered.slots, gathered.keys
        rows: dict[str, int] = {}
        refused: dict[str, Exception] = {}
        for key, row in zip(entries, written, strict=True):
            if row is None:
                continue
            if isinstance(row, int):
                rows[key] = row
                if self._repeats and entries[key].kind != FAILURE:
                    self._known[key] = row if entries[key].kind != EMPTY else self._ledger.known(row)
                self._last_memos.pop(key, None)
                self._unkept.discard(key)
            else:
                refused[key] = row
        if refused:
            slots = [slot for slot, key in zip(slots, keys, strict=True) if key not in refused]
        self._stored(slots)
        self._report(slots)
        self._admit(gathered.ahead)
        for slot, key in zip(gathered.slots, keys, strict=True):
            if key in refused:  # what is stored instead is that it failed
                self._refuse(slot, refused[key])
                self._enter(slot)
        if self._hold is not None:
            for slot, key in zip(gathered.slots, keys, strict=True):
                row = rows.get(key, self._known.get(key))
                if slot.state == DONE and slot.verdict is None and isinstance(row, int):
                    self._hold(slot.index, Row(row))
        return bool(refused)

    def close(self, end: dict[str, Any]) -> None:
        """Write what is left, and let others at the store."""
        try:
            self.flush()
        finally:
            self._ledger.close(end)


class _Keys(Sequence[str]):
    """The keys of items, made when they are read."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[str]:
        return map(key_of, self._items)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [key_of(item) for item in self._items[index]]
        return key_of(self._items[index])


def whole_keys(items: Sequence[Any], key: Callable[[Any], str] | None) -> Sequence[str]:
    """The keys of an input that is at hand; a key function of the user's is called here and now."""
    if key is not None:
        return [key(item) for item in items]
    return items if uniform_type(items) is str else _Keys(items)


def _is_of_a_stop(slot: Slot) -> bool:
    """Whether it was cancelled: there is nothing to be stored of it, except that a write may have arrived."""
    verdict = slot.verdict
    if verdict is None or slot.state != FAILED or verdict.kind != "stop":
        return False
    return not slot.attempts or verdict.code in ("cancelled", "deadline", "unavailable", "session")


def _size(entry: Entry) -> int:
    if entry.kind == FRAME:
        return int(entry.value.estimated_size())
    return 0 if entry.value is None else len(entry.value)


def may_repeat(items: Sequence[Any] | None, keys: Sequence[str] | None) -> bool:
    """Whether a key may come twice: what came of those that were fetched is kept in mind then."""
    if items is None or keys is None:
        return True
    if not isinstance(keys, _Keys):
        return len(set(keys)) < len(keys)
    if isinstance(items, range):
        return False
    if isinstance(items, Grid):
        return any(len(set(map(key_of, values))) < len(values) for values in items.axes.values())
    return len(set(keys)) < len(keys)


def item_text(item: Any, key: str) -> str | None:
    """The item as text; None if it is its key, and nothing if it has no text."""
    if type(item) is str and item == key:
        return None
    try:
        return encode(item)
    except Exception:  # whatever an item of the user's raises
        return ""
