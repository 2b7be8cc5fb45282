"""What all fetchers of this package declare."""

from __future__ import annotations

from typing import Final

from fetchline.pace import Pace
from fetchline.retry import Try

__all__ = ["PACE", "RETRY", "TIMEOUT"]

PACE: Final = Pace("8/s, 500/min", name="wats")
"""What a WATS server allows, 500 requests a minute; each attempt of a fetcher here is one request.

It has a name because the server counts the requests of all programs that run under one token, and so must they.
Starts are an eighth of a second apart, 480 in a minute: the server counts arrivals, and some are held up on their way
for longer than others, up to 2 s with this much to spare.
"""

RETRY: Final = Try(retry=3, sleep=0.5)

TIMEOUT: Final = 60.0
"""Seconds for an attempt; each step of its request has the ``timeout`` of the session beside it, 30 s."""
