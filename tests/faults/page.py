"""Write ``docs/faults.md`` from the rows that the tests hold fetchline to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .endings import ANYWHERE, ENDINGS, FUTURES, Ending, Proof
from .executors import EXECUTORS
from .injections import ITEMS, TIMEOUT_S
from .matrix import MATRIX
from .promises import KINDS, PROMISES
from .record import Fault

__all__ = ["PAGE", "render"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

HEAD = """\
# What happens when

Every fault below is injected for real, on every executor, by a test that fails if the fault did not strike: processes
are killed, memory is misread, pickles explode, Ctrl-C is sent. This page is written from the rows that those tests
check, by `python -m tests.faults`.

## Executor by promise

Each promise is a test file of that name in `tests/guarantees`. How the executors differ otherwise:
[choosing an executor](howto/executors.md).

"""

_COLUMNS = "\n".join(f"- `{executor.name}`: {executor.what}" for executor in EXECUTORS)

MATRIX_HEAD = f"""\
## The fault matrix

In each test {ITEMS} items are run and one of them meets the fault, where nothing else is said. The cells say what
becomes of *that item*; its neighbours succeed, in order, at the first attempt, and no worker process is left over.

- `error`: the item is a `Failure` with that [code](howto/errors.md), after one attempt. `crashed` 3x: after three.
- `error`, all: the fault is in something that all items share, so all of them get it.
- ok: it succeeds. ok 2x: at the second attempt.
- *ends*: your program ends, as it would without fetchline. Only processes protect you from that.
- A name such as `InputFailed`: the run raises that, with the batch so far.
- A dash: it cannot happen there; why is said below the table.

The columns:

{_COLUMNS}

The test of a cell is `test_fault[fault-executor]` in `tests/faults/test_faults.py`, by the names in the first column
and in the head, such as `test_fault[os-exit-process]`.
"""

_NAMES = [f"`{executor.name}`" for executor in EXECUTORS]

RUN_HEAD = """\
## Faults of the whole run

yes: you get what the second column says. A dash: it cannot happen there.
"""

ANYWHERE_HEAD = """\
## More, on the executors they concern
"""

FUTURES_HEAD = """\
## As a plain executor

`fl.get_executor("process")` is a `concurrent.futures.Executor`. A fault is one future's; the calls before and after
it have their results.
"""


def render() -> str:
    """The whole page."""
    return HEAD + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from _table(
        ["promise", *KINDS],
        ([f"`{promise.name}` {promise.says}", *promise.cells] for promise in PROMISES),
    )
    yield ""
    yield MATRIX_HEAD
    for title, faults in MATRIX.items():
        yield from _group(title, faults)
    yield RUN_HEAD
    yield from _table(["fault", "what you get", *_NAMES], map(_ending, ENDINGS))
    yield ""
    notes = [_because(ending.what, _reasons(ending), ending.note) for ending in ENDINGS]
    yield from filter(None, notes)
    yield ""
    yield "The tests:"
    yield ""
    yield from (
        f"- {ending.what}: {_tests(test for ids in ending.tests.values() for test in ids)}."
        for ending in ENDINGS
    )
    yield ""
    yield ANYWHERE_HEAD
    yield from _proofs(ANYWHERE)
    yield FUTURES_HEAD
    yield from _proofs(FUTURES)


def _group(title: str, faults: Sequence[Fault]) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    if title.endswith("`timeout=`"):
        yield f"The timeout is {TIMEOUT_S:g} s."
        yield ""
    yield from _table(
        ["fault", *_NAMES],
        (
            [f"{fault.what} (`{fault.name}`)", *(str(fault.cells[executor.name]) for executor in EXECUTORS)]
            for fault in faults
        ),
    )
    yield ""
    notes = list(filter(None, (_because(f"`{fault.name}`", fault.reasons, fault.note) for fault in faults)))
    if notes:
        yield from notes
        yield ""


def _ending(ending: Ending) -> list[str]:
    return [
        ending.what,
        ending.gets,
        *("yes" if executor.name in ending.tests else "-" for executor in EXECUTORS),
    ]


def _reasons(ending: Ending) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for executor in EXECUTORS:
        if executor.name in ending.never:
            out.setdefault(ending.never[executor.name], []).append(executor.name)
    return out


def _because(what: str, reasons: dict[str, list[str]], note: str) -> str:
    """What there is to say about one row, as an entry of a list."""
    said = [f"{', '.join(f'`{name}`' for name in names)}: {why}." for why, names in reasons.items()]
    if note:
        said.append(note)
    return f"- {what}: {' '.join(said)}" if said else ""


def _proofs(proofs: Iterable[Proof]) -> Iterator[str]:
    yield from _table(["fault", "what you get", "test"], ([p.what, p.gets, _tests(p.tests)] for p in proofs))
    yield ""


def _tests(ids: Iterable[str]) -> str:
    """The tests' functions and their files, each once."""
    out: dict[str, None] = {}
    for test in ids:
        path, _, name = test.partition("::")
        out[f"`{name.partition('[')[0]}` ({Path(path).name})"] = None
    return ", ".join(out)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        assert len(row) == len(head)
        yield f"| {' | '.join(row)} |"
