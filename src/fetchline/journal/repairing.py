"""Every file of a store, looked at; and what is damaged, put aside."""

from __future__ import annotations

from fetchline.errors import StoreError
from fetchline.interfaces import ObjectStore
from fetchline.journal.asked import asked_of
from fetchline.journal.entries import FAILURE, Begun
from fetchline.journal.journal import Journal, as_store_failed, put_identity
from fetchline.journal.reading import IDENTITY, Standing, read_standing
from fetchline.journal.records import Broken
from fetchline.journal.segments import checked

__all__ = ["check", "put_right"]

_ASIDE = "damaged/"


def check(objects: ObjectStore) -> dict[str, str]:
    """Read every file; what is wrong, by name.

    Raises:
        StoreError: there is something else at that place, or it could not be read.
    """
    with as_store_failed(objects):
        standing = read_standing(objects)
        return _problems(objects, standing)


def _problems(objects: ObjectStore, standing: Standing) -> dict[str, str]:
    problems = dict(standing.problems)
    staged = {segment.name for segment in standing.staged}
    for segment in standing.segments:
        if segment.name in problems:
            continue
        try:
            checked(segment, objects.get(segment.staged if segment.name in staged else segment.name))
        except Broken as error:
            problems[segment.name] = str(error)
        except FileNotFoundError:
            problems[segment.name] = "is missing"
    return dict(sorted(problems.items()))


def put_right(objects: ObjectStore) -> dict[str, str]:
    """Put aside what is damaged; what was in it is not stored any more.

    Raises:
        StoreError: a run is at it, or it could not be read or written; or it is of writes, and nothing says any more
            which they were.
    """
    journal = Journal(objects, "repair", as_it_is=True)
    try:
        with as_store_failed(objects):
            standing = journal.standing
            problems = _problems(objects, standing)
            if not problems:
                return problems
            if standing.is_of_writes and any(name.startswith("log/") for name in problems):
                _doubt_writes(objects, standing)
            journal.without(frozenset(problems))
            for name in problems:
                try:
                    objects.rename(name, _ASIDE + name.replace("/", "-"))
                except FileNotFoundError:
                    continue
            if IDENTITY in problems and standing.runs:
                put_identity(objects, standing.runs[-1]["identity"])
            return problems
    finally:
        journal.close()


def _doubt_writes(objects: ObjectStore, standing: Standing) -> None:
    """What was in a damaged record may have been that a write has arrived, whatever older ones say of it."""
    asked = asked_of(objects, standing)
    if asked is None:
        raise StoreError(
            f"{objects.url} is of writes, and of its log a part is damaged: nothing says any more what was sent. "
            "Keep it to look at, and give another store what you know was not"
        )
    entries = standing.entries
    done = set(entries.filter(entries["kind"] < FAILURE)["key"]) | standing.memos.keys()
    # That of a run may be the damaged one; then there are outcomes of what it was asked for.
    keys = dict.fromkeys([*asked["key"].to_list(), *entries["key"].to_list()])
    lost: dict[str, Begun] = {key: (index, None) for index, key in enumerate(keys) if key not in done}
    standing.lose(lost, "a damaged record of the store may have told of this write")
