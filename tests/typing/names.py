"""Every public name is known to a type checker, and others are not."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

import fetchline as fl

broken: type[BrokenProcessPool] = fl.WorkerCrashed
wrong: int = fl.WorkerCrashed  # type: ignore[assignment]
print(fl.rnu)  # type: ignore[attr-defined]
