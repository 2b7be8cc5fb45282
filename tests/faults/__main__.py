"""Write ``docs/faults.md``: ``python -m tests.faults``, from the repository root."""

from __future__ import annotations

from .page import PAGE, render

if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
