"""Telling observers what happens in a run, without letting one of them hurt it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from fetchline._plugin import Plugin
from fetchline.interfaces import AttemptInfo, RunInfo
from fetchline.results import Result

__all__ = ["Observers"]

_log = logging.getLogger("fetchline.plugins")


class Observers:
    """The observers of one run, told in the order in which they were named; for the host thread only.

    An observer that raises is logged once for each hook, counted each time, and goes on being told.

    Attributes:
        errors: how often an observer raised.
        wants_attempts: somebody listens to ``attempt_finished``; else there is no need to call it.
        wants_items: somebody listens to ``item_finished``.

    >>> quiet = Observers([])
    >>> quiet.wants_items, quiet.errors
    (False, 0)
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        plugins = list(plugins)

        def listening(hook: str) -> list[Plugin]:
            return [plugin for plugin in plugins if plugin.implements(hook)]

        self._start = listening("fetchline_run_started")
        self._attempt = listening("fetchline_attempt_finished")
        self._item = listening("fetchline_item_finished")
        self._finish = listening("fetchline_run_finished")
        self._logged: set[tuple[Plugin, str]] = set()
        self.errors = 0
        self.wants_attempts = bool(self._attempt)
        self.wants_items = bool(self._item)

    def run_started(self, run: RunInfo) -> None:
        self._tell(self._start, "fetchline_run_started", run=run)

    def attempt_finished(self, run: RunInfo, attempt: AttemptInfo) -> None:
        self._tell(self._attempt, "fetchline_attempt_finished", run=run, attempt=attempt)

    def item_finished(self, run: RunInfo, result: Result[Any]) -> None:
        self._tell(self._item, "fetchline_item_finished", run=run, result=result)

    def run_finished(self, run: RunInfo, summary: Any) -> None:
        self._tell(self._finish, "fetchline_run_finished", run=run, summary=summary)

    def _tell(self, plugins: list[Plugin], hook: str, **facts: Any) -> None:
        for plugin in plugins:
            try:
                plugin.hook(hook)(**facts)
            except Exception as error:  # an observer cannot hurt the run
                self.errors += 1
                # A million items must not become a million tracebacks.
                if (plugin, hook) not in self._logged:
                    self._logged.add((plugin, hook))
                    _log.warning("%s failed in %s; more of it is only counted", plugin, hook, exc_info=error)
