"""Items: Args, grids, keys, and what is refused as a collection of items."""

from __future__ import annotations

import copy
import enum
import itertools
import pickle
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchline.items import Args, Grid, are_told_apart, check_items, grid, key_of, key_parts, uniform_type
from fetchline.periods import Period

# -- Args


def test_args_keep_positional_and_named_arguments_in_order() -> None:
    args = Args("AAPL", 3, period=Period.Q1(2024), adjusted=True)
    assert args.args == ("AAPL", 3)
    assert list(args.kwargs.items()) == [("period", Period.Q1(2024)), ("adjusted", True)]


def test_any_argument_name_is_allowed() -> None:
    assert dict(Args(self=1, args=2, kwargs=3, cls=4).kwargs) == {"self": 1, "args": 2, "kwargs": 3, "cls": 4}


def test_args_cannot_be_changed() -> None:
    args = Args("a", b=1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        args.args = ()
    with pytest.raises(AttributeError, match="cannot be changed"):
        del args.args
    with pytest.raises(TypeError):
        args.kwargs["b"] = 2  # type: ignore[index]
    assert not hasattr(args, "__dict__")


def test_equal_arguments_make_equal_args_of_one_hash() -> None:
    assert Args(1, b=2, c=3) == Args(1, c=3, b=2)
    assert len({Args(1, b=2, c=3), Args(1, c=3, b=2)}) == 1
    assert Args(1) != Args(x=1)
    assert Args(1) != (1,)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Args([1]))


def test_args_show_how_they_are_written() -> None:
    assert repr(Args("a", b="c")) == "Args('a', b='c')"
    assert repr(Args()) == "Args()"


def test_args_pickle_and_copy() -> None:
    args = Args("a", [1], self=2)
    assert pickle.loads(pickle.dumps(args)) == args
    assert copy.deepcopy(args) == args


# -- grid

axes_strategy = st.dictionaries(
    st.sampled_from(["self", "symbol", "axes", "d"]), st.lists(st.integers(), max_size=4), min_size=1
)


@given(axes_strategy)
def test_a_grid_is_the_product_of_its_axes(axes: dict[str, list[int]]) -> None:
    expected = [Args(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]
    cells = grid(**axes)
    assert len(cells) == len(expected)
    assert list(cells) == expected
    assert [cells[place] for place in range(len(cells))] == expected
    assert [cells[-place - 1] for place in range(len(cells))] == expected[::-1]
    assert [list(cell.kwargs) for cell in cells] == [list(axes)] * len(expected)


@given(axes_strategy, st.slices(30), st.slices(10))
def test_slicing_a_grid_is_slicing_its_list(axes: dict[str, list[int]], cut: slice, again: slice) -> None:
    cells = grid(**axes)
    assert list(cells[cut]) == list(cells)[cut]
    assert list(cells[cut][again]) == list(cells)[cut][again]
    assert isinstance(cells[cut], Grid)


def test_a_huge_grid_costs_nothing_until_it_is_read() -> None:
    cells = grid(**{f"axis{n}": range(1000) for n in range(6)})
    assert len(cells) == 10**18
    assert cells[-1] == Args(**{f"axis{n}": 999 for n in range(6)})
    assert len(cells[10**9 :: 10**6]) == 10**12 - 1000


def test_an_index_past_the_end_of_a_grid_is_an_index_error() -> None:
    with pytest.raises(IndexError, match="2 items; there is no item 2"):
        grid(a=[1, 2])[2]
    with pytest.raises(IndexError):
        grid(a=[])[0]


def test_axes_are_listed_once_and_kept() -> None:
    cells = grid(a=(n for n in range(2)), b=pl.Series(["x", "y"]))
    assert dict(cells.axes) == {"a": (0, 1), "b": ("x", "y")}
    assert list(cells) == list(cells)


def test_a_grid_pickles_whole_and_cut() -> None:
    cells = grid(a=[1, 2, 3], b=["x", "y"])
    assert list(pickle.loads(pickle.dumps(cells))) == list(cells)
    assert list(pickle.loads(pickle.dumps(cells[1:4]))) == list(cells)[1:4]


def test_a_grid_tells_its_size() -> None:
    assert repr(grid(symbol=["a"], year=[1, 2])) == "<Grid of 2 items: 1 symbol x 2 year>"


def test_an_empty_axis_makes_an_empty_grid() -> None:
    assert list(grid(a=[1, 2], b=[])) == []


def test_a_grid_without_axes_is_refused() -> None:
    with pytest.raises(TypeError, match="needs an axis"):
        grid()


async def _numbers() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("axis", "instead"),
    [
        ("AAPL", r"a str.*write symbol=\['AAPL'\]"),
        (b"AAPL", r"a bytes.*write symbol=\[b'AAPL'\]"),
        ({"AAPL": 1}, r"a dict.*write symbol=list\(symbol\)"),
        (3, r"an int.*write symbol=\[symbol\]"),
        (Period.Q1(2024), r"a Period.*write symbol=\[symbol\]"),
        (pl.DataFrame({"a": [1]}), r"a DataFrame.*write symbol=symbol\[\"column\"\]"),
        (_numbers(), "an async_generator, which cannot be listed"),
    ],
)
def test_an_axis_that_is_no_collection_is_refused_by_name(axis: Any, instead: str) -> None:
    with pytest.raises(TypeError, match=f"the grid axis 'symbol' is {instead}"):
        grid(symbol=axis)


