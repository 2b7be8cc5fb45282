"""One subject of one case in an interpreter of its own: a round for each line read, a figure for each round.

Called by ``measure`` as ``python -m tests.bench.child ROW CASE SUBJECT full|quick``.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys

from .cases import cases

__all__ = ["short"]


def main(row: str, name: str, subject: str, size: str) -> None:
    # What a subject prints must not be taken for a figure.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    case = next(case for case in cases([row], quick=size == "quick") if case.name == name)
    for _ in sys.stdin:
        gc.collect()
        try:
            reply: dict[str, object] = {"figure": case.gauge(case.subjects[subject])}
        except BaseException as error:
            reply = {"error": short(error)}
        replies.write(json.dumps(reply) + "\n")


def short(error: BaseException) -> str:
    """Say in one line what went wrong; where on this machine is left out, because reports are committed."""
    text = f"{type(error).__name__}: {error}".partition("\n")[0]
    return re.sub(r"(/[\w.@+-]+)+/", "", text)


if __name__ == "__main__":
    main(*sys.argv[1:])
