"""Progress displays that do not keep what is wanted of one; ``RED`` names the tests that say so."""

from __future__ import annotations

import threading
from typing import Any

from fetchline.testing import ProgressSuite


class Line:
    """Prints a line for each update."""

    total: Any = None
    is_open = False

    def start(self, total: int | None, label: str) -> None:
        self.is_open = True

    def update(self, progress: Any) -> None:
        if self.is_open:
            print(progress.done)

    def close(self) -> None:
        self.is_open = False


class TestHonest(ProgressSuite):
    progress = Line


class Raising(Line):
    def update(self, progress: Any) -> None:
        print(progress.done / progress.total)


class TestRaises(ProgressSuite):
    progress = Raising


class Chatty(Line):
    def update(self, progress: Any) -> None:
        print(progress.done)

    def close(self) -> None:
        print("bye")


class TestPrintsAfterClose(ProgressSuite):
    progress = Chatty


class Threaded(Line):
    def start(self, total: int | None, label: str) -> None:
        threading.Thread(target=threading.Event().wait, args=(30,), daemon=True).start()


class TestLeavesAThread(ProgressSuite):
    patience_s = 0.1
    progress = Threaded


class Fragile(Line):
    def start(self, total: int | None, label: str) -> None:
        self.text = label.format(total=total) % () + label.encode("ascii").decode()

    def close(self) -> None:
        print(self.text)


class TestIsFragile(ProgressSuite):
    progress = Fragile


RED = {
    "TestHonest": {},
    "TestRaises": {
        "test_a_total_that_is_unknown_may_be_learnt_later": "TypeError",
        "test_odd_numbers_do_no_harm[3-nothing to do]": "ZeroDivisionError",
        "test_a_run_of_nothing_is_shown_too": "ZeroDivisionError",
    },
    "TestPrintsAfterClose": {
        "test_nothing_is_shown_once_it_is_closed": "",
        "test_it_may_be_closed_before_the_end_and_closed_twice": "",
        "test_it_may_be_closed_though_it_was_never_started": "",
        "test_a_run_with_retries_and_failures_is_shown[list]": "",
    },
    "TestLeavesAThread": {"test_it_leaves_no_thread_behind": "in vain for the display's threads to end"},
    "TestIsFragile": {
        "test_it_may_be_closed_though_it_was_never_started": "AttributeError",
        "test_any_label_will_do": "",
    },
}
