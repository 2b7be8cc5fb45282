from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from fetchline_wats.writes import delete_product
from pywats import (
    Asset,
    AuthorizationError,
    ConflictError,
    NotFoundError,
    Product,
    ProductionBatch,
    Unit,
    ValidationError,
)
from pywats.models import UURReport
from support import at, product, report, unit
from wats_server import WatsServer

import fetchline as fl


def run(fetcher: fl.Fetcher[Any, Any, Any], items: Any, **options: Any) -> fl.Batch[Any]:
    return fl.run(fetcher, items, progress=None, **options)


def codes(batch: fl.Batch[Any]) -> list[str | None]:
    return [result.error_code if isinstance(result, fl.Failure) else None for result in batch]


# -- one a request -----------------------------------------------------------------------------------------------


def test_products_assets_and_units_come_as_pywats_models_in_the_order_asked(wats: WatsServer) -> None:
    wats.products = {f"pn-{n}": product(f"PN-{n}", revisions=[{"revision": "A"}]) for n in range(20)}
    wats.assets = {f"as-{n}": {"serialNumber": f"AS-{n}", "location": "Oslo"} for n in range(20)}
    wats.units = {(f"sn-{n}", "pn-1"): unit(f"SN-{n}") for n in range(20)}
    numbers = [*reversed(range(20))]

    found = run(at(wats, "wats.product"), [f"PN-{n}" for n in numbers]).values
    assert all(type(one) is Product and one.revisions[0].revision == "A" for one in found)
    assert [one.part_number for one in found] == [f"PN-{n}" for n in numbers]

    assets = run(at(wats, "wats.asset"), [f"AS-{n}" for n in numbers]).values
    assert [(type(one), one.serial_number) for one in assets] == [(Asset, f"AS-{n}") for n in numbers]

    units = run(at(wats, "wats.unit"), [fl.Args(f"SN-{n}", "PN-1") for n in numbers]).values
    assert [(type(one), one.serial_number) for one in units] == [(Unit, f"SN-{n}") for n in numbers]


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("wats.product", "PN-1"),
        ("wats.asset", "AS-1"),
        ("wats.unit", fl.Args("SN-1", "PN-1")),
        ("wats.report", "0d1c9b3e-5e0b-4a6a-9e0f-9a0c8c5d2b11"),
    ],
)
def test_what_is_not_there_is_missing_and_is_asked_for_once(wats: WatsServer, name: str, item: Any) -> None:
    """pywats raises for some, and gives None for others; a fetcher says the same for all."""
    batch = run(at(wats, name), [item])
    assert codes(batch) == ["missing"]
    assert len(wats.asked) == 1


@pytest.mark.parametrize("part_number", ["A/B", "A?B#C", "50% more", "Ø 12", "..", "O'Brien"])
def test_a_part_number_may_be_any_text(wats: WatsServer, part_number: str) -> None:
    """pywats puts it into the address as it is."""
    wats.products[part_number.casefold()] = product(part_number)
    wats.units["sn/1", part_number.casefold()] = unit("SN/1", part_number)
    if part_number != "..":  # which no client lets stand in a path
        assert run(at(wats, "wats.product"), [part_number]).values[0].part_number == part_number
        (found,) = run(at(wats, "wats.unit"), [fl.Args("SN/1", part_number)]).values
        assert found.part_number == part_number
    assert run(at(wats, "wats.products"), [part_number]).frame()["part_number"].to_list() == [part_number]
    assert run(at(wats, "wats.units"), [("SN/1", part_number)]).frame()["part_number"].to_list() == [
        part_number
    ]


def test_the_answer_to_another_question_is_refused(wats: WatsServer) -> None:
    """Such as a proxy gives that mixes them up."""
    wats.products["pn-1"] = product("PN-2")
    batch = run(at(wats, "wats.product", retry=1), ["PN-1"])
    assert codes(batch) == ["wrong_answer"]


# -- many a request ----------------------------------------------------------------------------------------------


