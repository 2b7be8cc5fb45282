"""A plugin: the standard library's processes, each a fresh interpreter."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import fetchline as fl

spawning = partial(ProcessPoolExecutor, mp_context=get_context("spawn"))


@fl.hookimpl
def fetchline_register_executors():
    return [
        fl.ExecutorSpec(name="pools.processes", factory=spawning, needs_pickling=True, isolates_crashes=True)
    ]