# -- keys


class Colour(enum.StrEnum):
    RED = "red"


class OldColour(str, enum.Enum):  # noqa: UP042  # its str() differs from StrEnum's
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Plain(enum.Enum):
    ONE = 1


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ("a/b%", "a/b%"),
        ("", ""),
        (12, "12"),
        (-1, "-1"),
        (1.5, "1.5"),
        (date(2024, 1, 5), "2024-01-05"),
        (datetime(2024, 1, 5, 9, 30, tzinfo=UTC), "2024-01-05T09:30:00+00:00"),
        (Period.Q1(2024), "2024-Q1"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (("a", 1), "a/1"),
        (("a/b", "50%"), "a%2Fb/50%25"),
        (("a", ("b", "c")), "a/b%2Fc"),
        (Args("AAPL", period=Period.Q1(2024), n=2), "AAPL/2024-Q1/2"),
        (Colour.RED, "red"),
        (OldColour.RED, "red"),
        (Level.HIGH, "3"),
    ],
)
def test_keys_are_canonical_text(item: Any, key: str) -> None:
    assert key_of(item) == key
    assert type(key_of(item)) is str


@pytest.mark.parametrize(
    "item", [None, True, {"a": 1}, ["a"], b"a", object(), Plain.ONE, pl.DataFrame({"a": [1]}), frozenset({1})]
)
def test_an_item_without_identity_is_refused_with_its_type(item: Any) -> None:
    for given_item in (item, ("a", item), Args("a", x=item)):
        with pytest.raises(TypeError, match=rf"type \S*{type(item).__qualname__} .*pass key="):
            key_of(given_item)


@pytest.mark.parametrize("item", [(), Args()])
def test_an_empty_item_is_refused(item: Any) -> None:
    with pytest.raises(TypeError, match=r"is empty.*pass key="):
        key_of(item)


def test_a_foreign_integer_type_has_the_key_of_its_number() -> None:
    from numbers import Integral

    class Int64:
        def __int__(self) -> int:
            return 7

    Integral.register(Int64)
    assert key_of(Int64()) == "7"


tuples_of_text = st.lists(st.text("ab%/25F", max_size=3), min_size=1, max_size=3).map(tuple)