def test_bulk_reads_ask_for_many_at_once_and_what_is_not_there_is_missing(wats: WatsServer) -> None:
    wats.products = {f"pn-{n}": product(f"PN-{n}") for n in range(0, 100, 2)}
    items = [f"PN-{n}" for n in range(100)]
    batch = run(at(wats, "wats.products"), items)
    assert codes(batch) == [None, "missing"] * 50
    assert len(wats.asked) == 5
    frame = batch.frame()
    assert frame["key"].to_list() == frame["part_number"].to_list() == items[::2]
    assert frame["name"].to_list() == [f"the {item}" for item in items[::2]]


def test_bulk_reads_of_assets_units_and_headers_do_the_same(wats: WatsServer) -> None:
    wats.assets["as-1"] = {"serialNumber": "AS-1", "totalCount": 7}
    wats.units["sn-1", "pn-1"] = unit("SN-1")
    wats.units["sn-1", "pn-2"] = unit("SN-1", "PN-2", batchNumber="B-2")
    sent = report("SN-1")
    wats.reports[str(sent.id)] = sent.model_dump(mode="json", by_alias=True, exclude_none=True)

    assets = run(at(wats, "wats.assets"), ["AS-1", "AS-2"])
    assert codes(assets) == [None, "missing"]
    assert assets.frame()["total_count"].to_list() == [7]

    asked = [("SN-1", "PN-1"), fl.Args("SN-1", "PN-2"), Unit(serial_number="SN-2", part_number="PN-1")]
    units = run(at(wats, "wats.units"), asked)
    assert codes(units) == [None, None, "missing"]
    assert units.frame()["batch_number"].to_list() == [None, "B-2"]
    assert units.frame()["key"].to_list() == ["SN-1/PN-1", "SN-1/PN-2"]

    headers = run(at(wats, "wats.headers"), [sent.id, uuid4()])
    assert codes(headers) == [None, "missing"]
    assert headers.frame()["serial_number"].to_list() == ["SN-1"]
    assert len(wats.asked) == 3


def test_upper_and_lower_case_are_the_same_as_they_are_to_the_server(wats: WatsServer) -> None:
    wats.products["pn-1"] = product("PN-1")
    assert run(at(wats, "wats.product"), ["pn-1"]).values[0].part_number == "PN-1"
    frame = run(at(wats, "wats.products"), ["pn-1"]).frame()
    assert frame.select("key", "part_number").rows() == [("pn-1", "PN-1")]


def test_a_bulk_read_fits_into_the_address_a_server_takes(wats: WatsServer) -> None:
    """Report ids are the longest there is: 20 of them have 1,600 of the 2,048 characters."""
    ids = [uuid4() for _ in range(40)]
    batch = run(at(wats, "wats.headers"), ids)
    assert set(codes(batch)) == {"missing"}
    assert len(wats.asked) == 2


def test_an_item_that_nobody_could_ask_for_is_refused_without_its_neighbours(wats: WatsServer) -> None:
    sent = report("SN-1")
    wats.reports[str(sent.id)] = sent.model_dump(mode="json", by_alias=True, exclude_none=True)
    batch = run(at(wats, "wats.headers"), [sent.id, "no id"])
    assert codes(batch) == [None, "permanent"]
    for name in ("wats.product", "wats.asset"):
        assert codes(run(at(wats, name), ["", " ", ".."])) == ["permanent"] * 3
    assert len(wats.asked) == 1


def test_bulk_writes_send_many_at_once_and_give_each_item_what_was_saved(wats: WatsServer) -> None:
    products = [Product(part_number=f"PN-{n}", name=f"n {n}") for n in range(120)]
    saved = run(at(wats, "wats.save_products"), products)
    assert [one.part_number for one in saved.values] == [f"PN-{n}" for n in range(120)]
    assert (len(wats.asked), len(wats.products)) == (3, 120)

    units = [unit(f"SN-{n}") for n in range(60)]
    units.append(
        Unit(serial_number="SN-60", part_number="PN-1", revision="A", serial_date=datetime(2024, 1, 2))
    )
    saved = run(at(wats, "wats.save_units"), units)
    assert [one.serial_number for one in saved.values] == [f"SN-{n}" for n in range(61)]
    assert wats.count("/api/Production/Units") == 2
    assert wats.units["sn-60", "pn-1"]["serialDate"] == "2024-01-02T00:00:00"

    batches = run(at(wats, "wats.save_batches"), [ProductionBatch(batch_number="B-1", batch_size=3)])
    assert (batches.values[0].batch_number, wats.batches["B-1"]["batchSize"]) == ("B-1", 3)


