"""What a run came to, in numbers and in words."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from fetchline.results import ErrorCode

__all__ = ["Summary", "counted"]


@dataclass(slots=True)
class Summary:
    """What a run came to.

    Attributes:
        fetcher, executor, concurrency: what ran, where, how wide.
        total: items taken.
        succeeded, empty, failed: items by outcome; ``empty`` ones (``NoData``) are among the succeeded.
        codes: failures by error code.
        first_keys: the first key of each error code.
        stored: items whose outcome was in the store and was not fetched again.
        shared: successes that have another item's value, as their keys are equal; among the succeeded.
        attempts: calls of the function, each counted once for every item it was for.
        calls: calls of the function.
        retried: failed attempts, after which there was another one, by code; a bulk call is one.
        wall_s: seconds from start to end.
        ran_s: seconds attempts ran, all added up.
        limited_s: seconds for which an item was ready and a worker free, and the pace, a cooldown or an outage had
            them wait.
        cooled_s: seconds nothing could start because a server asked for a pause.
        outage_s: seconds for which nobody got an answer.
        refused: attempts that were answered with 429.
        found: attempts at once and starts a second that an adaptive pace came to; None where it found no limit.
        logins, logouts: sessions opened and closed, in this process and in worker processes of ours.
        abandoned: attempts that still run when the run has ended: past their timeout, or past its stop.
        observer_errors: errors of observer plugins, logged and isolated.
        stopped: why the run ended early, or None.
        advice: what would make the next run better.
    """

    fetcher: str = ""
    executor: str = ""
    concurrency: int = 1
    total: int = 0
    succeeded: int = 0
    empty: int = 0
    failed: int = 0
    codes: Counter[ErrorCode] = field(default_factory=Counter)
    first_keys: dict[ErrorCode, str] = field(default_factory=dict)
    stored: int = 0
    shared: int = 0
    attempts: int = 0
    calls: int = 0
    retried: Counter[ErrorCode] = field(default_factory=Counter)
    wall_s: float = 0.0
    ran_s: float = 0.0
    limited_s: float = 0.0
    cooled_s: float = 0.0
    outage_s: float = 0.0
    refused: int = 0
    found: tuple[int | None, float | None] = (None, None)
    logins: int = 0
    logouts: int = 0
    abandoned: int = 0
    observer_errors: int = 0
    stopped: str | None = None

    @property
    def advice(self) -> tuple[str, ...]:
        out = []
        level, rate = self.found
        if level is not None or rate is not None:
            rates = "" if rate is None else f' pace="{_rate(rate)}"'
            width = "" if level is None else f" concurrency={level}"
            out.append(
                f"the server bore no more than this:{width}{rates}; to say so at once avoids its refusals"
            )
        elif self.cooled_s > 0.1 * self.wall_s and self.cooled_s > 1:
            out.append(
                f"the server's own limit held the run back for {self.cooled_s:.1f} s: a pace= just below it, or "
                'pace="adaptive", avoids the refusals'
            )
        held = self.limited_s - self.cooled_s - self.outage_s
        if self.succeeded and held > 0.5 * self.wall_s and self.wall_s > 1 and self.found == (None, None):
            out.append(
                f"the pace decided how long the run took: for {held:.1f} s of {self.wall_s:.1f} s a worker was free "
                "and had to wait; more of them will not be faster"
            )
        if self.abandoned:
            out.append(
                f"{self.abandoned} attempts are stuck and hold their threads: give the client a timeout of its own"
            )
        busy = self.ran_s / (self.wall_s * self.concurrency) if self.wall_s else 0.0
        free = self.found == (None, None) and not self.refused
        if busy > 0.9 and self.wall_s > 5 and free and self.executor in ("thread", "asyncio"):
            out.append("every worker was busy all the time: a higher concurrency may be faster")
        return tuple(out)

    @property
    def failures_by_code(self) -> str:
        return ", ".join(
            f"{count} {code} (first: {self.first_keys[code]!r})" for code, count in self.codes.most_common()
        )

    def __str__(self) -> str:
        items = counted(self.total, "item")
        lines = [
            f"{self.fetcher}: {items} in {self.wall_s:.2f} s on {self.executor} x {self.concurrency}",
            f"  succeeded {self.succeeded:,}"
            + (f", {self.empty:,} of them empty" if self.empty else "")
            + (f", {self.stored:,} of them stored before" if self.stored else "")
            + (f", {self.shared:,} of them fetched for an equal item" if self.shared else ""),
        ]
        if self.failed:
            lines.append(f"  failed    {self.failed:,}: {self.failures_by_code}")
        again = self.attempts - self.total
        calls = f" in {counted(self.calls, 'call')}" if self.calls < self.attempts else ""
        lines.append(
            f"  attempts  {self.attempts:,}{calls}"
            + (f", {again:,} more than one each" if again > 0 else "")
            + f"; {self.ran_s:.2f} s added up"
        )  # fmt: skip
        if self.retried:
            codes = ", ".join(f"{count:,} {code}" for code, count in self.retried.most_common())
            lines.append(f"  retried   after {codes}")
        if self.limited_s:
            lines.append(f"  limited   {self.limited_s:.2f} s, ready to start and kept waiting")
        if self.cooled_s:
            lines.append(f"  cooldown  {self.cooled_s:.2f} s, as the server asked; {self.refused:,} refusals")
        if self.outage_s:
            lines.append(f"  outage    {self.outage_s:.2f} s without an answer to anybody")
        if self.logins:
            lines.append(f"  sessions  {self.logins} opened, {self.logouts} closed")
        if self.stopped:
            lines.append(f"  stopped   {self.stopped}")
        lines.extend(f"  advice    {line}" for line in self.advice)
        return "\n".join(lines)


def counted(count: int, noun: str) -> str:
    """
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _rate(starts: float) -> str:
    return f"{int(starts)}/s" if starts >= 1 else f"1/{math.ceil(1 / starts)}s"
