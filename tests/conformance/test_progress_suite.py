"""Every built-in progress display keeps to what is wanted of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fetchline as fl
from fetchline.testing import ProgressSuite


class TestTqdm(ProgressSuite):
    progress = "tqdm"


class TestLog(ProgressSuite):
    progress = fl.use("log", every=0)


class TestJsonl(ProgressSuite):
    progress = "jsonl"


class TestJsonlFile(ProgressSuite):
    """In a file, which is not seen on the terminal."""

    path: Path

    @pytest.fixture
    def progress(self, tmp_path: Path) -> Any:
        type(self).path = tmp_path / "progress.jsonl"
        return fl.use("jsonl", path=self.path)

    def shown(self) -> str:
        return self.path.read_text() if self.path.exists() else ""


class TestAuto(ProgressSuite):
    progress = "auto"


class TestNone(ProgressSuite):
    progress = "none"
