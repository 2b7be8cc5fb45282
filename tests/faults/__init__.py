"""What happens when: every fault on every executor, injected for real.

``table`` says what a user gets, ``test_faults`` holds it to that, and ``python -m tests.faults`` writes it to
``docs/faults.md``. Run from the repository root.
"""

import sys
from pathlib import Path

# Evidence, scripts and waiting are those of the guarantees' tests.
sys.path.append(str(Path(__file__).resolve().parents[1] / "guarantees"))
