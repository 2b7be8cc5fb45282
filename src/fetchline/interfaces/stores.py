"""Stores: the protocol, and the record that announces one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["ObjectStore", "StoreSpec", "StoredObject"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of an ``ObjectStore``: its name, its size in bytes, and seconds since it was written."""

    name: str
    size: int
    age_s: float


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under names: a directory, a bucket's prefix, a dict.

    Names are relative and have ``/`` between their parts. An object is whole or not there: nobody ever sees a part
    of one, whatever is killed when. What a method that returned has done survives a crash of the machine. Failures of
    the system are an ``OSError``. Methods may be called from any thread.

    Attributes:
        url: where it is, for people and for polars.
        storage_options: what polars needs to read there; None if it cannot.
    """

    url: str
    storage_options: Mapping[str, str] | None

    def put(self, name: str, data: bytes) -> None:
        """Write an object, in place of one of that name."""

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one of that name; whether it was written. Of several at once, one wins."""

    def get(self, name: str) -> bytes:
        """Read an object.

        Raises:
            FileNotFoundError: there is none of that name.
        """

    def rename(self, name: str, to: str) -> None:
        """Give an object another name, in place of one of that name. Interrupted, it has one of them, or both.

        Raises:
            FileNotFoundError: there is none of that name.
        """

    def delete(self, name: str) -> None:
        """Take an object away, if there is one."""

    def list(self, prefix: str = "") -> Iterable[StoredObject]:
        """Every object whose name begins with ``prefix``, in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec:
    """A kind of store by name.

    Attributes:
        name: what a user writes, ``store=fetchline.use("name", ...)``.
        factory: ``factory(where, **options)`` gives an ``ObjectStore``; ``where`` is the path or the whole URL.
        schemes: URL schemes it answers to: ``store="s3://..."``.
        summary: one line for ``fetchline plugins``.
    """

    name: str
    factory: Callable[..., ObjectStore]
    schemes: Sequence[str] = ()
    summary: str = ""
