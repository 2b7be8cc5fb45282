"""What the server computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fetchline as fl
from fetchline_wats.policies import PACE, RETRY, TIMEOUT
from fetchline_wats.tables import table

if TYPE_CHECKING:
    import polars as pl
    from pywats import AsyncWATS

__all__ = ["yields"]


@fl.fetcher("wats.yield", retry=RETRY, session="wats", timeout=TIMEOUT, pace=PACE)
async def yields(
    part_number: str,
    period: fl.Period | None = None,
    dimensions: str = "partNumber;period",
    revision: str | None = None,
    test_operation: str | None = None,
    station_name: str | None = None,
    *,
    session: AsyncWATS = fl.injected,
) -> pl.DataFrame:
    """Get the yield of a product: counts and first, second, third and last pass yield, a row for each group.

    Nothing tested is no failure but an empty answer. The server reads ``%``, ``_`` and ``;`` in the text as wildcards
    and separators.

    Args:
        part_number: of the product.
        period: both days included; None leaves it to the server.
        dimensions: what to group by, as ``pywats.DimensionBuilder`` builds it.
        revision, test_operation, station_name: only of these.
    """
    asked = {
        "partNumber": part_number,
        "dimensions": dimensions,
        "revision": revision,
        "testOperation": test_operation,
        "stationName": station_name,
    }
    if period is not None:
        asked["dateFrom"] = f"{period.start.isoformat()}T00:00:00"
        asked["dateTo"] = f"{period.end.isoformat()}T23:59:59.999"
    wanted = {name: value for name, value in asked.items() if value is not None}
    found = await session.analytics.get_dynamic_yield(wanted)
    if not found:
        raise fl.NoData(f"nothing of {part_number} was tested")
    return table(found)