@given(tuples_of_text, tuples_of_text)
def test_tuples_of_text_have_equal_keys_only_when_equal(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    assert (key_of(one) == key_of(two)) == (one == two)


@given(tuples_of_text)
def test_args_have_the_key_of_the_tuple_of_their_values(values: tuple[str, ...]) -> None:
    named = {f"name{place}": value for place, value in enumerate(values[1:])}
    assert key_of(Args(values[0], **named)) == key_of(values)


def test_named_parts_are_unescaped_keys_in_the_order_asked() -> None:
    item = Args("first", symbol="BRK/B", period=Period.Q1(2024))
    assert key_parts(item, ("period", "symbol")) == ("2024-Q1", "BRK/B")


def test_a_missing_part_is_named() -> None:
    with pytest.raises(ValueError, match=r"no argument named 'year'; it names symbol"):
        key_parts(Args(symbol="A"), ("symbol", "year"))


def test_only_args_have_named_parts() -> None:
    with pytest.raises(TypeError, match="this is a str"):
        key_parts("AAPL", ("symbol",))


# -- uniform types


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        (["a", "b"], str),
        (range(3), int),
        (pl.Series([1, 2]), int),
        ([date(2024, 1, 1)], date),
        (Period.from_year(2024).months(), Period),
        ([uuid.UUID(int=1)], uuid.UUID),
        ([], None),
        (["a", 1], None),
        ([1, True], None),
        ([1.5], None),
        ([datetime(2024, 1, 1)], None),
        ([("a",), ("b",)], None),
        ([Colour.RED], None),
        ([None], None),
    ],
)
def test_the_uniform_type_is_one_whose_keys_identify_it(items: Any, kind: type | None) -> None:
    assert uniform_type(items) is kind


@pytest.mark.parametrize(
    ("items", "apart"),
    [
        (["a", "b"], True),
        ([1.5, -0.0, 0.0, float("inf")], True),
        ([1.5, float("nan")], False),
        ([1.5, 1], False),
        ([("a",), ("b",)], False),
        ([], False),
    ],
)
def test_unequal_floats_are_told_apart_by_their_keys_and_nan_is_not(items: Any, apart: bool) -> None:
    assert are_told_apart(items) is apart
    keys = [key_of(item) for item in items]
    assert not apart or len(set(keys)) == len(items)


def test_a_grid_is_not_read_to_learn_that_it_has_no_uniform_type() -> None:
    assert uniform_type(grid(a=range(10**9 // 1000), b=range(10**6))) is None


# -- collections


def _generator() -> Iterator[int]:
    yield 1


class OldSequence:
    def __getitem__(self, index: int) -> int:
        raise IndexError


@pytest.mark.parametrize(
    "items",
    [
        [],
        (1, 2),
        {1},
        range(3),
        _generator(),
        _numbers(),
        pl.Series([1]),
        grid(a=[1]),
        {"a": 1}.keys(),
        OldSequence(),
    ],
)
def test_collections_of_items_pass(items: Any) -> None:
    check_items(items)


def test_a_generator_is_not_read_by_the_check() -> None:
    items = _generator()
    check_items(items)
    assert list(items) == [1]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("AAPL", r"items is a str.*write \['AAPL'\]"),
        ("{}" * 30, r"write \[items\]"),
        ("{0}", r"write \['\{0\}'\]"),
        (b"x", r"items is a bytes.*write \[b'x'\]"),
        ({"a": 1}, r"items is a dict.*write list\(items\) for its keys, or \[items\]"),
        (pl.DataFrame({"a": [1]}), r"items is a DataFrame.*write items\[\"column\"\]"),
        (pl.LazyFrame({"a": [1]}), r"items is a LazyFrame.*write items\.collect\(\)\[\"column\"\]"),
        (7, r"items is an int.*write \[items\]"),
        (None, r"items is None, not a collection"),
        (Args("a"), r"items is an Args.*write \[items\]"),
        (Period.Q1(2024), r"items is a Period.*write \[items\]"),
    ],
)
def test_what_is_no_collection_is_refused_with_what_to_write(items: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_items(items)


def test_importing_items_loads_nothing_heavy() -> None:
    code = (
        "import sys, fetchline.items\n"
        "heavy = {'polars', 'numpy', 'pydantic', 'pydantic_core', 'asyncio', 'uuid'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
