"""A fetcher's parameters, and what text makes of them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, get_args

from fetchline.cli.common import Problem
from fetchline.cli.typed import Read, reader, spans
from fetchline.periods import Period

if TYPE_CHECKING:
    from fetchline.fetchers import Fetcher

__all__ = ["Parameters", "annotation_of"]


class Parameters:
    """Reads text by the annotations of a fetcher's function.

    Attributes:
        first: the name of the parameter that an item is passed as; None where there is none.
    """

    def __init__(self, fetcher: Fetcher[Any, Any, Any]) -> None:
        self._fetcher = fetcher
        self._reads: dict[str, tuple[Read, bool]] = {}
        session = fetcher.session_parameter
        try:
            found = inspect.signature(fetcher.function).parameters
        except (TypeError, ValueError):
            found = {}  # type: ignore[assignment]  # some built-ins have none, and get text
        self._all = {name: parameter for name, parameter in found.items() if name != session}
        self._rest = next((p for p in self._all.values() if p.kind is p.VAR_KEYWORD), None)
        self._named = {
            name: p for name, p in self._all.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self.first = next(
            (name for name, p in self._all.items() if p.kind in (*by_place, p.VAR_POSITIONAL)), None
        )

    @property
    def names(self) -> list[str]:
        """Those that ``-p`` and ``--grid`` can give."""
        return list(self._named)

    def text_stays(self, name: str | None) -> bool:
        """Whether a parameter takes text as it is."""
        return name is None or self._read(name)[0] is str

    def values(self, name: str | None, value: Any) -> list[Any]:
        """What a value from outside, mostly text, is as an argument; a span of Periods is several.

        Raises:
            ValueError: it cannot be converted.
        """
        if name is None:
            return [value]
        read, several = self._read(name)
        if not isinstance(value, str):
            if read is str and self._all[name].annotation is inspect.Parameter.empty:
                return [value]
            wanted = annotation_of(self._fetcher.function, self._all[name])
            if isinstance(wanted, type) and type(value) is wanted:
                return [value]
            value = str(value)
        if several and ":" in value:
            return list(Period.span(value))
        return [read(value)]

    def params(self, given: Iterable[str]) -> dict[str, Any]:
        """Read ``name=value`` texts.

        Raises:
            Problem: no such parameter, or no such value.
        """
        out: dict[str, Any] = {}
        for text in given:
            name, equals, value = text.partition("=")
            if not equals:
                raise Problem(f"-p takes NAME=VALUE, not {text!r}")
            self.check(name, "-p")
            if name in out:
                raise Problem(f"-p {name}= is given twice")
            try:
                (out[name],) = self.values(name, value)
            except ValueError as error:
                several = ": it is several Periods, which --grid takes" if ":" in value else f": {error}"
                raise Problem(f"-p {text} does not fit {self._fetcher.name!r}{several}") from error
        return out

    def check(self, name: str, option: str) -> None:
        """Refuse a name that the function has no parameter for."""
        if name in self._named or self._rest is not None:
            return
        near = difflib.get_close_matches(name, self._named, n=1, cutoff=0.5)
        rest = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self._named) or 'none'}"
        raise Problem(f"fetcher {self._fetcher.name!r} has no parameter {name!r} for {option}; {rest}")

    def check_complete(self, given: Iterable[str]) -> None:
        """Refuse to go on while a parameter without a default is given nowhere."""
        given = set(given)
        missing = [n for n, p in self._named.items() if p.default is p.empty and n not in given]
        if missing:
            options = " ".join(f"-p {name}=..." for name in missing)
            raise Problem(f"fetcher {self._fetcher.name!r} needs {' and '.join(missing)} too: {options}")

    def _read(self, name: str) -> tuple[Read, bool]:
        if name not in self._reads:
            parameter = self._all.get(name, self._rest)
            if parameter is None:
                return str, False
            try:
                annotation = annotation_of(self._fetcher.function, parameter)
                if name == self.first and self._fetcher.policies.bulk is not None:
                    annotation = next(iter(get_args(annotation)), str)  # it takes a list of items
                self._reads[name] = reader(annotation), spans(annotation)
            except (TypeError, NameError) as error:
                raise Problem(
                    f"{name!r} of fetcher {self._fetcher.name!r} cannot be given here: {error}"
                ) from error
        return self._reads[name]


def annotation_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Evaluate one annotation; the others may need names that are imported for type checkers only.

    Raises:
        NameError: it needs such a name.
    """
    annotation = parameter.annotation
    if not isinstance(annotation, str):
        return annotation
    function = inspect.unwrap(function)
    function = getattr(function, "func", function)  # of a functools.partial
    if not hasattr(function, "__globals__"):
        function = type(function).__call__
    try:
        return eval(annotation, getattr(function, "__globals__", {}))
    except Exception as error:
        raise NameError(f"its annotation {annotation!r} says nothing at run time ({error})") from error
