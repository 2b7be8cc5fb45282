"""The keys of items that are models, or dicts as the server's interface has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from fetchline.items import Args, key_of

__all__ = ["batch_key", "product_key", "report_key", "serial_and_part", "unit_key"]


def product_key(product: Any) -> str:
    """The part number of a product."""
    return _text(product, "part_number", "partNumber")


def batch_key(batch: Any) -> str:
    """The number of a production batch."""
    return _text(batch, "batch_number", "batchNumber")


def unit_key(unit: Any) -> str:
    """Serial number and part number of a unit, as fetchline joins the arguments of an ``Args``.

    >>> unit_key({"serialNumber": "SN-1", "partNumber": "PN-1"}), unit_key(("SN-1", "PN-1"))
    ('SN-1/PN-1', 'SN-1/PN-1')
    """
    return key_of(Args(*serial_and_part(unit)))


def report_key(report: Any) -> str:
    """The id of a report, in lower case.

    Raises:
        ValueError: it has none. Sent twice it would be two reports, so give it one: ``str(uuid.uuid4())``.

    >>> report_key({"id": "0D1C9B3E-5E0B-4A6A-9E0F-9A0C8C5D2B11"})
    '0d1c9b3e-5e0b-4a6a-9e0f-9a0c8c5d2b11'
    """
    return _text(report, "id").lower()


def serial_and_part(unit: Any) -> tuple[str, str]:
    """Serial number and part number of a unit: a model, a dict, an ``Args`` or a tuple of the two, or its key.

    Raises:
        ValueError: one of them is missing.
    """
    if isinstance(unit, Args):
        given = (
            *unit.args,
            *(unit.kwargs[name] for name in ("serial_number", "part_number") if name in unit.kwargs),
        )
    elif isinstance(unit, tuple):
        given = unit
    elif isinstance(unit, str):
        given = tuple(map(unquote, unit.split("/")))
    else:
        return _text(unit, "serial_number", "serialNumber"), _text(unit, "part_number", "partNumber")
    if len(given) != 2 or not all(given):
        raise ValueError(f"a unit is its serial number and its part number, not {unit!r}")
    return str(given[0]), str(given[1])


def _text(item: Any, *names: str) -> str:
    for name in names:
        value = item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
        if value:
            return str(value)
    raise ValueError(f"this {type(item).__name__} has no {names[0]}, which is its key: {item!r:.200}")
