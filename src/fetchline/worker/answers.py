"""What a function returned, held against what was asked: one for each item, the right rows, the declared columns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fetchline.errors import Missing, WrongAnswer
from fetchline.interfaces import Verdict
from fetchline.items import Args, key_of
from fetchline.verdict import note_arrival, note_freshness

if TYPE_CHECKING:
    from fetchline.worker.attempt import Program

__all__ = ["Answers", "Shape", "answers", "distinct", "held_against"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer has to be like; pickles with the program.

    Attributes:
        bulk: the function takes a list of items, and answers for each.
        check: the fetcher's ``check=``.
        key_column: the column that says which item a row is of.
        schema: column names and types of the frames.
    """

    bulk: bool = False
    check: Callable[..., Any] | None = None
    key_column: str | None = None
    schema: Any = None

    def hold(
        self, answer: Any, asked: str, arguments: Callable[[], Mapping[str, Any]], key: Callable[[], str]
    ) -> Any:
        """Hold one answer against what was asked; gives it back, a frame in the declared types.

        Args:
            asked: the text that rows have to have in the key column.
            arguments: gives what ``check`` may ask for, by name.
            key: gives the item's key, for an error.

        Raises:
            WrongAnswer: it is not the answer to this.
            TypeError: ``check`` gave something else than a bool.
        """
        if self.key_column is not None:
            _check_rows(answer, self.key_column, asked, key)
        if self.check is not None:
            right = self.check(answer, **arguments())
            if right is False:
                raise WrongAnswer(f"{_check_name(self.check)} says that this is not the answer for {key()!r}")
            if right is not True:
                raise TypeError(
                    f"check= must give True or False; for {key()!r} {_check_name(self.check)} gave {right!r}"
                )
        return answer if self.schema is None else _typed(answer, self.schema, key)


def _check_name(check: Callable[..., Any]) -> str:
    return getattr(check, "__qualname__", None) or repr(check)


def _typed(answer: Any, schema: Any, key: Callable[[], str]) -> Any:
    from fetchline.frames import conform, is_of

    if is_of(answer, schema):
        return answer
    try:
        return conform(answer, schema, key())
    except ValueError as error:
        raise WrongAnswer(str(error), suspect=False) from error


# -- one answer --------------------------------------------------------------------------------------------


def held_against(program: Program) -> Callable[[Any, Any], Any]:
    """Get the function that holds an answer against its call."""
    shape, params = program.shape, dict(program.params)
    assert shape is not None
    if shape.check is None and shape.key_column is None:
        schema = shape.schema
        return lambda call, answer: _typed(answer, schema, lambda: program.key_of(call.item))
    signature = inspect.signature(program.function)
    wanted = None if shape.check is None else _wanted(shape.check)
    injected = None if program.session is None else program.session.parameter
    column = shape.key_column

    def hold(call: Any, answer: Any) -> Any:
        item = call.item
        args, kwargs = (item.args, item.kwargs) if item.__class__ is Args else ((item,), {})
        bound = signature.bind_partial(*args, **{**params, **kwargs})

        def arguments() -> Mapping[str, Any]:
            bound.apply_defaults()
            bound.arguments.pop(injected or "", None)
            return {name: bound.arguments[name] for name in (bound.arguments if wanted is None else wanted)}

        def key() -> str:  # a plain call has none
            return program.key_of(item) or ", ".join(map(str, bound.arguments.values()))

        asked = ""
        if column is not None:
            first = next(iter(bound.arguments.values()), None)
            asked = _asked(bound.arguments.get(column, first), program, item)
        return shape.hold(answer, asked, arguments, key)

    return hold


def _asked(argument: Any, program: Program, item: Any) -> str:
    """What rows have to have in the key column: the text of the argument, or the item's key if it has none."""
    try:
        return key_of(argument)
    except TypeError:
        return program.key_of(item)


