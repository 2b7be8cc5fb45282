"""Every built-in executor keeps what it promises."""

from __future__ import annotations

import fetchline as fl
from fetchline.testing import ExecutorSuite


class TestSerial(ExecutorSuite):
    executor = "serial"
    workers = 1
    background = False


class TestThread(ExecutorSuite):
    executor = "thread"


class TestProcess(ExecutorSuite):
    executor = "process"


class TestProcessSpawn(ExecutorSuite):
    executor = fl.use("process", start="spawn")


class TestAsyncio(ExecutorSuite):
    executor = "asyncio"
