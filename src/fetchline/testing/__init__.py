"""What to test plugins and fetchers with: suites of guarantees, doubles, and a mode that does not wait.

Importing it imports nothing; a suite imports pytest when it is first named.

>>> from fetchline.testing import no_waiting
>>> with no_waiting():
...     pass
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fetchline.testing.doubles import FakeSession as FakeSession
    from fetchline.testing.doubles import flaky as flaky
    from fetchline.testing.evidence import Log as Log
    from fetchline.testing.evidence import LoggedSession as LoggedSession
    from fetchline.testing.evidence import gone as gone
    from fetchline.testing.evidence import until as until
    from fetchline.testing.executors import ExecutorSuite as ExecutorSuite
    from fetchline.testing.http import HTTPSuite as HTTPSuite
    from fetchline.testing.http.origin import Origin as Origin
    from fetchline.testing.lane import Lane as Lane
    from fetchline.testing.progress import ProgressSuite as ProgressSuite
    from fetchline.testing.sessions import SessionSuite as SessionSuite
    from fetchline.testing.stores import StoreSuite as StoreSuite
    from fetchline.waiting import no_waiting as no_waiting

_SUITES = {
    "ExecutorSuite": "fetchline.testing.executors",
    "HTTPSuite": "fetchline.testing.http",
    "ProgressSuite": "fetchline.testing.progress",
    "SessionSuite": "fetchline.testing.sessions",
    "StoreSuite": "fetchline.testing.stores",
}
_HOME_OF = {
    "FakeSession": "fetchline.testing.doubles",
    "Lane": "fetchline.testing.lane",
    "Log": "fetchline.testing.evidence",
    "LoggedSession": "fetchline.testing.evidence",
    "Origin": "fetchline.testing.http.origin",
    "flaky": "fetchline.testing.doubles",
    "gone": "fetchline.testing.evidence",
    "no_waiting": "fetchline.waiting",
    "until": "fetchline.testing.evidence",
    **_SUITES,
}

__all__ = sorted(_HOME_OF)  # names are loaded on first use (PEP 562)

if not TYPE_CHECKING:  # or a type checker would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'fetchline.testing' has no attribute {name!r}")
        if name in _SUITES:
            import pytest

            pytest.register_assert_rewrite(home)  # so that a test that fails shows the values
        value = globals()[name] = getattr(import_module(home), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
