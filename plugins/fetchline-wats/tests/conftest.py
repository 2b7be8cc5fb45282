from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from wats_server import WatsServer


@pytest.fixture(autouse=True)
def nobody_elses_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace of these fetchers is shared by all that run on a machine; each test has a machine of its own."""
    monkeypatch.setenv("FETCHLINE_STATE", str(tmp_path / "state"))
    for name in ("PYWATS_SERVER_URL", "PYWATS_API_TOKEN", "WATS_BASE_URL", "WATS_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wats() -> Iterator[WatsServer]:
    with WatsServer() as server:
        yield server
