from __future__ import annotations

import asyncio
import os
import pickle
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from fetchline_wats.reads import product as by_part_number
from pywats import NotFoundError, Product
from support import at, product, unit
from wats_server import WatsServer

import fetchline as fl
from fetchline.catalog import Catalog
from fetchline.interfaces import SessionSpec

README = Path(__file__).parents[1] / "README.md"


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python, with the plugin installed as it is here."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
    )


# -- found by name -----------------------------------------------------------------------------------------------


def test_the_catalog_finds_the_session_and_its_spec_pickles() -> None:
    catalog = Catalog(entry_points=lambda: [EntryPoint("wats", "fetchline_wats", "fetchline")])
    spec = catalog.session("wats")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert isinstance(spec, SessionSpec)


def test_a_fetcher_is_found_by_name_and_pywats_is_imported_when_its_session_opens(wats: WatsServer) -> None:
    wats.products["pn-1"] = product("PN-1")
    code = """
        import sys
        import fetchline as fl
        from fetchline.catalog import catalog

        assert [info.status for info in catalog().plugins() if info.name == "wats"] == ["installed"]
        assert "fetchline_wats" not in sys.modules
        plan = fl.plan("wats.product", ["PN-1"])
        assert "fetchline_wats.reads" in sys.modules
        assert not {"pywats", "pydantic", "httpx", "polars"} & set(sys.modules), "imported too early"
        assert fl.run("wats.product", ["PN-1"], progress=None).values[0].part_number == "PN-1"
        assert "pywats" in sys.modules
    """
    told = python(
        "-c", re.sub(r"(?m)^ {8}", "", code), PYWATS_SERVER_URL=wats.url, PYWATS_API_TOKEN=wats.token
    )
    assert told.returncode == 0, told.stderr


def test_the_command_line_lists_the_plugin_unimported() -> None:
    code = (
        "import sys; from fetchline.cli import main; sys.argv = ['fetchline', 'list']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'fetchline_wats', 'pywats'} & set(sys.modules), 'imported'"
    )
    told = python("-c", code, COLUMNS="200")
    assert told.returncode == 0, told.stderr
    assert re.search(r"^wats\.\* .*fetchline-wats 0\.1\.0, not imported", told.stdout, re.MULTILINE)


def test_the_command_line_runs_its_fetchers_by_name(wats: WatsServer) -> None:
    wats.products["pn-1"] = product("PN-1")
    wats.units["sn-1", "pn/1"] = unit("SN-1", "PN/1")
    wats.yields["PN-1"] = [{"partNumber": "PN-1", "period": "2024-01", "fpy": 50.0}]

    def run(*arguments: str) -> list[str]:
        where = {"PYWATS_SERVER_URL": wats.url, "PYWATS_API_TOKEN": wats.token}
        told = python("-m", "fetchline.cli", "run", *arguments, "--out", "-", **where)
        assert told.returncode == 0, told.stderr
        return told.stdout.splitlines()

    assert run("wats.products", "PN-1")[1].startswith("PN-1,PN-1,the PN-1,")
    assert run("wats.units", "SN-1/PN%2F1")[1].startswith("SN-1/PN%2F1,SN-1,PN/1,A,")
    assert len(run("wats.yield", "--grid", "part_number=PN-1", "period=2024-01:2024-03")) == 4


# -- the calls that users of pywats have -------------------------------------------------------------------------


@pytest.mark.parametrize("by_name", [True, False])
def test_batch_execute_takes_a_fetcher_as_its_operation(
    wats: WatsServer, monkeypatch: pytest.MonkeyPatch, by_name: bool
) -> None:
    wats.products = {f"pn-{n}": product(f"PN-{n}") for n in range(0, 6, 2)}
    monkeypatch.setenv("PYWATS_SERVER_URL", wats.url)
    monkeypatch.setenv("PYWATS_API_TOKEN", wats.token)
    operation: Any = "wats.product" if by_name else by_part_number
    keys = [f"PN-{n}" for n in range(6)]
    ticks: list[tuple[int, int | None]] = []

    def on_progress(done: int, total: int | None) -> None:
        ticks.append((done, total))

    async def main() -> list[fl.Result[Product]]:
        return await fl.batch_execute(
            keys, operation, max_concurrent=10, on_progress=on_progress, fail_fast=False
        )

    results = asyncio.run(main())
    assert [result.is_success for result in results] == [True, False] * 3
    assert [result.value.part_number for result in results if isinstance(result, fl.Success)] == keys[::2]
    failed = results[1]
    assert isinstance(failed, fl.Failure)
    assert (failed.error_code, type(failed.error)) == ("missing", NotFoundError)
    assert "not found" in failed.message
    assert ticks == [(done, 6) for done in range(1, 7)]


def test_batch_execute_with_fail_fast_raises_what_pywats_raises(wats: WatsServer) -> None:
    async def main() -> None:
        await fl.batch_execute(["PN-1"], at(wats, "wats.product"), max_concurrent=10, fail_fast=True)

    with pytest.raises(NotFoundError, match="not found"):
        asyncio.run(main())


def test_a_direct_call_raises_what_pywats_raises_and_gives_what_it_gives(wats: WatsServer) -> None:
    wats.products["pn-1"] = product("PN-1")
    fetch = at(wats, "wats.product")
    assert asyncio.run(fetch("PN-1")).part_number == "PN-1"
    with pytest.raises(NotFoundError):
        asyncio.run(fetch("PN-2"))


# -- the readme --------------------------------------------------------------------------------------------------


def test_the_examples_of_the_readme_run(
    wats: WatsServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fetchline_registry: fl.Registry,
) -> None:
    monkeypatch.setenv("PYWATS_SERVER_URL", wats.url)
    monkeypatch.setenv("PYWATS_API_TOKEN", wats.token)
    for part in ("PCBA-100", "PCBA-200"):
        wats.products[part.casefold()] = product(part, revisions=[{"revision": "A"}])
        wats.yields[part] = [{"partNumber": part, "unitCount": 10, "fpy": 90.0}]
    names: dict[str, Any] = {
        "__name__": "readme",
        "staging_url": wats.url,
        "staging_token": wats.token,
    }
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 5
    assert names["frame"]["part_number"].to_list() == ["PCBA-100", "PCBA-200"]
    assert names["yields"].frame().height == 6
    said = capsys.readouterr().out
    assert "3 of 3" in said
    assert "PCBA-100 1\n" in said
    assert "BOX-1 missing " in said
    assert (len(wats.products), wats.count("/api/Product/Products")) == (122, 3)
    assert names["units"].n_succeeded == 3
    assert wats.units == {}


def test_the_readme_names_every_fetcher() -> None:
    from fetchline_wats import fetchline_register_fetchers

    told = set(re.findall(r"`(wats\.\w+)`", README.read_text(encoding="utf-8")))
    fetchers = [one for module in fetchline_register_fetchers() for one in vars(module).values()]
    assert told == {one.name for one in fetchers if isinstance(one, fl.Fetcher)}
