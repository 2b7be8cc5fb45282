"""``python -m fetchline.cli``: the command line where its script is not installed."""

from __future__ import annotations

from fetchline.cli import main

if __name__ == "__main__":  # a worker process may import this module
    main()
