"""Standard output, kept for the answer."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["printing_to_standard_error"]


@contextlib.contextmanager
def printing_to_standard_error() -> Iterator[None]:
    """Send to standard error what is printed meanwhile, by worker processes that start meanwhile too."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # closed
        kept = -1
    try:
        if kept >= 0:
            os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept >= 0:
            os.dup2(kept, 1)
            os.close(kept)
