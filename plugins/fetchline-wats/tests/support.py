"""What the tests share: fetchers that ask a server of the test, and what is stored there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pywats.models import UUTReport
from wats_server import WatsServer

import fetchline as fl
from fetchline.registry import default

__all__ = ["at", "product", "report", "unit"]


def at(server: WatsServer, name: str, **changes: Any) -> fl.Fetcher[Any, Any, Any]:
    """The fetcher of that name, asking this server as fast as it can."""
    session = fl.use("wats", base_url=server.url, token=server.token)
    return default[name].replace(**{"session": session, "pace": None, **changes})


def product(part_number: str, **more: Any) -> dict[str, Any]:
    return {"partNumber": part_number, "name": f"the {part_number}", **more}


def unit(serial_number: str, part_number: str = "PN-1", **more: Any) -> dict[str, Any]:
    return {"serialNumber": serial_number, "partNumber": part_number, "revision": "A", **more}


def report(serial_number: str, *, id: str | None = None) -> UUTReport:
    made = UUTReport(
        pn="PN-1",
        sn=serial_number,
        rev="A",
        process_code=10,
        station_name="Station 1",
        location="Oslo",
        purpose="Test",
        result="P",
    )
    return made if id is None else made.model_copy(update={"id": UUID(id)})
