"""What a run goes over: ``Args``, ``grid``, and the keys of items."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import product
from types import MappingProxyType
from typing import Any, NoReturn, final, overload

from fetchline.periods import Period

__all__ = ["Args", "Grid", "are_told_apart", "check_items", "grid", "key_of", "key_parts", "uniform_type"]


@final
class Args:
    """An item that stands for several arguments: the function is called with all of them.

    Any other item is passed as the one first argument, a tuple too. Equal when the arguments are, whatever
    the order of the named ones; hashable when they are.

    >>> Args("AAPL", period="2024-Q1")
    Args('AAPL', period='2024-Q1')
    """

    __slots__ = ("_kwargs", "args")

    args: tuple[Any, ...]
    _kwargs: dict[str, Any]

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "_kwargs", kwargs)

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The named arguments, in the order given; read-only."""
        return MappingProxyType(self._kwargs)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Args cannot be changed: make a new one instead of setting {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Args cannot be changed: make a new one instead of deleting {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Args):
            return NotImplemented
        return self.args == other.args and self._kwargs == other._kwargs

    def __hash__(self) -> int:
        return hash((self.args, frozenset(self._kwargs.items())))

    def __repr__(self) -> str:
        named = (f"{name}={value!r}" for name, value in self._kwargs.items())
        return f"Args({', '.join((*map(repr, self.args), *named))})"

    def __reduce__(self) -> tuple[Callable[..., Args], tuple[Any, ...]]:
        return (_args, (self.args, self._kwargs))


def _args(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Args:
    return Args(*args, **kwargs)


# -- grids -------------------------------------------------------------------------------------------------


def grid(**axes: Iterable[Any]) -> Grid:
    """Combine every value of each axis with every value of the others; the first axis changes slowest.

    The ``Args`` are made when read, so a large grid costs no memory.

    Args:
        **axes: argument names and their values; iterators are used up.

    Returns:
        A sequence of ``Args``, empty where an axis is.

    Raises:
        TypeError: there is no axis, or one is not a collection of values.

    >>> cells = grid(symbol=["AAPL", "MSFT"], year=[2023, 2024])
    >>> len(cells), cells[1]
    (4, Args(symbol='AAPL', year=2024))
    """
    if not axes:
        raise TypeError("a grid needs an axis, such as grid(symbol=symbols)")
    for name, values in axes.items():
        if (instead := _instead_of(values, name)) is not None:
            raise TypeError(
                f"the grid axis {name!r} is {_a(values)}, not a collection of values: write {name}={instead}"
            )
        if not _is_iterable(values):
            raise TypeError(f"the grid axis {name!r} is {_a(values)}, which cannot be listed beforehand")
    return Grid({name: tuple(values) for name, values in axes.items()})


@final
class Grid(Sequence[Args]):
    """The combinations of some axes, made by ``grid``; a slice is a Grid over the same axes."""

    __slots__ = ("_axes", "_cells")

    def __init__(self, axes: dict[str, tuple[Any, ...]], cells: range | None = None) -> None:
        self._axes = axes
        self._cells = range(math.prod(map(len, axes.values()))) if cells is None else cells

    @property
    def axes(self) -> Mapping[str, tuple[Any, ...]]:
        """The values by argument name; read-only."""
        return MappingProxyType(self._axes)

    def __len__(self) -> int:
        return len(self._cells)

    @overload
    def __getitem__(self, index: int) -> Args: ...
    @overload
    def __getitem__(self, index: slice) -> Grid: ...
    def __getitem__(self, index: int | slice) -> Args | Grid:
        if isinstance(index, slice):
            return Grid(self._axes, self._cells[index])
        try:
            return self._cell(self._cells[index])
        except IndexError:
            raise IndexError(f"the grid has {len(self)} items; there is no item {index}") from None

    def __iter__(self) -> Iterator[Args]:
        if self._cells != range(math.prod(map(len, self._axes.values()))):
            return map(self._cell, self._cells)
        names = tuple(self._axes)
        return (Args(**dict(zip(names, values, strict=True))) for values in product(*self._axes.values()))

    def _cell(self, number: int) -> Args:
        chosen = []
        for values in reversed(self._axes.values()):
            number, place = divmod(number, len(values))
            chosen.append(values[place])
        return Args(**dict(zip(self._axes, reversed(chosen), strict=True)))

    def __repr__(self) -> str:
        sizes = " x ".join(f"{len(values)} {name}" for name, values in self._axes.items())
        return f"<Grid of {len(self)} items: {sizes}>"


# -- keys --------------------------------------------------------------------------------------------------


def key_of(item: object) -> str:
    """Give an item's key, its identity in stores and reports.

    A string is its own key; numbers, dates, Periods and UUIDs have their canonical text. The members of a
    tuple or ``Args`` are joined by ``/``, with ``%`` and ``/`` inside them escaped as in URLs.

    Raises:
        TypeError: items of this type have no evident identity: the run needs ``key=``.

    >>> key_of(Args("BRK/B", period=Period.Q1(2024)))
    'BRK%2FB/2024-Q1'
    """
    if type(item) is str:
        return item
    if type(item) is int:
        return str(item)
    if type(item) is float:
        return repr(item)
    return _other_key(item)


def _other_key(item: object) -> str:
    if isinstance(item, Args):
        return _joined(item, (*item.args, *item._kwargs.values()))
    if isinstance(item, tuple):
        return _joined(item, item)
    if isinstance(item, Period):
        return str(item)
    if isinstance(item, date):  # a datetime too
        return item.isoformat()
    if isinstance(item, bool):
        _refuse_key(item)
    # The base types' own text, because enumerations and numpy's scalars override str() and repr().
    if isinstance(item, str):
        return str.__str__(item)
    if isinstance(item, int):
        return int.__repr__(item)
    if isinstance(item, float):
        return float.__repr__(item)

    import uuid
    from numbers import Integral

    if isinstance(item, uuid.UUID):
        return str(item)
    if isinstance(item, Integral):  # numpy's integers
        return str(int(item))
    return _refuse_key(item)


def _joined(item: object, members: tuple[Any, ...]) -> str:
    if not members:
        raise TypeError(f"{item!r} is empty and has no key of its own: pass key=, a function of the item")
    return "/".join([_escaped(key_of(member)) for member in members])


def _escaped(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F")


def _refuse_key(item: object) -> NoReturn:
    kind = type(item)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise TypeError(
        f"an item, or a part of one, of type {name} has no key of its own: pass key=, a function of the item"
    )


def key_parts(item: object, names: tuple[str, ...]) -> tuple[str, ...]:
    """Give the keys of some named arguments of an ``Args``, unescaped.

    Raises:
        TypeError: the item is not an ``Args``.
        ValueError: an argument of that name was not given, or was given by position.

    >>> key_parts(Args(symbol="BRK/B", year=2024), ("year", "symbol"))
    ('2024', 'BRK/B')
    """
    if not isinstance(item, Args):
        raise TypeError(f"only Args have named parts {names!r}, and this is {_a(item)}: use one key name")
    if missing := [name for name in names if name not in item._kwargs]:
        raise ValueError(
            f"{item!r} has no argument named {' or '.join(map(repr, missing))};"
            f" it names {', '.join(item._kwargs) or 'none'}"
        )
    return tuple([key_of(item._kwargs[name]) for name in names])


def uniform_type(items: Sequence[Any]) -> type | None:
    """Give the one type of all items, if among its values equal keys mean equal items; else None.

    >>> uniform_type(["AAPL", "MSFT"]), uniform_type([1, 1.5])
    (<class 'str'>, None)
    """
    # The first item is asked before the rest, because reading a Grid makes its items.
    if len(items) == 0 or not _identified_by_key(type(items[0])):
        return None
    kinds = set(map(type, items))
    return kinds.pop() if len(kinds) == 1 else None


def are_told_apart(items: Sequence[Any]) -> bool:
    """Whether unequal items of these cannot have equal keys, without a look at each; False may be wrong.

    >>> are_told_apart([0.5, 1.5]), are_told_apart([0.5, float("nan")])
    (True, False)
    """
    if uniform_type(items) is not None:
        return True
    if len(items) == 0 or type(items[0]) is not float:
        return False
    return set(map(type, items)) == {float} and not any(map(math.isnan, items))


def _identified_by_key(kind: type) -> bool:
    # Not float (nan), not datetime (a repeated hour is unequal to itself across zones).
    if kind is str or kind is int or kind is date or kind is Period:
        return True
    uuid = sys.modules.get("uuid")
    return uuid is not None and kind is uuid.UUID


# -- refusing what is no collection of items ---------------------------------------------------------------


def check_items(items: object) -> None:
    """Refuse what is one item, or a table, where a collection of items is meant.

    Sequences, Series, arrays, iterators and async iterators pass; none is read.

    Raises:
        TypeError: with what to write instead.

    >>> check_items("AAPL")
    Traceback (most recent call last):
    TypeError: items is a str, not a collection of items: write ['AAPL']
    """
    if items is None:
        raise TypeError("items is None, not a collection of items; what gave it may have returned nothing")
    if (instead := _instead_of(items, "items")) is not None:
        raise TypeError(f"items is {_a(items)}, not a collection of items: write {instead}")


def _instead_of(values: object, name: str) -> str | None:
    """Say what to write instead of ``values``, which the reader knows as ``name``; None for a collection."""
    if isinstance(values, str | bytes | bytearray):
        shown = repr(values)
        return f"[{shown if len(shown) <= 40 else name}]"
    if isinstance(values, Mapping):
        return f"list({name}) for its keys, or [{name}] if it is one item"
    for base in type(values).__mro__:
        if base.__module__.partition(".")[0] in ("polars", "pandas"):
            if base.__name__ == "DataFrame":
                return f'{name}["column"]'
            if base.__name__ == "LazyFrame":
                return f'{name}.collect()["column"]'
    if not _is_iterable(values) and not hasattr(type(values), "__aiter__"):
        return f"[{name}]"
    return None


def _is_iterable(values: object) -> bool:
    return hasattr(type(values), "__iter__") or hasattr(type(values), "__getitem__")


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
