"""The progress display "tqdm": a bar on a terminal or in a notebook."""

from __future__ import annotations

import functools
import importlib
import sys
import weakref
from typing import Any

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import Progress, ProgressSpec, held_back

__all__ = ["TqdmProgress", "in_notebook"]


class TqdmProgress:
    """Show a tqdm bar; failed, retrying and waiting items stand behind it when there are any.

    The bar is closed by ``close``, by another ``start``, when the display is forgotten, and at exit.

    Args:
        options: any of ``tqdm.tqdm``'s keywords, such as ``file``, ``leave`` or ``unit``.
    """

    def __init__(self, **options: Any) -> None:
        self._options: dict[str, Any] = {"unit": "item", "dynamic_ncols": True, **options}
        self._bar: Any = None
        self._close: weakref.finalize[..., TqdmProgress] | None = None

    def start(self, total: int | None, label: str) -> None:
        self.close()
        self._bar = _bar_class(in_notebook())(**{"total": total, "desc": label or None, **self._options})
        self._close = weakref.finalize(self, self._bar.close)

    def update(self, progress: Progress) -> None:
        if self._close is None or not self._close.alive:
            return
        bar = self._bar
        bar.total = progress.total
        counts = {"failed": progress.failed, "retrying": progress.retrying, "waiting": progress.waiting}
        held = {name: f"{value:.3g}" for name, value in held_back(progress).items()}
        bar.set_postfix({**{name: count for name, count in counts.items() if count}, **held}, refresh=False)
        # tqdm draws only when the count has moved far enough; the postfix may be the news.
        if not bar.update(progress.done - bar.n):
            bar.refresh()

    def close(self) -> None:
        if self._close is not None:
            self._close()


def in_notebook() -> bool:
    """Tell whether this is an IPython kernel, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and "IPKernelApp" in shell.config


@functools.cache
def _bar_class(in_notebook: bool) -> Any:
    # tqdm.auto imports asyncio, which a terminal does not need.
    module = importlib.import_module("tqdm.auto" if in_notebook else "tqdm")
    # An interval of 0 starts no watching thread: updates come a few times a second anyhow.
    return type("Bar", (module.tqdm,), {"monitor_interval": 0})


@hookimpl
def fetchline_register_progress() -> list[ProgressSpec]:
    return [ProgressSpec(name="tqdm", factory=TqdmProgress, summary="a bar, on a terminal or in a notebook")]
