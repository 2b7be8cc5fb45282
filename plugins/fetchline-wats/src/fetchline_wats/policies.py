"""What all fetchers of this package declare."""

from __future__ import annotations

from typing import Final

from fetchline.pace import Pace
from fetchline.retry import Try

__all__ = ["PACE", "RETRY", "TIMEOUT"]

PACE: Final = Pace("500/min", name="wats")
"""What a WATS server allows a client, and pywats' own default; each attempt of a fetcher here is one request.

It has a name because the server counts the requests of all programs that run under one token, and so must they.
"""

RETRY: Final = Try(retry=3, sleep=0.5)

TIMEOUT: Final = 60.0
"""Seconds for an attempt; each step of its request has the ``timeout`` of the session beside it, 30 s."""
