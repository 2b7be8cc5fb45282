"""How much memory a value takes, nearly; and amounts of memory as people write them."""

from __future__ import annotations

import re
import sys
from typing import Any

__all__ = ["parse_size", "size_of"]

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*")
_SAMPLE = 16


def size_of(value: Any) -> int:
    """Estimate the bytes a value holds: of a frame or array its buffers, of a container what is in it.

    Long containers are reckoned by their first few entries.

    >>> size_of(b"12345678") > 8
    True
    """
    estimated = getattr(value, "estimated_size", None)
    if callable(estimated):  # polars
        return int(estimated())
    if isinstance(
        nbytes := getattr(value, "nbytes", None), int
    ):  # numpy, pyarrow, pandas' series, memoryview
        return nbytes
    if isinstance(value, dict):
        return sys.getsizeof(value) + _all([*value.values()][:_SAMPLE], len(value))
    if isinstance(value, list | tuple | set | frozenset):
        sample = value[:_SAMPLE] if isinstance(value, list | tuple) else [*value][:_SAMPLE]
        return sys.getsizeof(value) + _all(sample, len(value))
    return sys.getsizeof(value)


def _all(sample: Any, count: int) -> int:
    return sum(map(size_of, sample)) * count // len(sample) if sample else 0


def parse_size(text: str) -> int:
    """Read an amount of memory: bytes.

    Raises:
        ValueError: it is not a number and a unit.

    >>> parse_size("1.5 GB"), parse_size("64MiB")
    (1500000000, 67108864)
    """
    match = _SIZE.fullmatch(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if size < 1:
        raise ValueError(f"an amount of memory is written like '500MB' or '2GiB', not {text!r}")
    return size
