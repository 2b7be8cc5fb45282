"""What the tests of writes (`idempotent=False`) and stores share."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fetchline as fl
from fetchline.journal.reading import read_standing
from fetchline.stores import objects_of

__all__ = [
    "QUIET",
    "SERIAL",
    "Opaque",
    "as_killed_now",
    "begun_in",
    "codes",
    "flip_last_bit",
    "killed_in_b",
    "stopped_when",
    "write",
]

QUIET: dict[str, Any] = {"progress": None}
SERIAL: dict[str, Any] = {**QUIET, "executor": "serial"}


class Opaque:
    """What JSON cannot say."""


def codes(batch: fl.Batch[Any]) -> dict[str, str]:
    return {failure.key: failure.error_code for failure in batch.failures}


def begun_in(store: Path) -> set[str]:
    """What the store says is under way."""
    return set(read_standing(objects_of(store)).begun)


def as_killed_now(store: Path, to: Path) -> Path:
    """The store as it would be, were its process killed at this moment, at which it writes nothing."""
    shutil.copytree(store, to)
    shutil.rmtree(to / "owner")
    return to


def write(send: Callable[..., Any], **policies: Any) -> fl.Fetcher[..., Any, Any]:
    return fl.Fetcher.of(send, "send", idempotent=False, **policies)


def killed_in_b(tmp_path: Path) -> Path:
    """The store of a run that was killed while it sent ``b``."""

    def send(key: str) -> str:
        if key == "b":
            as_killed_now(tmp_path / "run", tmp_path / "killed")
        return key

    fl.run(write(send), ["a", "b", "c"], store=tmp_path / "run", **SERIAL)
    return tmp_path / "killed"


def stopped_when(
    reached: threading.Event,
    fetcher: fl.Fetcher[..., Any, Any],
    items: list[str],
    store: Path,
    **options: Any,
) -> fl.Batch[Any]:
    """What a run had come to that was cancelled when something was reached."""
    job = fl.submit(fetcher, items, store=store, **{**QUIET, **options})
    assert reached.wait(20)
    job.cancel()
    with pytest.raises(fl.BatchError) as stopped:
        job.result()
    return stopped.value.batch


def flip_last_bit(file: Path) -> None:
    body = file.read_bytes()
    file.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
