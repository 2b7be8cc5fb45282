"""Who may write: one run at a time, in whatever process, on whatever machine.

The owner's mark is an object with a number, created exclusively, and written again from time to time. Whoever finds
one of a dead process of this machine, or one that nobody has written for a while, creates the next number. This is
for the sake of a clear refusal; what keeps an owner that was taken over from writing is the log: see ``Journal``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from fetchline.errors import StoreBusy
from fetchline.interfaces import ObjectStore

__all__ = ["BEAT_S", "STALE_S", "Owner", "is_dead", "is_owned", "who"]

BEAT_S = 10.0
STALE_S = 30.0
_LEAVE_S = 5.0  # a sign of life that is on its way may be slow; one that comes too late goes stale
_FOLDER = "owner/"
_log = logging.getLogger("fetchline")
_here: set[str] = set()  # the owners of this process


class Owner:
    """The one that may write, until ``release``.

    Raises:
        StoreBusy: there is another one; process, machine and run are named.
    """

    def __init__(self, objects: ObjectStore, run: str) -> None:
        self._objects = objects
        self._id = uuid.uuid4().hex
        self._said = {**who(), "id": self._id, "run": run, "since": time.time()}
        _here.add(self._id)
        try:
            self.name = self._acquire()
        except BaseException:
            _here.discard(self._id)
            raise
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="fetchline-store-owner", daemon=True)
        self._thread.start()

    def _acquire(self) -> str:
        while True:
            found = self._marks()
            last = found[-1] if found else None
            if last is not None:
                self._refuse_if_alive(last)
            name = f"{_FOLDER}{(_number(last) or 0) + 1 if last else 1:08d}"
            if self._objects.create(name, self._text()):
                for old in found:
                    self._objects.delete(old)
                return name

    def _marks(self) -> list[str]:
        """The marks there are, the newest one last; what looked at them and was killed is swept up."""
        there = list(self._objects.list(_FOLDER))
        for one in there:
            if _number(one.name) is None and one.age_s > STALE_S > 0:
                self._objects.delete(one.name)
        return sorted(one.name for one in there if _number(one.name) is not None)

    def _refuse_if_alive(self, name: str) -> None:
        try:
            other = json.loads(self._objects.get(name))
        except FileNotFoundError:  # released just now
            return
        except ValueError:
            other = {}
        if not is_dead(other) and self._age(name) < STALE_S:
            someone = f"process {other['pid']} on {other['host']}" if "pid" in other else "somebody unknown"
            if other.get("pid") == os.getpid() and other.get("host") == platform.node():
                someone += ", which is this one,"
            raise StoreBusy(
                f"{self._objects.url} is in use by {someone}, since {_ago(other.get('since'))}: wait for it, or "
                "end it"
            )

    def _age(self, name: str) -> float:
        """Seconds since that owner was last seen, by the clock of whoever keeps the objects."""
        probe = f"{_FOLDER}look-{uuid.uuid4().hex}"
        self._objects.put(probe, b"")
        try:
            ages = {one.name: one.age_s for one in self._objects.list(_FOLDER)}
        finally:
            self._objects.delete(probe)
        return ages[name] - ages.get(probe, 0.0) if name in ages else STALE_S

    def _text(self) -> bytes:
        return json.dumps(self._said).encode()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                if self._marks()[-1:] > [self.name]:  # it was taken over; its next step will find that out
                    return
                self._objects.put(self.name, self._text())
            except Exception as error:  # the log is what counts
                _log.warning("%s: the sign of life was not written: %s", self._objects.url, error)

    def release(self) -> None:
        """Let others write."""
        self._ended.set()
        self._thread.join(_LEAVE_S)
        _here.discard(self._id)
        try:
            self._objects.delete(self.name)
        except OSError as error:
            _log.warning(
                "%s: the owner's mark %s stays, and is taken over by the next run: %s",
                self._objects.url,
                self.name,
                error,
            )


def is_owned(objects: ObjectStore) -> bool:
    """Whether somebody seems to be at it: told from this machine's clock, and of this machine's processes."""
    found = sorted((one.name, one.age_s) for one in objects.list(_FOLDER) if _number(one.name) is not None)
    if not found:
        return False
    name, age_s = found[-1]
    try:
        return age_s < STALE_S and not is_dead(json.loads(objects.get(name)))
    except (FileNotFoundError, ValueError):
        return False


def _number(name: str) -> int | None:
    digits = name.removeprefix(_FOLDER)
    return int(digits) if digits.isdigit() else None


def who() -> dict[str, Any]:
    """This process, so that it can be told from others, dead ones too."""
    pid = os.getpid()
    return {"pid": pid, "host": platform.node(), "boot": _boot(), "born": _born(pid)}


def is_dead(other: dict[str, Any]) -> bool:
    """Whether it is known to be of a process of this machine that is gone, be it that its number is another's now.

    Or of this one, which could not take its mark away when it had done: the disk had failed.
    """
    if other.get("host") != platform.node():
        return False
    if other.get("boot") != _boot():
        return True
    if other.get("pid") == os.getpid() and "id" in other:
        return other["id"] not in _here
    if other.get("born") is not None:
        return bool(_born(other["pid"]) != other["born"])
    if os.name == "posix":
        try:
            os.kill(other["pid"], 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is another user's
            return False
    return False


def _boot() -> str | None:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def _born(pid: int) -> str | None:
    """When a process began, in the clock ticks of Linux; None if it is gone, or that cannot be known here."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _ago(since: Any) -> str:
    if not isinstance(since, int | float):
        return "some time ago"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))
