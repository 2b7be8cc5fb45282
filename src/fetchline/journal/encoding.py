"""Values that are not frames, as text: JSON, with a tag for what JSON has no word for. Nothing here runs code.

A tag is an object with the one entry ``$type``, and its value beside it: ``{"$date": "2024-01-31"}``. What comes back
is equal to what was stored, but for this: dataclasses and pydantic models come back as dicts of their fields, named
tuples as tuples, enumerations and numbers of numpy's as the plain values they stand for.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from fetchline.items import Args
from fetchline.periods import Period

__all__ = ["decode", "encode", "is_text"]

_PLAIN = (str, int, bool, type(None))
_as_it_is = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_escaped = json.JSONEncoder(separators=(",", ":")).encode


def encode(value: Any) -> str:
    """Give the text of a value.

    Raises:
        TypeError: there is something in it that no text is known for; its type is named.

    >>> encode({"day": date(2024, 1, 31), "close": [9.5, None]})
    '{"day":{"$date":"2024-01-31"},"close":[9.5,null]}'
    """
    kind = type(value)
    if kind is int:  # as most small values and items are
        return int.__repr__(value)
    if kind not in _PLAIN:
        value = _to_json(value)
    text = _as_it_is(value)
    return text if is_text(text) else _escaped(value)


def is_text(text: str) -> bool:
    """Whether this is Unicode: half a surrogate pair, as in the names of some files, is not."""
    try:
        return text.isascii() or bool(text.encode()) or not text
    except UnicodeEncodeError:
        return False


def decode(text: str) -> Any:
    """Give the value of a text.

    >>> decode('{"$date":"2024-01-31"}')
    datetime.date(2024, 1, 31)
    """
    return _from_json(json.loads(text))


def _to_json(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is list:
        return [_to_json(one) for one in value]
    if kind is dict:
        if all(type(name) is str and not name.startswith("$") for name in value):
            return {name: _to_json(one) for name, one in value.items()}
        return {"$dict": [[_to_json(name), _to_json(one)] for name, one in value.items()]}
    return _other_to_json(value)


def _other_to_json(value: Any) -> Any:
    for kind, (tag, to_text, _) in _TAGS.items():
        if isinstance(value, kind):
            return {tag: to_text(value)}
    if isinstance(value, Enum):
        return _to_json(value.value)
    if isinstance(value, Mapping):
        return _to_json(dict(value))
    if isinstance(value, list):
        return _to_json(list(value))
    for base in (bool, int, float, str):
        if isinstance(value, base):
            return _to_json(base(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((one.name, getattr(value, one.name)) for one in dataclasses.fields(value))
        return {name: _to_json(one) for name, one in fields}
    dump = getattr(value, "model_dump", None)  # pydantic's
    if callable(dump) and not isinstance(value, type):
        return _to_json(dump())
    return _foreign_to_json(value)


def _foreign_to_json(value: Any) -> Any:
    """Columns of polars', scalars of numpy's; neither is imported here."""
    home = type(value).__module__.partition(".")[0]
    if home == "polars" and type(value).__name__ in ("DataFrame", "Series"):
        frame = value if type(value).__name__ == "DataFrame" else value.to_frame()
        body = io.BytesIO()
        frame.write_ipc(body)
        return {f"${type(value).__name__}": base64.b64encode(body.getvalue()).decode()}
    if home == "numpy" and getattr(value, "shape", None) == ():
        return _to_json(value.item())
    raise TypeError(
        f"a value of type {type(value).__qualname__} cannot be stored: return a frame, bytes, or what JSON, dates, "
        "decimals, tuples and dataclasses can say"
    )


def _from_json(value: Any) -> Any:
    if type(value) is list:
        return [_from_json(one) for one in value]
    if type(value) is not dict:
        return value
    if len(value) == 1:
        ((name, inside),) = value.items()
        if name in _FROM_TAG:
            return _FROM_TAG[name](inside)
    return {name: _from_json(one) for name, one in value.items()}


def _frame(text: str) -> Any:
    import polars as pl

    return pl.read_ipc(io.BytesIO(base64.b64decode(text)))


def _args_to_json(value: Args) -> Any:
    return [_to_json(list(value.args)), _to_json(dict(value.kwargs))]


def _args(parts: Any) -> Args:
    args, kwargs = map(_from_json, parts)
    return Args(*args, **kwargs)


# A datetime is a date, and what stands first is looked at first.
_TAGS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    datetime: ("$datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("$date", date.isoformat, date.fromisoformat),
    time: ("$time", time.isoformat, time.fromisoformat),
    timedelta: (
        "$timedelta",
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*parts),
    ),
    Decimal: ("$decimal", str, Decimal),
    uuid.UUID: ("$uuid", str, uuid.UUID),
    Period: ("$period", lambda value: [str(value.start), str(value.end)], lambda parts: Period(*parts)),
    Args: ("$args", _args_to_json, _args),
    tuple: (
        "$tuple",
        lambda value: [_to_json(one) for one in value],
        lambda parts: tuple(map(_from_json, parts)),
    ),
    set: ("$set", lambda value: [_to_json(one) for one in value], lambda parts: set(map(_from_json, parts))),
    frozenset: (
        "$frozenset",
        lambda value: [_to_json(one) for one in value],
        lambda parts: frozenset(map(_from_json, parts)),
    ),
    bytes: ("$bytes", lambda value: base64.b64encode(value).decode(), base64.b64decode),
    bytearray: ("$bytes", lambda value: base64.b64encode(value).decode(), base64.b64decode),
    complex: ("$complex", lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
}

_FROM_TAG: dict[str, Callable[[Any], Any]] = {
    **{tag: read for tag, _, read in _TAGS.values()},
    "$float": float,
    "$dict": lambda pairs: {_from_json(name): _from_json(one) for name, one in pairs},
    "$DataFrame": _frame,
    "$Series": lambda text: _frame(text).to_series(),
}
