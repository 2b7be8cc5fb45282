"""What the command line's tests share."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["SOURCE", "environment"]

SOURCE = Path(__file__).parents[2] / "src"


def environment(**changes: str) -> dict[str, str]:
    """An environment without settings of the machine, in which our own plugins take no part."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FETCHLINE", "COLUMNS"))}
    ours = {
        "PYTHONPATH": str(SOURCE),
        "NO_COLOR": "1",
        "FETCHLINE_BLOCK": "aiohttp,baostock,httpx,rich,s3,wats",
    }
    return {**inherited, **ours, **changes}
