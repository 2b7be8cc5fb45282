"""A plugin: the standard library's threads."""

from concurrent.futures import ThreadPoolExecutor

import fetchline as fl


@fl.hookimpl
def fetchline_register_executors():
    return [fl.ExecutorSpec(name="pools.threads", factory=ThreadPoolExecutor)]