def test_a_server_that_takes_a_bulk_write_and_names_nobody_has_saved_all(wats: WatsServer) -> None:
    wats.names_what_it_saved = False
    saved = run(at(wats, "wats.save_products"), [product("PN-1"), product("PN-2")])
    assert (codes(saved), len(wats.products)) == ([None, None], 2)


def test_one_item_the_server_refuses_does_not_take_its_call_with_it(wats: WatsServer) -> None:
    """By a status, or by what the answer counts."""
    items = [product(f"PN-{n}", name=None if n == 3 else "n") for n in range(8)]
    saved = run(at(wats, "wats.save_products"), items)
    assert codes(saved) == [None] * 3 + ["permanent"] + [None] * 4
    assert len(wats.products) == 7

    units = [unit(f"SN-{n}", revision="" if n == 3 else "A") for n in range(8)]
    saved = run(at(wats, "wats.save_units"), units)
    assert codes(saved) == [None] * 3 + ["permanent"] + [None] * 4
    assert len(wats.units) == 7


# -- reports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["asyncio", "process"])
def test_reports_come_back_as_they_were_submitted(wats: WatsServer, executor: str) -> None:
    reports = [report(f"SN-{n}") for n in range(12)]
    repair = UURReport.model_validate(
        {
            **report("SN-R").model_dump(exclude={"root", "type", "info"}),
            "type": "R",
            "uur": {"processCode": 500, "testOperationCode": 10},
        }
    )
    sent = run(at(wats, "wats.submit_report"), [*reports, repair], executor=executor)
    assert sent.values == [str(one.id) for one in (*reports, repair)]
    assert [one.key for one in sent] == sent.values
    back = run(at(wats, "wats.report"), sent.values, executor=executor)
    assert back.values[:12] == reports
    assert (type(back.values[12]), back.values[12].id) == (UURReport, repair.id)


def test_a_report_whose_answer_was_lost_is_sent_again_and_is_one_report(wats: WatsServer) -> None:
    """Its own id makes it so: the server overwrites what has the same one."""
    wats.fail("/api/Report/WSJF", cut=True)
    batch = run(at(wats, "wats.submit_report", retry=fl.Try(retry=2, sleep=0)), [report("SN-1")])
    assert (codes(batch), wats.count("/api/Report/WSJF"), len(wats.reports)) == ([None], 2, 1)


def test_a_report_that_is_refused_fails_with_what_its_status_means(wats: WatsServer) -> None:
    """pywats raises a ValueError, whatever the status is."""
    for status, kind in (
        (400, ValidationError),
        (403, AuthorizationError),
        (404, NotFoundError),
        (409, ConflictError),
    ):
        wats.fail("/api/Report/WSJF", status=status, body={"message": "no report of ours"})
        (failure,) = run(at(wats, "wats.submit_report"), [report("SN-1")]).failures
        assert (type(failure.error), failure.attempts) == (kind, 1)
        assert "no report of ours" in failure.message


def test_a_report_without_an_id_is_refused_before_anything_is_sent(wats: WatsServer) -> None:
    submit = at(wats, "wats.submit_report")
    body = report("SN-1").model_dump(mode="json", by_alias=True, exclude_none=True)
    assert codes(run(submit, [body])) == [None]
    del body["id"]
    with pytest.raises(ValueError, match="has no id"):
        run(submit, [body])
    with pytest.raises(ValueError, match="has no id"):
        asyncio.run(submit(body))
    assert len(wats.asked) == 1


# -- creating, and undoing ---------------------------------------------------------------------------------------


def test_units_that_were_created_are_deleted_by_undo_and_others_stay(wats: WatsServer) -> None:
    wats.units["sn-0", "pn-1"] = unit("SN-0")
    batch = run(at(wats, "wats.create_unit"), [unit(f"SN-{n}") for n in range(4)])
    assert codes(batch) == ["permanent", None, None, None]  # it was there
    assert len(wats.units) == 4
    undone = batch.undo(progress=None)
    assert [one.key for one in undone] == ["SN-3/PN-1", "SN-2/PN-1", "SN-1/PN-1"]
    assert undone.values == [True, True, True]
    assert [*wats.units] == [("sn-0", "pn-1")]


