"""Models to frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

if TYPE_CHECKING:
    import polars as pl
    from pydantic import BaseModel

__all__ = ["dealt", "table"]

_FLAT = (str, int, float, datetime, date, UUID, Enum)


def table(models: Sequence[BaseModel]) -> pl.DataFrame:
    """Make a frame of models of one class, a row each, in their order.

    Columns are the fields, by their Python names, and what else the server sent; what is nested (revisions, tags,
    sub-units) is left out. UUIDs are text, members of enumerations their values.
    """
    import polars as pl

    if not models:
        return pl.DataFrame()
    types = {str: pl.String, UUID: pl.String, bool: pl.Boolean, int: pl.Int64, float: pl.Float64}
    fields = {name: _kind(field.annotation) for name, field in type(models[0]).model_fields.items()}
    flat = {name: kind for name, kind in fields.items() if kind is not None and issubclass(kind, _FLAT)}
    rows = [dict(_cells(model, fields, flat)) for model in models]
    # A column without any value has its type all the same, so that frames of several answers agree.
    known = {name: types[kind] for name, kind in flat.items() if kind in types}
    return pl.DataFrame(rows, schema_overrides=known, infer_schema_length=None)


def dealt(
    models: Sequence[Any], items: Sequence[Any], of_model: Callable[[Any], str], of_item: Callable[[Any], str]
) -> dict[str, pl.DataFrame]:
    """Give each item's key the row of its model; those without one are left out.

    The server takes upper and lower case for the same, so they are here.
    """
    frame = table(models)
    places = {of_model(model).casefold(): at for at, model in enumerate(models)}
    keys = map(of_item, items)
    return {key: frame.slice(places[key.casefold()], 1) for key in keys if key.casefold() in places}


def _kind(annotation: Any) -> type | None:
    """The one type of a field that may be None as well; None for several."""
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    return kinds[0] if len(kinds) == 1 and isinstance(kinds[0], type) else None


def _cells(model: BaseModel, fields: dict[str, Any], flat: dict[str, type]) -> Iterator[tuple[str, Any]]:
    values = vars(model)  # reading a deprecated field as an attribute warns
    for name in flat:
        yield name, _plain(values[name])
    for name, value in (model.model_extra or {}).items():
        if name not in fields and not isinstance(value, list | dict):
            yield name, value


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, UUID) else value
