"""What a run was asked for: the keys of all its items, and the items themselves, so that it can be gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from fetchline.interfaces import ObjectStore
from fetchline.journal.reading import Standing, log_name
from fetchline.journal.records import unseal

if TYPE_CHECKING:
    import polars as pl

__all__ = ["asked_of", "digest_of", "table_of_asked"]

T = TypeVar("T")


def asked_of(objects: ObjectStore, standing: Standing) -> pl.DataFrame | None:
    """The keys and items of the last run, in their order; None if they came from an iterator.

    An item is null if it is its key, and empty if it has no text.
    """
    if standing.asked is None:
        return None
    name = log_name(standing.asked)
    record = unseal(name, objects.get(name))
    table = record.table
    if table is not None and record.head.get("items") == "int":
        table = table.with_columns(item="key")
    return table


def digest_of(keys: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for some in _some(keys):
        digest.update("\n".join(some).encode())
    return digest.hexdigest()


def table_of_asked(keys: Iterable[str], items: Iterable[str | None] | None) -> pl.DataFrame:
    """The table of what is asked for, made in pieces: there may be millions."""
    import polars as pl

    columns = [_column("key", keys)]
    if items is not None:
        columns.append(_column("item", items))
    return pl.DataFrame(columns)


def _column(name: str, texts: Iterable[str | None]) -> pl.Series:
    import polars as pl

    empty = pl.Series(name, [], dtype=pl.String)
    return pl.concat([empty, *(pl.Series(name, some, dtype=pl.String) for some in _some(texts))])


def _some(things: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(things)
    while some := list(islice(iterator, 1 << 16)):
        yield some
