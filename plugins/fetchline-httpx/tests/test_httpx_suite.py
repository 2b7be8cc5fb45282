"""The session keeps to what fetchline wants of an HTTP session."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import fetchline as fl
from fetchline.demo.server import DemoServer
from fetchline.demo.service import Manners
from fetchline.testing import HTTPSuite


class TestHttpx(HTTPSuite):
    session = fl.use("httpx", trust_env=False)


def test_the_example_of_the_readme_runs(fetchline_registry: fl.Registry) -> None:
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    with DemoServer(Manners(latency=(0, 0), failures=0)) as server:
        names: dict[str, Any] = {"key": "k", "symbols": ["AAPL", "FB", "ACME"]}
        exec(found[1].replace("https://api.example.com", server.url), names)
    for batch in (names["batch"], names["wide"]):
        assert [result.is_success for result in batch] == [True, True, False]
        assert batch.frame()["key"].unique(maintain_order=True).to_list() == ["AAPL"]
