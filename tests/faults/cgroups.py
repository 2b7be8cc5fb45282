"""A limit on memory that the kernel's OOM killer enforces, where this machine lets us set one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Unavailable", "kills", "limited"]

_LIMIT = 64 << 20


class Unavailable(Exception):
    """No such limit can be set here; the text says why."""


@contextlib.contextmanager
def limited() -> Iterator[Path]:
    """Make a cgroup v2 folder that may hold 64 MB, to be joined by writing to its ``cgroup.procs``."""
    group = _parent() / f"fetchline-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise Unavailable(f"no cgroup may be made: {error}") from error
    try:
        try:
            (group / "memory.max").write_text(str(_LIMIT))
            (group / "memory.swap.max").write_text("0")
        except OSError as error:
            raise Unavailable(f"no limit may be set: {error}") from error
        yield group
    finally:
        group.rmdir()


def kills(group: Path) -> int:
    """How many processes the OOM killer has ended there."""
    events = dict(line.split() for line in (group / "memory.events").read_text().splitlines())
    return int(events["oom_kill"])


def _parent() -> Path:
    """The nearest folder above this process whose children have the memory controller."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    tops = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    groups = Path("/proc/self/cgroup").read_text().splitlines()
    mine = next((line.removeprefix("0::/") for line in groups if line.startswith("0::/")), "")
    for place in [top / mine for top in tops]:
        for folder in (place, *place.parents):
            control = folder / "cgroup.subtree_control"
            if control.exists() and "memory" in control.read_text().split():
                return folder
    raise Unavailable("there is no cgroup v2 with the memory controller")
