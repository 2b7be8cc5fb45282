"""Pools that know nothing of fetchline, each a plugin of a few lines, keep what their flags say."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pytest

from fetchline.catalog import catalog
from fetchline.testing import ExecutorSuite


class Pool(ExecutorSuite):
    """``plugin`` is a module of ``pools``, registered as long as its suite runs."""

    plugin: str

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[str]:
        module = import_module(f"pools.{cls.plugin}")
        catalog().register(module)
        yield f"pools.{cls.plugin}"
        catalog().unregister(module)


class TestThreads(Pool):
    plugin = "threads"


class TestProcesses(Pool):
    plugin = "processes"
    replaces_workers = False


class TestLoky(Pool):
    plugin = "loky"
    replaces_workers = False
    cancels_futures = False
