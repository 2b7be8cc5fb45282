"""One way to carry a run, and runs on it.

Workers may import this module: it imports neither pytest nor Polars.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import fetchline as fl

__all__ = ["Lane"]


@dataclass(frozen=True)
class Lane:
    """An executor under test, and how wide it is; runs of it show no progress.

    Attributes:
        name: names it in messages.
        executor: what is given as ``executor=``.
        width: attempts at once.
        is_async: fetch functions are made coroutine functions.
        far: attempts are made in other processes.

    >>> lane = Lane("two threads", "thread", 2)
    >>> lane.run(lambda n: -n, [1, 2]).values
    [-1, -2]
    """

    name: str
    executor: Any
    width: int
    is_async: bool = False
    far: bool = False

    def fetcher(self, body: Callable[..., Any], name: str = "probe", **policies: Any) -> Any:
        """Make an unregistered fetcher of a plain body, a coroutine function where the lane wants one."""
        return fl.Fetcher.of(_coroutine(body) if self.is_async else body, name, **policies)

    def options(self, **options: Any) -> dict[str, Any]:
        """The options of a run on it, with those given."""
        width = "concurrency" if self.is_async else "workers"
        return {"executor": self.executor, "progress": None, width: self.width, **options}

    def run(self, fetcher: Any, items: Any, **options: Any) -> Any:
        """``fetchline.run`` of a fetcher or a plain body."""
        return fl.run(self._of(fetcher), items, **self.options(**options))

    def stream(self, fetcher: Any, items: Any, **options: Any) -> Any:
        """``fetchline.stream`` of a fetcher or a plain body."""
        return fl.stream(self._of(fetcher), items, **self.options(**options))

    def submit(self, fetcher: Any, items: Any, **options: Any) -> Any:
        """``fetchline.submit`` of a fetcher or a plain body."""
        return fl.submit(self._of(fetcher), items, **self.options(**options))

    def _of(self, fetcher: Any) -> Any:
        return fetcher if isinstance(fetcher, fl.Fetcher) else self.fetcher(fetcher)


def _coroutine(body: Callable[..., Any]) -> Callable[..., Any]:
    """The body as a coroutine function: it may wait, for it runs in a thread, and is awaited."""

    async def probe(*args: Any, **kwargs: Any) -> Any:
        # Not asyncio.to_thread: its threads are waited for when a loop is closed.
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def settle(put: Callable[[Any], None], value: Any) -> None:
            if not answer.done():
                put(value)

        def finish(put: Callable[[Any], None], value: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle, put, value)

        def work() -> None:
            try:
                value = body(*args, **kwargs)
            except BaseException as error:
                finish(answer.set_exception, error)
            else:
                finish(answer.set_result, value)

        threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
        return await answer

    # The body's own parameters count, such as the one that gets the session.
    probe.__signature__ = inspect.signature(body)  # type: ignore[attr-defined]
    return probe
