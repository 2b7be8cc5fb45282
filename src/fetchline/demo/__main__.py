"""``python -m fetchline.demo``: the demonstration, as ``fetchline demo`` runs it."""

from __future__ import annotations

import sys

from fetchline.demo.program import main

if __name__ == "__main__":  # a worker process may import this module
    sys.exit(main())