def _wanted(check: Callable[..., Any]) -> tuple[str, ...] | None:
    """The names that ``check`` asks for beside the answer; None is all there are."""
    parameters = list(inspect.signature(check).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return tuple(parameter.name for parameter in parameters)


def _check_rows(answer: Any, column: str, asked: str, key: Callable[[], str]) -> None:
    """Refuse rows that are another item's."""
    found = _column(answer, column)
    if found is None:
        raise WrongAnswer(f"the answer for {key()!r} has no column {column!r} to tell whose rows it has")
    others = [one for one in dict.fromkeys(map(_key_text, found)) if one != asked]
    if others:
        shown = ", ".join(map(repr, others[:_SHOWN])) + (", ..." if len(others) > _SHOWN else "")
        raise WrongAnswer(f"the answer for {key()!r} has rows of {shown} in the column {column!r}")


def _is_column(values: Any) -> bool:
    return isinstance(values, list | tuple) or hasattr(values, "to_list")


def _key_text(value: Any) -> str | None:
    try:
        return key_of(value)
    except TypeError:
        return None if value is None else repr(value)


def _column(answer: Any, column: str) -> Sequence[Any] | None:
    """The distinct values of a column of a frame, or of rows; None where there is none.

    Raises:
        TypeError: the answer is no frame and no rows.
    """
    if hasattr(answer, "get_column") and hasattr(answer, "columns"):
        if column not in answer.columns:
            return None if answer.columns else ()
        unique: Sequence[Any] = answer.get_column(column).unique(maintain_order=True).to_list()
        return unique
    rows = answer if isinstance(answer, list) else [answer]
    found: list[Any] = []
    for row in rows:
        if isinstance(row, Mapping):
            if column not in row:
                return None
            values = row[column]
            found += list(values) if _is_column(values) else [values]
        elif hasattr(row, column):
            found.append(getattr(row, column))
        else:
            raise TypeError(
                f"key_column={column!r} needs a frame, a dict or a list of rows, not {type(answer).__name__}"
            )
    return found


# -- many answers ------------------------------------------------------------------------------------------


class Answers(list[Any]):
    """The values of a bulk call, in the order of its items.

    Pickles so that it is sure to unpickle, whatever the errors are.

    Attributes:
        errors: of those that have no value, by their places.
        misses: the same, judged.
    """

    def __init__(self, values: Sequence[Any], errors: Mapping[int, BaseException]) -> None:
        super().__init__(values)
        self.errors = errors
        self.misses: Mapping[int, tuple[BaseException, Verdict]] = {}

    @property
    def values(self) -> Sequence[Any]:
        return self

    def judge(self, program: Program, call: Any, *, fresh: bool) -> bool:
        """Judge the errors; whether the session is of no use any more.

        Args:
            fresh: the session was opened for this very call.
        """
        from fetchline.worker.attempt import make_portable

        useless = False
        use = program.session
        misses = {}
        for at, error in self.errors.items():
            if use is not None and use.is_expired(error):
                note_freshness(error, fresh)
                useless = True
            misses[at] = (make_portable(program, error), program.verdict(error, call))
        self.misses = misses
        return useless

    def __reduce__(self) -> tuple[Any, ...]:
        from fetchline.worker.transport import dump_error

        packed = {at: (dump_error(error), verdict) for at, (error, verdict) in self.misses.items()}
        return _unpacked, (list(self), packed)


def _unpacked(values: list[Any], packed: Mapping[int, tuple[bytes, Verdict]]) -> Answers:
    from fetchline.worker.transport import load_error

    answers = Answers(values, {})
    answers.misses = {at: (load_error(error), verdict) for at, (error, verdict) in packed.items()}
    return answers


def answers(program: Program, settle: Callable[[Any], Any]) -> Callable[[Any, Any], Answers]:
    """Get the function that takes what a bulk call returned apart, an answer for each item.

    Args:
        settle: finishes a value, as that of a call for one item.
    """
    shape, params = program.shape, dict(program.params)
    assert shape is not None
    column = shape.key_column
    wanted: tuple[str, ...] | None = ()
    item_name, known = "", params
    if shape.check is not None:
        wanted, item_name = _wanted(shape.check), list(inspect.signature(shape.check).parameters)[1]
        parameters = inspect.signature(program.function).parameters.values()
        known = {**{p.name: p.default for p in parameters if p.default is not p.empty}, **params}

    def take_apart(call: Any, returned: Any) -> Answers:
        asked = {program.key_of_one(item): item for item in call.item}
        labels = {key: _label(item, key, column) for key, item in asked.items()}
        found = _one_each(returned, asked, labels, column)
        values: list[Any] = []
        errors: dict[int, BaseException] = {}
        for at, item in enumerate(call.item):
            key = program.key_of_one(item)
            value = found[key]
            if isinstance(value, BaseException):
                values.append(None)
                errors[at] = value
                continue

            def arguments(item: Any = item) -> Mapping[str, Any]:
                these = {**known, item_name: item}
                return these if wanted is None else {name: these[name] for name in wanted}

            try:
                values.append(shape.hold(settle(value), labels[key], arguments, partial(str, key)))
            except Exception as error:
                note_arrival(error)
                values.append(None)
                errors[at] = error
        return Answers(values, errors)

    return take_apart


def _label(item: Any, key: str, column: str | None) -> str:
    """What an item's rows have in the key column: its key; of ``Args``, the argument of that name, or the first."""
    if column is None or item.__class__ is not Args:
        return key
    arguments = (*item.args, *item.kwargs.values())
    return key_of(item.kwargs.get(column, arguments[0] if arguments else key))


def distinct(program: Program, items: Sequence[Any]) -> list[Any]:
    """The items a bulk function is called with: equal ones once, or it would be told the same twice."""
    return list({program.key_of_one(item): item for item in items}.values())


def _one_each(
    returned: Any, asked: Mapping[str, Any], labels: Mapping[str, str], key_column: str | None
) -> dict[str, Any]:
    """What was returned, by the key of each item; an error where there is none.

    Raises:
        WrongAnswer: there are more or fewer than items.
        TypeError: it is nothing that could be taken apart.
    """
    if isinstance(returned, Mapping):
        return _from_mapping(returned, asked)
    if hasattr(returned, "partition_by"):
        return _dealt(_parts(returned, key_column), labels, key_column)
    if key_column is not None and isinstance(returned, list) and returned and _are_rows(returned):
        return _dealt(_rows(returned, key_column), labels, key_column)
    if isinstance(returned, list | tuple) or hasattr(returned, "to_list"):
        values = list(returned)
        if len(values) != len(asked):
            raise WrongAnswer(
                f"a bulk call for {len(asked)} items returned {len(values)} values: nobody knows which is whose. "
                "Return a mapping by item where some may be left out"
            )
        return {key: _instance(value) for key, value in zip(asked, values, strict=True)}
    raise TypeError(
        "a bulk function returns a mapping by item, a list in the order of its items, or, with a key_column, one "
        f"frame or a list of rows; this one returned a {type(returned).__name__}"
    )


def _instance(value: Any) -> Any:
    return value() if isinstance(value, type) and issubclass(value, BaseException) else value


def _from_mapping(returned: Mapping[Any, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in asked.items():
        for name in (item, key):
            try:
                if name in returned:
                    found[key] = _instance(returned[name])
                    break
            except TypeError:  # an item that does not hash
                continue
    strange = [name for name in returned if name not in asked and _key_text(name) not in asked]
    return _with_the_missing(found, asked, strange, [*returned], f"it is a mapping of {len(returned)}")


def _dealt(
    parts: Mapping[str | None, Any], labels: Mapping[str, str], key_column: str | None
) -> dict[str, Any]:
    found = {key: parts[label] for key, label in labels.items() if label in parts}
    strange = [label for label in parts if label not in set(labels.values())]
    what = f"by {key_column!r} it has rows of {len(parts)}"
    return _with_the_missing(found, labels, strange, [*parts], what)


def _with_the_missing(
    found: dict[str, Any], asked: Mapping[str, Any], strange: Sequence[Any], there: Sequence[Any], what: str
) -> dict[str, Any]:
    """Say of each item without an answer whether it was left out, or whether others were answered in its place."""
    shown = ", ".join(f"{name!r:.40}" for name in list(there)[:_SHOWN]) + (
        ", ..." if len(there) > _SHOWN else ""
    )
    for key in asked:
        if key not in found:
            text = f"the answer has nothing for {key!r}; {what}{': ' + shown if shown else ''}"
            if strange:
                found[key] = WrongAnswer(f"{text}. {strange[0]!r:.40} was not asked for")
            else:
                found[key] = Missing(text)
    return found


def _are_rows(returned: list[Any]) -> bool:
    return all(isinstance(row, Mapping) for row in returned)


def _rows(returned: list[Any], key_column: str) -> dict[str | None, list[Any]]:
    parts: dict[str | None, list[Any]] = {}
    for row in returned:
        if key_column not in row:
            raise WrongAnswer(
                f"a row of a bulk answer has no {key_column!r}; it has {', '.join(map(str, row))}"
            )
        parts.setdefault(_key_text(row[key_column]), []).append(row)
    return parts


def _parts(frame: Any, key_column: str | None) -> dict[str | None, Any]:
    if key_column is None:
        raise TypeError(
            "a bulk function that returns one frame says which rows are whose: @fetcher(bulk=..., key_column=...)"
        )
    if key_column not in frame.columns:
        if frame.height:
            raise WrongAnswer(
                f"the frame of a bulk call has no column {key_column!r}; it has {frame.columns}"
            )
        return {}
    parts = frame.partition_by(key_column, as_dict=True, maintain_order=True)
    return {_key_text(name[0]): part for name, part in parts.items()}
