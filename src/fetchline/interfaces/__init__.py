"""What plugins provide: the protocols of the four kinds of backend, and the records that announce them."""

from __future__ import annotations

from fetchline.interfaces.executors import (
    Executor,
    ExecutorSpec,
    LoopWorker,
    PullExecutor,
    RemoteWorker,
    Source,
    Worker,
)
from fetchline.interfaces.naming import Use
from fetchline.interfaces.progress import Progress, ProgressBackend, ProgressSpec, held_back
from fetchline.interfaces.sessions import SessionScope, SessionSpec, keywords
from fetchline.interfaces.stores import ObjectStore, StoredObject, StoreSpec
from fetchline.interfaces.told import AttemptInfo, RunInfo
from fetchline.interfaces.verdicts import Verdict, VerdictKind

__all__ = [
    "AttemptInfo",
    "Executor",
    "ExecutorSpec",
    "LoopWorker",
    "ObjectStore",
    "Progress",
    "ProgressBackend",
    "ProgressSpec",
    "PullExecutor",
    "RemoteWorker",
    "RunInfo",
    "SessionScope",
    "SessionSpec",
    "Source",
    "StoreSpec",
    "StoredObject",
    "Use",
    "Verdict",
    "VerdictKind",
    "Worker",
    "held_back",
    "keywords",
]
