"""What is read: one item a request as pywats' model, or many a request as rows of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import fetchline as fl
from fetchline_wats.keys import serial_and_part, unit_key
from fetchline_wats.policies import PACE, RETRY, TIMEOUT
from fetchline_wats.tables import dealt

if TYPE_CHECKING:
    import polars as pl
    from pywats import Asset, AsyncWATS, Product, Unit
    from pywats.models import UURReport, UUTReport
    from pywats.shared import ODataFilterBuilder

__all__ = ["asset", "assets", "headers", "product", "products", "report", "unit", "units"]

T = TypeVar("T")

# What is asked for stands in the address, and many servers refuse one of more than 2,048 characters.
_AT_ONCE = fl.Bulk(20)


# -- one -----------------------------------------------------------------------------------------------------


def _is_product(answer: Any, part_number: str) -> bool:
    return bool(answer.part_number.casefold() == part_number.casefold())


@fl.fetcher("wats.product", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, check=_is_product)
async def product(part_number: str, *, session: AsyncWATS = fl.injected) -> Product:
    """Get a product by its part number, with its revisions and tags."""
    return _there(await session.product.get_product(_in_path(part_number)), "product", part_number)


def _is_asset(answer: Any, serial_number: str) -> bool:
    return bool(answer.serial_number.casefold() == serial_number.casefold())


@fl.fetcher("wats.asset", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, check=_is_asset)
async def asset(serial_number: str, *, session: AsyncWATS = fl.injected) -> Asset:
    """Get an asset by its serial number."""
    return _there(await session.asset.get_asset_by_serial(_in_path(serial_number)), "asset", serial_number)


def _is_unit(answer: Any, serial_number: str, part_number: str) -> bool:
    return unit_key(answer).casefold() == unit_key((serial_number, part_number)).casefold()


@fl.fetcher("wats.unit", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, check=_is_unit)
async def unit(serial_number: str, part_number: str, *, session: AsyncWATS = fl.injected) -> Unit:
    """Get a unit by its serial number and part number: ``fl.Args("SN-1", "PN-1")``."""
    found = await session.production.get_unit(_in_path(serial_number), _in_path(part_number))
    return _there(found, "unit", f"{serial_number} of {part_number}")


def _is_report(answer: Any, report_id: str | UUID) -> bool:
    return str(answer.id) == str(report_id).lower()


@fl.fetcher("wats.report", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, check=_is_report)
async def report(
    report_id: str | UUID, detail_level: int | None = None, *, session: AsyncWATS = fl.injected
) -> UUTReport | UURReport:
    """Get a report by its id, of a test or of a repair; ``detail_level`` is 0 to 7."""
    found = await session.report.get_report(_in_path(str(report_id)), detail_level=detail_level)
    if found is None:
        raise fl.Missing(f"there is no report {report_id}")
    return found


def _there(found: T | None, what: str, key: object) -> T:
    if found is None:  # some of the server's interfaces answer nothing at all where there is nothing
        raise fl.Missing(f"there is no {what} {key}")
    return found


def _in_path(text: str) -> str:
    # pywats puts it into the address as it is, where "A/B" is another address, and no text is all there are.
    if text.strip() in ("", ".", ".."):
        raise ValueError(f"{text!r} cannot be asked for")
    return quote(text, safe="")


# -- many ----------------------------------------------------------------------------------------------------


@fl.fetcher("wats.products", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, bulk=_AT_ONCE)
async def products(
    part_numbers: Sequence[str], *, session: AsyncWATS = fl.injected
) -> dict[str, pl.DataFrame]:
    """Get products by part number, several a request, a row each."""
    found = await session.product.query_products(_in_list("partNumber", part_numbers), top=len(part_numbers))
    return dealt(found, part_numbers, lambda one: one.part_number, str)


@fl.fetcher("wats.assets", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, bulk=_AT_ONCE)
async def assets(
    serial_numbers: Sequence[str], *, session: AsyncWATS = fl.injected
) -> dict[str, pl.DataFrame]:
    """Get assets by serial number, several a request, a row each."""
    found = await session.asset.get_assets(_in_list("serialNumber", serial_numbers), top=len(serial_numbers))
    return dealt(found, serial_numbers, lambda one: one.serial_number, str)


@fl.fetcher(
    "wats.units", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, bulk=_AT_ONCE, key=unit_key
)
async def units(units: Sequence[Any], *, session: AsyncWATS = fl.injected) -> dict[str, pl.DataFrame]:
    """Get units by serial number and part number, several a request, a row each.

    An item is a tuple or ``fl.Args`` of the two, a unit, or the key of one: ``SN-1/PN-1``.
    """
    wanted = _filter().use_or()
    for serial_number, part_number in map(serial_and_part, units):
        wanted.or_group(_filter().field("serialNumber").eq(serial_number).field("partNumber").eq(part_number))
    found = await session.production.query_units(wanted.build(), top=len(units))
    return dealt(found, units, unit_key, unit_key)


@fl.fetcher("wats.headers", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE, bulk=_AT_ONCE)
async def headers(
    report_ids: Sequence[str | UUID], report_type: str = "uut", *, session: AsyncWATS = fl.injected
) -> dict[str, pl.DataFrame]:
    """Get the headers of reports by their ids, several a request, a row each; ``report_type`` is "uut" or "uur"."""
    from pywats.shared import escape_guid

    wanted = _filter().use_or()
    for report_id in report_ids:
        wanted.raw(f"uuid eq {escape_guid(str(report_id))}")
    found = await session.report.query_headers(report_type, odata_filter=wanted.build(), top=len(report_ids))
    return dealt(found, report_ids, lambda one: str(one.uuid), str)


def _in_list(name: str, values: Sequence[str]) -> str:
    return _filter().field(name).in_list(list(values)).build()


def _filter() -> ODataFilterBuilder:
    from pywats.shared import ODataFilterBuilder

    return ODataFilterBuilder()  # type: ignore[no-untyped-call]  # its __init__ has no annotation
