"""Every built-in store keeps to what is wanted of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fetchline.builtin.directory import Directory
from fetchline.builtin.memory import Memory
from fetchline.testing import StoreSuite


class TestDirectory(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Any:
        return lambda: Directory(tmp_path / "store")


class TestMemory(StoreSuite):
    @pytest.fixture
    def store(self) -> Any:
        place = Memory()
        return lambda: place
