"""Every file of a store, looked at; and what is damaged, put aside."""

from __future__ import annotations

from fetchline.interfaces import ObjectStore
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
        StoreError: a run is at it, or it could not be read or written.
    """
    journal = Journal(objects, "repair", as_it_is=True)
    try:
        with as_store_failed(objects):
            standing = journal.standing
            problems = _problems(objects, standing)
            if not problems:
                return problems
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
