"""What is written: many a request where the server takes them so, and how it is undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import fetchline as fl
from fetchline_wats.keys import batch_key, product_key, report_key, serial_and_part, unit_key
from fetchline_wats.policies import PACE, RETRY, TIMEOUT

if TYPE_CHECKING:
    from pywats import AsyncWATS, Unit

__all__ = [
    "create_unit",
    "delete_product",
    "delete_unit",
    "save_batches",
    "save_products",
    "save_units",
    "submit_report",
]

_AT_ONCE = fl.Bulk(50)


# -- undoing ---------------------------------------------------------------------------------------------------


async def delete_unit(unit: Any, value: Any = None, *, session: AsyncWATS = fl.injected) -> bool:
    """Delete a unit; False where there is none any more. The server refuses one that has child units."""
    deleted: bool = await session.production.delete_unit(*serial_and_part(unit))
    return deleted


async def delete_product(
    product: Any, value: Any = None, *, session: AsyncWATS = fl.injected
) -> dict[str, Any]:
    """Delete a product; one that has units is deactivated instead, and ``deactivated`` of the answer says so."""
    told: dict[str, Any] = await session.product.delete_product(quote(product_key(product), safe=""))
    return told


# -- one a request ---------------------------------------------------------------------------------------------


@fl.fetcher(
    "wats.submit_report",
    retry=RETRY,
    session="wats",
    timeout=TIMEOUT,
    pace=PACE,
    key=report_key,
)
async def submit_report(report: Any, *, session: AsyncWATS = fl.injected) -> str:
    """Submit a report of a test or a repair, a model or a dict; gives its id.

    The report's own id makes it safe to send again: the server overwrites what has the same one.
    """
    key = report_key(report)
    return await session.report.submit_report(report) or key


@fl.fetcher(
    "wats.create_unit",
    retry=RETRY,
    session="wats",
    timeout=TIMEOUT,
    pace=PACE,
    key=unit_key,
    idempotent=False,
    undo=delete_unit,
)
async def create_unit(unit: Any, *, session: AsyncWATS = fl.injected) -> Unit:
    """Create a unit that is not there yet, a model or a dict; undoing it deletes the unit."""
    made = _as_unit(unit)
    await session.production.create_unit_public(made)
    return made


def _as_unit(unit: Any) -> Unit:
    from pydantic import ValidationError
    from pywats import Unit

    if isinstance(unit, Unit):
        return unit
    try:
        return Unit.model_validate(unit)
    except ValidationError as error:
        raise ValueError(f"no unit can be made of {unit!r:.200}: {error}") from error


# -- many a request --------------------------------------------------------------------------------------------


@fl.fetcher(
    "wats.save_products",
    retry=RETRY,
    session="wats",
    timeout=TIMEOUT,
    pace=PACE,
    bulk=_AT_ONCE,
    key=product_key,
)
async def save_products(products: Sequence[Any], *, session: AsyncWATS = fl.injected) -> dict[str, Any]:
    """Create or update products, models or dicts, up to 50 a request; gives them as saved."""
    saved = await session.product.bulk_save_products(_payload(products))
    return _by_key(saved, products, product_key)


@fl.fetcher(
    "wats.save_units", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, bulk=_AT_ONCE, key=unit_key
)
async def save_units(units: Sequence[Any], *, session: AsyncWATS = fl.injected) -> dict[str, Any]:
    """Create or update units, models or dicts, up to 50 a request; gives them as saved."""
    saved = await session.production.create_units(_payload(units))
    return _by_key(saved, units, unit_key)


@fl.fetcher(
    "wats.save_batches", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, bulk=_AT_ONCE, key=batch_key
)
async def save_batches(batches: Sequence[Any], *, session: AsyncWATS = fl.injected) -> dict[str, Any]:
    """Create or update production batches, models or dicts, up to 50 a request; gives them as saved."""
    saved = await session.production.save_batches(_payload(batches))
    return _by_key(saved, batches, batch_key)


def _payload(items: Sequence[Any]) -> list[Any]:
    # pywats leaves dates in units as they are, which cannot be sent.
    return [
        item.model_dump(mode="json", by_alias=True, exclude_none=True)
        if hasattr(item, "model_dump")
        else item
        for item in items
    ]


def _by_key(saved: Sequence[Any], items: Sequence[Any], key: Callable[[Any], str]) -> dict[str, Any]:
    """What was saved, by the items' keys; a server that took the call and names nobody has saved them all."""
    if not saved:
        return {key(item): item for item in items}
    found = {key(one).casefold(): one for one in saved}
    keys = map(key, items)
    return {name: found[name.casefold()] for name in keys if name.casefold() in found}
