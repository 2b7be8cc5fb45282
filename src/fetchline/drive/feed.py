"""Items from the caller's iterable into a source, and what is checked of each on the way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import copy_context
from typing import Any

from fetchline.drive.gates import LoopGate, ThreadGate
from fetchline.drive.interrupts import Interrupts
from fetchline.drive.source import Source
from fetchline.items import key_of

__all__ = ["Intake", "KeyCheck"]

_BITE = 256
_END: Any = object()


class KeyCheck:
    """Refuse equal keys of unequal items, and items that have no key.

    Args:
        key: the run's key function; None is the canonical key.
        remember: how many keys are kept; the oldest are forgotten, so that streams do not grow.
    """

    __slots__ = ("_key", "_plain", "_recent", "_remember", "_seen")

    def __init__(self, key: Callable[[Any], str] | None, *, remember: int | None = None) -> None:
        self._key = key
        self._remember = remember
        self._seen: dict[str, Any] = {}
        # While all items are str, or all are int, equal keys mean equal items: to keep them is enough.
        self._plain: type | None = None
        self._recent: deque[Any] = deque(maxlen=remember)

    def keyed(self, item: Any) -> tuple[str, Any]:
        """The same; the item with its key."""
        self(item)
        return key_of(item) if self._key is None else self._key(item), item

    def __call__(self, item: Any) -> Any:
        kind = item.__class__
        if kind is self._plain:
            self._recent.append(item)
            return item
        if self._key is None and self._plain is None and not self._seen and (kind is str or kind is int):
            self._plain = kind
            self._recent.append(item)
            return item
        if self._plain is not None:
            self._plain = None
            self._seen.update((key_of(one), one) for one in self._recent)
            self._recent.clear()
        key = key_of(item) if self._key is None else self._key(item)
        if not isinstance(key, str):
            raise TypeError(f"key= must give a str; for {item!r} it gave {key!r}")
        seen = self._seen
        held = seen.setdefault(key, item)
        if held is not item and not _same(held, item):
            raise ValueError(
                f"two different items have the key {key!r}: {held!r} and {item!r}; give them different keys "
                "with key="
            )
        if self._remember is not None:
            seen[key] = seen.pop(key)  # the one seen last is forgotten last
            if len(seen) > self._remember:
                del seen[next(iter(seen))]
        return item


def _same(one: Any, two: Any) -> bool:
    try:
        return type(one) is type(two) and bool(one == two)
    except Exception:  # arrays and frames do not compare to one bool
        return False


class Intake:
    """The iterable of a run, drawn from wherever it must be.

    ``error`` is what the iterable raised, if it did; ``asynchronous`` says whether it is an async one.
    """

    def __init__(self, source: Source, items: Any, check: Callable[[Any], Any]) -> None:
        self._source = source
        self._items = items
        self._check = check
        self.error: BaseException | None = None
        self.ended = False
        self.asynchronous = hasattr(items, "__aiter__")
        self._iterator: Iterator[Any] | None = None

    def some(self, signals: Interrupts | None = None, most: int = _BITE) -> bool:
        """Draw some items in this thread, as many as are welcome; whether the input goes on.

        Args:
            signals: those of the host, which draws itself: raise Ctrl-C while the user's iterator is at work, and
                nowhere else, since an item that has been taken must not be lost.
            most: how many items at once.
        """
        source = self._source
        try:
            if self._iterator is None:
                self._iterator = iter(self._items)
            for _ in range(min(source.room(), most)):
                if signals is not None:
                    if source.schedule.wants_writing:
                        break  # the host draws, and nobody else writes
                    signals.raising = True
                item = next(self._iterator, _END)
                if signals is not None:
                    signals.raising = False
                if item is _END:
                    self.end(None)
                    break
                source.put(self._check(item))
        except Exception as error:  # whatever the user's iterable raises
            self.end(error)
        else:
            source.poke()
        return not self.ended

    def let_go(self) -> None:
        """Forget the iterable, on the thread that drew it: that closes a generator which nobody else holds."""
        self._iterator, self._items = None, ()

    def end(self, error: BaseException | None) -> None:
        self.error = error
        self.ended = True
        self._source.close_input()

    def in_thread(self) -> None:
        """Draw in one feeder thread, in a copy of the caller's context."""
        context = copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._feed,), name="fetchline-feeder", daemon=True
        )
        thread.start()

    def _feed(self) -> None:
        gate = ThreadGate()
        try:
            while not self.ended and self._room(gate):
                self.some()
        except BaseException as error:  # a feeder that dies silently would end a stream early
            self.end(error)
        finally:
            self.let_go()

    def _room(self, gate: ThreadGate) -> int:
        """Wait until there is room; 0 when the run stops."""
        while (room := self._source.room_or_ring(gate)) == 0:
            gate.wait()
        return room or 0

    async def on_loop(self, gate: LoopGate) -> None:
        """Draw from an async iterable, as one task of the caller's loop."""
        source = self._source
        try:
            items: AsyncIterator[Any] = aiter(self._items)
            self._items = ()
            while True:
                while (room := source.room_or_ring(gate)) == 0:
                    await gate.wait()
                if room is None:
                    return
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    self.end(None)
                    return
                source.put(self._check(item))
        except BaseException as error:  # whatever the user's iterable raises, a CancelledError of its own too
            self.end(error)
            if source.schedule.stopping is not None:
                raise
