"""Damage of any kind is seen, or does no harm; and what it took is fetched again. Never is there another row."""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chores
import pytest
from chores import ITEMS, Notes, fetcher_of
from dicts import Dict, Killed, held_in

import fetchline as fl
from fetchline import keeping
from fetchline.drive import host
from fetchline.journal.reading import read_standing

Held = dict[str, tuple[bytes, float]]
QUIET: dict[str, Any] = {"progress": None, "executor": "serial"}
COUNT = 2000 if os.environ.get("FETCHLINE_LONG") else 340  # for each of three stores


@pytest.fixture(autouse=True)
def is_quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The chores write as often as suits them; others in this process are not to.
    for module, name in ((keeping, "_MOST_ENTRIES"), (keeping, "FLUSH_S"), (host, "_BURST_S")):
        monkeypatch.setattr(module, name, getattr(module, name))
    log = logging.getLogger("fetchline")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


def _stores(tmp_path: Path) -> dict[str, Held]:
    """Finished ones, of small files and compacted; and one whose writer was killed while it gave names."""
    notes = Notes(tmp_path / "made")
    chores.in_parts(tmp_path / "parts", notes)
    chores.in_parts(tmp_path / "compacted", notes)
    fl.compact(tmp_path / "compacted")
    killed: Held = {}
    lives = 0
    while not read_standing(Dict(killed)).staged:
        killed, lives = {}, lives + 1
        with contextlib.suppress(Killed):
            for count in (6, 12):
                store = Dict(killed, lives if count == 12 else None)
                fl.run(fetcher_of(notes), ITEMS[:count], store=store, **QUIET)
    return {
        "parts": held_in(tmp_path / "parts"),
        "compacted": held_in(tmp_path / "compacted"),
        "killed": {name: one for name, one in killed.items() if not name.startswith("owner/")},
    }


def _damage(held: Held, random: random.Random) -> tuple[str, Held]:
    """Flip a bit, or cut a file, or lose it; what was done.

    The newest record is not lost where its values have no names yet: that is what a step that has not happened looks
    like, and nobody can tell.
    """
    name = random.choice(sorted(held))
    data, at = held[name]
    what = random.choices(["a bit of", "a cut of", "without"], [8, 1, 1])[0]
    if any(other.startswith("staged/") for other in held) and name == max(n for n in held if n[:4] == "log/"):
        what = "a bit of"
    if what == "without":
        return f"{what} {name}", {other: one for other, one in held.items() if other != name}
    if what == "a cut of":
        return f"{what} {name}", {**held, name: (data[: random.randrange(len(data))], at)}
    body = bytearray(data)
    bit = random.randrange(len(body) * 8)
    body[bit // 8] ^= 1 << bit % 8
    return f"{what} {name}: {bit}", {**held, name: (bytes(body), at)}


def _read(held: Held, notes: Notes) -> Any:
    """Everything that a user may see of a store; the name of the error, if it is one of fetchline's."""
    try:
        batch = fl.open_run(Dict(held), fetcher_of(notes))
        seen = [(one.key, one.index, one.item, one.status, one.attempts) for one in batch]
        return batch.frame().to_dicts(), seen, [one.message for one in batch.failures]
    except fl.StoreError as error:
        return type(error).__name__


@pytest.mark.parametrize("kind", ["parts", "compacted", "killed"])
def test_no_damage_gives_another_row(kind: str, tmp_path: Path) -> None:
    held = _stores(tmp_path)[kind]
    expected = _read(held, Notes(tmp_path / "n"))
    assert isinstance(expected, tuple)
    whole = (
        fl.run(fetcher_of(Notes(tmp_path / "n")), ITEMS, store=Dict(dict(held)), **QUIET).frame().to_dicts()
    )
    chance = random.Random(f"damage of {kind}")
    classes: Counter[str] = Counter()
    for number in range(COUNT):
        what, damaged = _damage(held, chance)
        notes = Notes(tmp_path / f"n{number}")
        found = fl.verify(Dict(damaged))
        seen = _read(damaged, notes)
        if isinstance(seen, str):
            classes["refused"] += 1
            assert found, f"{what}: {seen}, and verify says nothing"
        else:
            classes["said by verify" if found else "harmless"] += 1
            assert seen == expected, what
        fl.verify(Dict(damaged), repair=True)
        assert fl.verify(Dict(damaged)) == {}, what
        batch = fl.run(fetcher_of(notes), ITEMS, store=Dict(damaged), **QUIET)
        assert batch.frame().to_dicts() == whole, what
        assert fl.verify(Dict(damaged)) == {}, what
        assert _read(damaged, notes)[0] == whole, what
    print(f"{kind}: {dict(classes)}")
    # Harmless are a few bits of what only people read, and the last record, which says how the run ended.
    assert classes["refused"] > COUNT * 0.8, classes
