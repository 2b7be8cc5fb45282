"""Logging in worker processes: records go to the parent, whose handlers show them as its own."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping
from logging.handlers import QueueHandler
from typing import Any

__all__ = ["Forward", "levels", "relog", "take_levels"]

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class Forward(QueueHandler):
    """The root handler of a worker process: formats a record's arguments and sends it on.

    Args:
        send: gets the pickled record.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # enqueue() needs no queue
        self._send = send

    def enqueue(self, record: logging.LogRecord) -> None:
        record.processName = "fetchline-worker"
        try:
            payload = pickle.dumps(record.__dict__)
        except Exception:  # an extra= that does not pickle
            payload = pickle.dumps({name: record.__dict__[name] for name in _STANDARD & set(record.__dict__)})
        try:
            self._send(payload)
        except OSError:
            pass  # the parent has gone


def relog(payload: bytes | bytearray) -> None:
    """Handle a worker's record as if it had been logged here; one that cannot be costs the run nothing."""
    try:
        record = logging.makeLogRecord(pickle.loads(payload))
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except Exception:  # an extra= that loads in the worker only, a filter that raises
        logging.getLogger("fetchline").warning("a log record of a worker was lost", exc_info=True)


def levels() -> dict[str, int]:
    """The levels set in this process, by logger; the root's name is empty, ``*`` is ``logging.disable``'s."""
    known = logging.root.manager.loggerDict.items()
    own = {
        name: logger.level for name, logger in [*known] if isinstance(logger, logging.Logger) and logger.level
    }
    return {**own, "": logging.root.level, "*": logging.root.manager.disable}


def take_levels(said: Mapping[str, Any]) -> None:
    """Log in this process what the parent would not throw away."""
    logging.disable(said["*"])
    for name, level in said.items():
        if name != "*":
            logging.getLogger(name or None).setLevel(level)
