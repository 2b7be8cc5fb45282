"""The pytest plugin: fixtures for tests of code that uses fetchline. It does nothing until one is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fetchline.registry import Registry

__all__ = ["fetchline_no_waiting", "fetchline_registry"]


@pytest.fixture
def fetchline_no_waiting() -> Iterator[None]:
    """Leave out every wait of fetchline's runs and calls: backoff, Retry-After, NotReady and pace."""
    from fetchline.waiting import no_waiting

    with no_waiting():
        yield


@pytest.fixture
def fetchline_registry() -> Iterator[Registry]:
    """The default registry; what the test registers there, or takes away, is undone at its end."""
    from fetchline.registry import default

    before = dict(default)
    yield default
    for name in list(default):
        default.unregister(name)
    for fetcher in before.values():
        default.register(fetcher)
