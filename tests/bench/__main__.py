"""Entry point: ``python -m tests.bench``, or ``python tests/bench/__main__.py`` from anywhere."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a script, where only this directory is on the path
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
