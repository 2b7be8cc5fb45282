"""Text to typed arguments: what ``2024-01-31`` is to a parameter annotated ``date``."""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Mapping
from datetime import date, datetime
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeAlias, Union, get_args, get_origin

from fetchline.periods import Period

__all__ = ["Read", "reader", "spans"]

Read: TypeAlias = Callable[[str], Any]

_FLAGS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def reader(annotation: Any) -> Read:
    """Give the function that reads text as a value of an annotation; it raises ValueError where that fails.

    Numbers, bool, date, datetime, Period, Path, Enum (by name or value), Literal and unions are read here;
    ``none`` is None where the annotation allows None. Everything else is left to pydantic, which also reads
    JSON and, for lists, values separated by commas. Without an annotation text stays text.

    Raises:
        TypeError: no text makes such a value, or pydantic is needed and not installed.

    >>> reader(int | None)("12"), reader(int | None)("none"), reader(Literal["fast", "slow"])("fast")
    (12, None, 'fast')
    """
    if annotation in (Parameter.empty, Any, object, str):
        return str
    if annotation is None or annotation is types.NoneType:
        return _none
    if isinstance(annotation, type) and annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        members: dict[str, Any] = {str(member.value): member for member in annotation}
        return _choice({**members, **annotation.__members__})
    origin = get_origin(annotation)
    if origin is Literal:
        return _choice({str(value): value for value in get_args(annotation)})
    if origin in (Union, types.UnionType):
        return _first_of(get_args(annotation))
    inner = _inner(annotation)
    return _by_pydantic(annotation) if inner is None else reader(inner)


def spans(annotation: Any) -> bool:
    """Whether text such as ``2024-Q1:2024-Q4`` stands for several values of an annotation."""
    inner = _inner(annotation)
    if inner is not None:
        return spans(inner)
    return annotation is Period or any(
        spans(member) for member in get_args(annotation) if get_origin(annotation) in (Union, types.UnionType)
    )


def _inner(annotation: Any) -> Any:
    """What an alias, a NewType or an annotation with a comment is about."""
    if get_origin(annotation) is Annotated:
        # What is no comment is a rule for pydantic.
        return get_args(annotation)[0] if all(isinstance(m, str) for m in annotation.__metadata__) else None
    return getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)


def _choice(values: Mapping[str, Any]) -> Read:
    def read(text: str) -> Any:
        try:
            return values[text]
        except KeyError:
            raise ValueError(f"{text!r} is none of {', '.join(values)}") from None

    return read


def _first_of(members: tuple[Any, ...]) -> Read:
    # Every text is a str, so that is asked last.
    reads = [reader(member) for member in sorted(members, key=lambda member: member is str)]

    def read(text: str) -> Any:
        why = []
        for each in reads:
            try:
                return each(text)
            except ValueError as error:
                why.append(str(error))
        raise ValueError(", and ".join(dict.fromkeys(reason for reason in why if reason != _NOT_NONE)))

    return read


_NOT_NONE = "it is not 'none'"


def _none(text: str) -> None:
    if text != "none":
        raise ValueError(_NOT_NONE)


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def _parsed(parse: Read, what: str) -> Read:
    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            raise ValueError(f"{text!r} is no {what}") from None

    return read


_PLAIN: dict[type, Read] = {
    bool: _flag,
    int: _parsed(int, "whole number"),
    float: _parsed(float, "number"),
    date: _parsed(date.fromisoformat, "date such as 2024-01-31"),
    datetime: _parsed(datetime.fromisoformat, "time such as 2024-01-31T16:00"),
    Period: Period.parse,
    Path: Path,
}


def _by_pydantic(annotation: Any) -> Read:
    name = getattr(annotation, "__name__", None) or str(annotation)
    try:
        from pydantic import PydanticUserError, TypeAdapter, ValidationError
    except ImportError:
        _refuse(f"reading text as {name} needs pydantic: pip install 'fetchline[pydantic]'")
    try:
        adapter = TypeAdapter(annotation)
    except (PydanticUserError, TypeError, NameError):
        _refuse(f"no text makes a value of {name}")
    several = (get_origin(annotation) or annotation) in (list, tuple, set, frozenset)

    def read(text: str) -> Any:
        tries: list[Callable[[], Any]] = [
            lambda: adapter.validate_python(text),
            lambda: adapter.validate_json(text),
        ]
        if several:
            tries.append(lambda: adapter.validate_python([part.strip() for part in text.split(",")]))
        why: list[str] = []
        for attempt in tries:
            try:
                return attempt()
            except ValidationError as error:
                why.append(error.errors()[0]["msg"])
        raise ValueError(f"{text!r} is no {name}: {why[-1 if several else 0]}")

    return read


def _refuse(why: str) -> NoReturn:
    raise TypeError(why) from None
