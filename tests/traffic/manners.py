"""What servers do to their clients: overload, bad luck, odd headers, logins that expire, tasks that take time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from time import monotonic, time

from servers import Answer, Seen

__all__ = ["BEASTS", "Bears", "Desk", "Tasks", "Unlucky", "Zoo"]


@dataclass
class Bears:
    """Serves so many requests at once, ``service`` seconds each; one more is refused at once."""

    limit: int
    service: float = 0.05

    def __call__(self, seen: Seen) -> Answer:
        return Answer(after=self.service) if seen.in_flight <= self.limit else Answer(503)


@dataclass
class Unlucky:
    """Answers 503 to this share of requests, by chance; a path has the same luck in every run."""

    share: float
    seed: int = 7
    asked: Counter[str] = field(default_factory=Counter)

    def __call__(self, seen: Seen) -> Answer:
        self.asked[seen.path] += 1
        text = f"{self.seed} {seen.path} {self.asked[seen.path]}"
        luck = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) / 2**32
        return Answer(503 if luck < self.share else 200, after=0.002)


# -- the Retry-After zoo -------------------------------------------------------------------------------------


def _date(offset: float) -> str:
    return formatdate(time() + offset, usegmt=True)


BEASTS: dict[str, Callable[[], tuple[str, ...]]] = {
    "zero": lambda: ("0",),
    "negative": lambda: ("-5",),
    "past": lambda: (_date(-3600),),
    "soon": lambda: ("soon",),
    "empty": lambda: ("",),
    "nan": lambda: ("nan",),
    "doubled": lambda: ("0", "0"),
    "huge": lambda: ("1e9",),
    "infinite": lambda: ("inf",),
    "far": lambda: (_date(365 * 86400),),
}
"""Retry-After headers by name; those from ``huge`` on ask for more than anybody should wait."""


@dataclass
class Zoo:
    """``/{status}/{beast}`` gets that status with that header the first time, 200 afterwards."""

    met: set[str] = field(default_factory=set)

    def __call__(self, seen: Seen) -> Answer:
        if seen.path in self.met:
            return Answer()
        self.met.add(seen.path)
        _, status, beast = seen.path.split("/")
        return Answer(int(status), headers=tuple(("Retry-After", value) for value in BEASTS[beast]()))


# -- logins --------------------------------------------------------------------------------------------------


@dataclass
class Desk:
    """``POST /login`` gives a token, ``POST /logout`` takes it back, anything else is served to who has one.

    Attributes:
        uses: requests after which all tokens given so far expire, once.
        delay: seconds a login takes.
        fails: decides of the n-th login, from 1, whether it is answered by 503.
        service: seconds any other request takes.
        forbidden: paths that no token opens.
        valid: the tokens that are good now.
        most: the highest number of them there was at once.
    """

    uses: int | None = None
    delay: float = 0.0
    fails: Callable[[int], bool] = lambda n: False
    service: float = 0.0
    forbidden: frozenset[str] = frozenset()
    valid: set[str] = field(default_factory=set)
    most: int = 0
    served: int = 0
    tried: int = 0
    logins: int = 0
    logouts: int = 0

    def __call__(self, seen: Seen) -> Answer:
        token = seen.headers.get("authorization", "")
        if seen.path == "/login":
            return self._login()
        if seen.path == "/logout":
            self.logouts += 1
            self.valid.discard(token)
            return Answer()
        if token not in self.valid or seen.path in self.forbidden:
            return Answer(401)
        self.served += 1
        if self.served == self.uses:
            self.valid.clear()
        return Answer(after=self.service)

    def _login(self) -> Answer:
        self.tried += 1
        if self.fails(self.tried):
            return Answer(503)
        self.logins += 1
        token = f"token-{self.logins}"
        self.valid.add(token)
        self.most = max(self.most, len(self.valid))
        return Answer(body=token.encode(), after=self.delay)


# -- remote tasks --------------------------------------------------------------------------------------------


@dataclass
class Tasks:
    """``/submit/{n}`` starts task n, ``/poll/{n}`` gives 202 until it was asked ``polls`` times.

    Both tell in the body in how many milliseconds to ask again, each task its own: 50 to 500.
    """

    polls: int = 2
    submitted: Counter[str] = field(default_factory=Counter)
    polled: Counter[str] = field(default_factory=Counter)
    due: dict[str, float] = field(default_factory=dict)
    early: list[str] = field(default_factory=list)

    def __call__(self, seen: Seen) -> Answer:
        _, what, task = seen.path.split("/")
        interval = 50 + int(task) * 37 % 451
        if what == "submit":
            self.submitted[task] += 1
        else:
            if seen.at < self.due[task]:
                self.early.append(task)
            self.polled[task] += 1
            if self.polled[task] >= self.polls:
                return Answer()
        self.due[task] = monotonic() + interval / 1000
        return Answer(202, str(interval).encode())
