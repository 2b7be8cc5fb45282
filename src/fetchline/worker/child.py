"""A worker process: its main loop.

The main thread makes the attempts; a listener thread reads the pipe, so that the end of the parent is noticed
at once and what has not begun can be given back while an item runs.

Frames to the child: ``I`` who the parent is; ``V`` logging levels; ``P`` a program; ``C`` a chunk of calls;
``A`` one call of a coroutine function, ``K`` cancel it; ``F`` a plain function call; ``G`` give back what has not
begun; ``X`` leave. Frames from it: ``R`` results of a chunk; ``U`` a chunk that did not load; ``A`` and ``F`` the
outcome of a call; ``B`` an ``A`` has begun; ``L`` a log record; ``S`` a session has been opened or closed.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import signal
import sys
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

from fetchline.errors import SessionFailed, Unpicklable, text_of
from fetchline.interfaces import Verdict, Worker
from fetchline.worker import sessions
from fetchline.worker.attempt import Program, open_sync
from fetchline.worker.context import Past
from fetchline.worker.logs import Forward, take_levels
from fetchline.worker.remote import failure
from fetchline.worker.shared import Parcel
from fetchline.worker.transport import Pipe, dump_error, dump_value, load, pack_value
from fetchline.worker.wide import Wide

__all__ = ["CELL_SIZE", "LEFT", "NONE_BEGUN", "NOT_TAKEN", "Cell", "RemoteCall", "main"]

CELL_SIZE = 16
NOT_TAKEN, NONE_BEGUN = -1, -2
LEFT = 75
"""The exit code of a process that could not close a session."""
_PARENT_CHECK_S = 2.0
_FLUSH_S = 0.05

Task = tuple[bytes, Any]
"""A frame to be worked on: its kind and its payload; None in its place is to leave."""


class Cell:
    """Two numbers that parent and child share: which call of the chunk has begun, and when.

    ``position`` is negative while none has: ``NOT_TAKEN`` until the process has taken the chunk, ``NONE_BEGUN``
    while it loads the chunk or packs results. The clock is the system's monotonic one, the same in all processes.
    """

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, CELL_SIZE)
        self._long = memoryview(self._map).cast("q")
        self._double = memoryview(self._map).cast("d")

    @property
    def position(self) -> int:
        return self._long[0]

    @property
    def began(self) -> float:
        return self._double[1]

    def set(self, position: int, began: float) -> None:
        self._double[1] = began
        self._long[0] = position

    def begin(self, began: float) -> None:
        self._double[1] = began

    def close(self) -> None:
        self._long.release()
        self._double.release()
        self._map.close()


class RemoteCall:
    """What a worker elsewhere is told of an item; the same face as the schedule's slot, and used again.

    Moving ``began`` moves it in the cell too: the parent holds a timeout against it.
    """

    __slots__ = ("_cell", "index", "item", "number", "troubles")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.index = 0
        self.item: Any = None
        self.number = 1
        self.troubles: Past | None = None

    @property
    def began(self) -> float:
        return self._cell.began

    @began.setter
    def began(self, began: float) -> None:
        self._cell.begin(began)


class Child:
    def __init__(self, pipe: Pipe, cell: Cell) -> None:
        self.pipe = pipe
        self.cell = cell
        self.tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.chunk = 0
        self.limit = 0
        self.position = 0
        self.first = 0
        self.values: list[Any] = []
        self.ended = array("d")
        self.odd: dict[int, tuple[bytes, Verdict]] = {}
        self.program: Program | None = None
        self.broken: BaseException | None = None
        self.shut_out = False  # the last failure was one of logging in
        self.make: Callable[[Any], Any] | None = None
        self.wide: Wide | None = None
        self.parent = os.getppid()

    # -- the listener ---------------------------------------------------------------------------------------

    def listen(self) -> None:
        try:
            while True:
                frame = self.pipe.receive(_PARENT_CHECK_S)
                if frame is None:
                    # Somebody the parent forked may hold its end of the pipe open: ask for the parent itself.
                    os.kill(self.parent, 0)
                    continue
                kind, payload, _ = frame
                if kind == b"G":
                    self.give_back(int(payload))
                elif kind == b"X":
                    self.put(None)
                else:
                    self.put((kind, payload))
        except (EOFError, OSError):
            os._exit(0)

    def put(self, task: Task | None) -> None:
        self.tasks.put(task)
        if self.wide is not None:
            self.wide.ring()

    def give_back(self, chunk: int) -> None:
        """Send what is finished, and hand back what has not begun, if that chunk is still in hand."""
        with self.lock:
            if chunk == self.chunk and self.position < self.limit:
                self.limit = self.position + 1
                self.flush(self.limit)

    # -- the main thread ------------------------------------------------------------------------------------

    def work(self) -> None:
        with Worker() as worker:
            worker.abandon = _abandon
            run = ExitStack()
            task = self.tasks.get()
            while task is not None:
                kind, payload = task
                if kind == b"A":
                    task = self.make_many(task, worker)
                    continue
                if kind == b"V":
                    take_levels(load(payload))
                elif kind == b"P":
                    run.close()
                    run = ExitStack()
                    self.take_program(payload, worker, run)
                elif kind == b"C":
                    self.make_chunk(payload)
                elif kind == b"F":
                    self.call(payload)
                task = self.tasks.get()
            run.close()

    def make_many(self, first: Task, worker: Worker) -> Task | None:
        """Make coroutine attempts side by side, until something else is to be done: that."""
        self.wide = Wide(self, worker)
        try:
            return self.wide.run(first)
        finally:
            self.wide = None

    def take_program(self, payload: bytes, worker: Worker, run: ExitStack) -> None:
        self.broken = None
        try:
            self.program = load(payload)
            self.make = open_sync(self.program, worker, run)
        except BaseException as error:  # every item of the run is told
            self.broken = Unpicklable(
                f"the function could not be loaded in the worker process: {type(error).__name__}: {text_of(error)}"
            )
            self.broken.__cause__ = error

    def make_chunk(self, payload: bytes) -> None:
        cell = self.cell
        cell.set(NONE_BEGUN, 0.0)
        try:
            chunk, indexes, items, odd = load(payload)
            size = len(items)
        except BaseException as error:  # an item that does not unpickle
            # The parent sends them again one by one to find out which.
            self.pipe.send(b"U", dump_error(error))
            return
        call = RemoteCall(cell)
        clock, lock, attempt = time.monotonic, self.lock, self.attempt
        now = flushed = clock()
        with lock:
            self.chunk, self.limit, self.first, self.position = chunk, size, 0, -1
        for position in range(size):
            call.index, call.item = indexes[position], items[position]
            if odd:
                call.number, call.troubles = 1, None
                if position in odd:
                    call.number, call.troubles = odd[position]
            with lock:
                if position >= self.limit:
                    break
                self.position = position
                cell.set(position, now)
                if now - flushed > _FLUSH_S:
                    self.flush(None)
                    flushed = now
            value, failed = attempt(call)
            now = clock()
            with lock:
                self.values.append(value)
                self.ended.append(now)
                if failed is not None:
                    self.odd[position] = failed
                    if self.shut_out:
                        self.limit = position + 1  # the rest of the chunk would knock as well
                    self.flush(self.limit if self.shut_out else None)  # it may stop the run
                    flushed = now
        with lock:
            self.position = size
            self.flush(None)

    def attempt(self, call: RemoteCall) -> tuple[Any, tuple[bytes, Verdict] | None]:
        if self.broken is not None:
            return None, (dump_error(self.broken), Verdict("permanent", "unpicklable"))
        assert self.program is not None and self.make is not None
        try:
            return self.make(call), None
        except BaseException as error:  # SystemExit in a fetch function is its item's
            self.shut_out = isinstance(error, SessionFailed)
            return None, failure(self.program, error, call)[1:]

    def flush(self, limit: int | None) -> None:
        """Send results since the last flush, and from where on the chunk is handed back; with the lock held.

        Meanwhile nothing has begun, as far as the parent can see: if a value takes the process down while it is
        pickled, the item in hand is not to blame.
        """
        if not self.values and limit is None:
            return
        running = self.cell.position
        self.cell.set(NONE_BEGUN, self.cell.began)
        parcel = self._pack(limit)
        # Before it is sent: then the parent may begin another chunk, and the cell is its own.
        self.cell.set(running, self.cell.began)
        self.pipe.send(b"R", *parcel)

    def _pack(self, limit: int | None) -> Parcel:
        values, ended, odd, first = self.values, self.ended, self.odd, self.first
        self.first += len(values)
        self.values, self.ended, self.odd = [], array("d"), {}
        try:
            return pack_value((self.chunk, first, values, ended.tobytes(), odd, limit))
        except BaseException:  # one of the values; find out which
            assert self.program is not None
            values = list(values)
            for offset, value in enumerate(values):
                try:
                    dump_value(value)
                except BaseException as error:
                    values[offset] = None
                    refused = Unpicklable(
                        f"the value, a {type(value).__qualname__}, cannot be sent back from the worker "
                        f"process: {type(error).__name__}: {text_of(error)}"
                    )
                    refused.__cause__ = error
                    odd[first + offset] = (dump_error(refused), self.program.judge.lost_value())
            return pack_value((self.chunk, first, values, ended.tobytes(), odd, limit))

    def call(self, payload: bytes) -> None:
        """A submitted function: the pool as a plain executor."""
        try:
            function, args, kwargs = load(payload)
            answer = (True, function(*args, **kwargs))
            out = pack_value(answer)
        except BaseException as error:  # a future carries whatever was raised
            out = pack_value((False, dump_error(error)))
        self.pipe.send(b"F", *out)


def _abandon() -> None:
    """The main thread is stuck in closing a session: the parent starts another process."""
    os._exit(LEFT)


def _end_with_the_parent(lifeline: int) -> None:
    """Have the kernel end this process when the parent's end of a pipe is gone.

    The listener sees that too, but not while the function holds the interpreter's lock in C code.
    """
    try:
        # Opened anew: whom a descriptor's signals go to is shared by all that it was copied to.
        own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    except OSError:
        pass  # no /proc: the listener has to do
    os.close(lifeline)


def main(fd: int, cell_fd: int, lifeline: int) -> None:
    """Live as a worker process on the given socket until told to leave or the parent is gone."""
    import socket

    _end_with_the_parent(lifeline)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Pipe(socket.socket(fileno=fd))
    cell = Cell(cell_fd)
    os.close(cell_fd)
    frame = pipe.receive()
    assert frame is not None and frame[0] == b"I"
    about = load(frame[1])
    child = Child(pipe, cell)
    logging.getLogger().addHandler(Forward(lambda record: pipe.send(b"L", record)))
    take_levels(about["levels"])
    sessions.report = lambda sign, token: pipe.send(b"S", f"{sign}{token}".encode())
    child.parent = about["pid"]
    sys.path[:] = about["path"]
    os.environ.clear()
    os.environ.update(about["environ"])
    try:
        os.chdir(about["cwd"])
    except OSError:
        pass  # the parent's folder has gone; so has everything relative to it
    threading.Thread(target=child.listen, name="fetchline-listener", daemon=True).start()
    try:
        child.work()
    except (EOFError, OSError):
        os._exit(0)
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            pass
