"""Concurrent, ordered, retrying batch fetching into Polars: one decorated function, any executor, every result.

>>> import fetchline as fl
>>> @fl.fetcher("docs.double", retry=3)
... def double(n: int) -> dict:
...     return {"twice": [2 * n]}
>>> fl.run("docs.double", [1, 2, 3], progress=None).frame()["twice"].to_list()
[2, 4, 6]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fetchline.batch import Batch as Batch
    from fetchline.bulk import Bulk as Bulk
    from fetchline.catalog import use as use
    from fetchline.config import BatchConfig as BatchConfig
    from fetchline.errors import AttemptTimeout as AttemptTimeout
    from fetchline.errors import BatchCancelled as BatchCancelled
    from fetchline.errors import BatchError as BatchError
    from fetchline.errors import BatchFailed as BatchFailed
    from fetchline.errors import BatchInterrupted as BatchInterrupted
    from fetchline.errors import DuplicateName as DuplicateName
    from fetchline.errors import FetchlineError as FetchlineError
    from fetchline.errors import InputFailed as InputFailed
    from fetchline.errors import Missing as Missing
    from fetchline.errors import NoData as NoData
    from fetchline.errors import NotReady as NotReady
    from fetchline.errors import PluginError as PluginError
    from fetchline.errors import RetryAfter as RetryAfter
    from fetchline.errors import SessionFailed as SessionFailed
    from fetchline.errors import StoreBusy as StoreBusy
    from fetchline.errors import StoreDamaged as StoreDamaged
    from fetchline.errors import StoredError as StoredError
    from fetchline.errors import StoreError as StoreError
    from fetchline.errors import StoreFailed as StoreFailed
    from fetchline.errors import StoreMismatch as StoreMismatch
    from fetchline.errors import StoreTooNew as StoreTooNew
    from fetchline.errors import UnknownName as UnknownName
    from fetchline.errors import Unpicklable as Unpicklable
    from fetchline.errors import WrongAnswer as WrongAnswer
    from fetchline.executors import get_executor as get_executor
    from fetchline.familiar import batch_execute as batch_execute
    from fetchline.familiar import batch_fetch as batch_fetch
    from fetchline.familiar import optimal_workers as optimal_workers
    from fetchline.familiar import run_in_parallel as run_in_parallel
    from fetchline.fetchers import Fetcher as Fetcher
    from fetchline.fetchers import fetcher as fetcher
    from fetchline.fetchers import injected as injected
    from fetchline.hookspecs import hookimpl as hookimpl
    from fetchline.interfaces import ExecutorSpec as ExecutorSpec
    from fetchline.interfaces import Progress as Progress
    from fetchline.interfaces import ProgressSpec as ProgressSpec
    from fetchline.interfaces import RunInfo as RunInfo
    from fetchline.interfaces import SessionSpec as SessionSpec
    from fetchline.interfaces import StoreSpec as StoreSpec
    from fetchline.interfaces import Verdict as Verdict
    from fetchline.items import Args as Args
    from fetchline.items import grid as grid
    from fetchline.jobs import Job as Job
    from fetchline.journal.files import Files as Files
    from fetchline.pace import Pace as Pace
    from fetchline.periods import Period as Period
    from fetchline.planner import Plan as Plan
    from fetchline.planner import plan as plan
    from fetchline.registry import Registry as Registry
    from fetchline.results import Failure as Failure
    from fetchline.results import Result as Result
    from fetchline.results import Success as Success
    from fetchline.retry import Try as Try
    from fetchline.retry import TryWithSession as TryWithSession
    from fetchline.reuse import except_last as except_last
    from fetchline.reuse import fresh as fresh
    from fetchline.runner import arun as arun
    from fetchline.runner import astream as astream
    from fetchline.runner import run as run
    from fetchline.runner import stream as stream
    from fetchline.runner import submit as submit
    from fetchline.runs import RunState as RunState
    from fetchline.runs import compact as compact
    from fetchline.runs import list_runs as list_runs
    from fetchline.runs import open_run as open_run
    from fetchline.runs import resume as resume
    from fetchline.runs import run_state as run_state
    from fetchline.runs import settle as settle
    from fetchline.runs import verify as verify
    from fetchline.summary import Summary as Summary
    from fetchline.tracking import JobInfo as JobInfo
    from fetchline.tracking import JobStatus as JobStatus
    from fetchline.tracking import JobTracker as JobTracker
    from fetchline.worker.context import attempt as attempt
    from fetchline.worker.crash import WorkerCrashed as WorkerCrashed

_HOMES = {
    "batch": ("Batch",),
    "bulk": ("Bulk",),
    "catalog": ("use",),
    "config": ("BatchConfig",),
    "journal.files": ("Files",),
    "reuse": ("except_last", "fresh"),
    "errors": (
        "AttemptTimeout",
        "BatchCancelled",
        "BatchError",
        "BatchFailed",
        "BatchInterrupted",
        "DuplicateName",
        "FetchlineError",
        "InputFailed",
        "Missing",
        "NoData",
        "NotReady",
        "PluginError",
        "RetryAfter",
        "SessionFailed",
        "StoreBusy",
        "StoreDamaged",
        "StoreError",
        "StoreFailed",
        "StoreMismatch",
        "StoreTooNew",
        "StoredError",
        "Undecodable",
        "UnknownName",
        "Unpicklable",
        "WorkerCrashed",
        "WrongAnswer",
    ),
    "executors": ("get_executor",),
    "familiar": ("batch_execute", "batch_fetch", "optimal_workers", "run_in_parallel"),
    "fetchers": ("Fetcher", "fetcher", "injected"),
    "hookspecs": ("hookimpl",),
    "interfaces": (
        "ExecutorSpec",
        "Progress",
        "ProgressSpec",
        "RunInfo",
        "SessionSpec",
        "StoreSpec",
        "Verdict",
    ),
    "items": ("Args", "grid"),
    "jobs": ("Job",),
    "pace": ("Pace",),
    "periods": ("Period",),
    "planner": ("Plan", "plan"),
    "registry": ("Registry",),
    "results": ("Failure", "Result", "Success"),
    "retry": ("Try", "TryWithSession"),
    "runs": ("RunState", "compact", "list_runs", "open_run", "resume", "run_state", "settle", "verify"),
    "runner": ("arun", "astream", "run", "stream", "submit"),
    "summary": ("Summary",),
    "tracking": ("JobInfo", "JobStatus", "JobTracker"),
    "worker.context": ("attempt",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # names are loaded on first use (PEP 562)
__version__ = "0.1.0"


if not TYPE_CHECKING:  # or a type checker would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'fetchline' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"fetchline.{home}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
