"""Records of a run's log: a line of JSON, a table of Arrow, and the digest of both.

The digest is BLAKE2b (RFC 7693), 32 bytes: any flipped bit and any cut is seen.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fetchline.errors import StoreTooNew

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FORMAT", "Broken", "Record", "digest_of", "seal", "unseal"]

FORMAT = 1
_DIGEST = 32


class Broken(Exception):
    """An object that is not what was written."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: ``head`` says what it is, ``table`` has a row for each item it tells of."""

    head: dict[str, Any]
    table: pl.DataFrame | None = None


def digest_of(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST).hexdigest()


def seal(record: Record) -> bytes:
    """Give the bytes of a record."""
    head = json.dumps({"format": FORMAT, **record.head}, ensure_ascii=False, separators=(",", ":"))
    body = io.BytesIO()
    body.write(head.encode() + b"\n")
    if record.table is not None:
        record.table.write_ipc_stream(body, compression="lz4")
    content = body.getvalue()
    return content + hashlib.blake2b(content, digest_size=_DIGEST).digest()


def unseal(name: str, data: bytes) -> Record:
    """Read the bytes of a record.

    Raises:
        Broken: these are not the bytes that were written.
        StoreTooNew: a newer fetchline wrote them.
    """
    import polars as pl

    content, digest = data[:-_DIGEST], data[-_DIGEST:]
    if len(data) <= _DIGEST or hashlib.blake2b(content, digest_size=_DIGEST).digest() != digest:
        raise Broken("is not what was written")
    line, _, table = content.partition(b"\n")
    head = json.loads(line)
    if head["format"] > FORMAT:
        raise StoreTooNew(
            f"{name} was written by a newer fetchline, in format {head['format']}; this one knows {FORMAT}"
        )
    return Record(head, pl.read_ipc_stream(io.BytesIO(table)) if table else None)
