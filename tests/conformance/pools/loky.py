"""A plugin: loky's processes."""

from loky import ProcessPoolExecutor

import fetchline as fl


@fl.hookimpl
def fetchline_register_executors():
    return [
        fl.ExecutorSpec(
            name="pools.loky", factory=ProcessPoolExecutor, needs_pickling=True, isolates_crashes=True
        )
    ]