def test_undoing_what_somebody_else_has_deleted_is_no_failure(wats: WatsServer) -> None:
    batch = run(at(wats, "wats.create_unit"), [unit("SN-1"), unit("SN-2")])
    del wats.units["sn-1", "pn-1"]
    assert batch.undo(progress=None).values == [True, False]


@pytest.mark.parametrize("fault", [{"cut": True}, {"hang": True}, {"status": 504}])
def test_a_unit_whose_answer_was_lost_is_not_created_twice(wats: WatsServer, fault: dict[str, Any]) -> None:
    wats.fail("/api/Production/Unit", **fault)
    where = fl.use("wats", base_url=wats.url, token=wats.token, timeout=0.3)
    batch = run(at(wats, "wats.create_unit", session=where), [unit("SN-1")])
    assert (codes(batch), len(wats.asked)) == (["unknown_outcome"], 1)


def test_a_unit_that_the_server_was_too_busy_for_is_sent_again(wats: WatsServer) -> None:
    wats.fail("/api/Production/Unit", status=429, headers={"Retry-After": "0"})
    wats.fail("/api/Production/Unit", status=500)
    batch = run(at(wats, "wats.create_unit", retry=fl.Try(retry=2, sleep=0)), [unit("SN-1")])
    assert (codes(batch), len(wats.asked)) == ([None], 3)


def test_a_unit_that_cannot_be_one_is_refused_before_it_is_sent(wats: WatsServer) -> None:
    batch = run(at(wats, "wats.create_unit"), [unit("SN-1", unitPhaseId="no number")])
    assert (codes(batch), wats.asked) == (["permanent"], [])


def test_products_that_are_known_to_be_new_can_be_undone_too(wats: WatsServer) -> None:
    save = at(wats, "wats.save_products", undo=delete_product)
    batch = run(save, [product("A/1"), product("A/2")])
    undone = batch.undo(progress=None)
    assert [one["deleted"] for one in undone.values] == [True, True]
    assert wats.products == {}


def test_updates_have_no_undo_of_their_own(wats: WatsServer) -> None:
    """Deleting what was there before would undo more than was done."""
    batch = run(at(wats, "wats.save_products"), [product("PN-1")])
    with pytest.raises(TypeError, match="says not how it is undone"):
        batch.undo(progress=None)


# -- yield -------------------------------------------------------------------------------------------------------


def test_yield_is_a_frame_and_nothing_tested_is_an_empty_one(wats: WatsServer) -> None:
    wats.yields["PN-1"] = [
        {"partNumber": "PN-1", "period": "2024-01", "unitCount": 3, "fpy": 66.7, "trend": 1.5}
    ]
    months = fl.Period.Q1(2024).months()
    batch = run(at(wats, "wats.yield"), fl.grid(part_number=["PN-1", "PN-2"], period=months))
    assert [result.status for result in batch] == ["success"] * 3 + ["empty"] * 3
    frame = batch.frame()
    assert frame["key"].to_list() == ["PN-1/2024-01", "PN-1/2024-02", "PN-1/2024-03"]
    assert frame.select("unit_count", "fpy", "trend").row(0) == (3, 66.7, 1.5)
    bodies = {(one.body["partNumber"], one.body["dateFrom"], one.body["dateTo"]) for one in wats.asked}
    assert ("PN-2", "2024-02-01T00:00:00", "2024-02-29T23:59:59.999") in bodies
    assert {one.query["dimensions"] for one in wats.asked} == {"partNumber;period"}


def test_yield_may_be_narrowed_and_grouped_otherwise(wats: WatsServer) -> None:
    wats.yields["PN-1"] = [{"stationName": "Station 1", "unitCount": 3}]
    asked = {
        "dimensions": "stationName",
        "revision": "A",
        "test_operation": "ICT",
        "station_name": "Station 1",
    }
    run(at(wats, "wats.yield"), ["PN-1"], params=asked)
    (one,) = wats.asked
    assert one.body == {
        "partNumber": "PN-1",
        "dimensions": "stationName",
        "revision": "A",
        "testOperation": "ICT",
        "stationName": "Station 1",
    }
