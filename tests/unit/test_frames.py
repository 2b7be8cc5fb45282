"""Frames: what becomes of a returned value, and many values joined to one frame."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fetchline.frames import as_frame, join


@dataclass(slots=True)
class Quote:
    day: int
    close: float | None = None


# -- one value


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (pl.LazyFrame({"day": [1], "close": [2.0]}), [(1, 2.0)]),
        ({"day": 1, "close": None}, [(1, None)]),
        ({"day": [1, 2], "close": (1.0, 2.0)}, [(1, 1.0), (2, 2.0)]),
        ({"day": range(2), "close": pl.Series([1.0, 2.0])}, [(0, 1.0), (1, 2.0)]),
        ({"day": 1, "extra": {"a": 2}}, [(1, {"a": 2})]),
        ([{"day": 1}, {"day": 2, "close": 2.5}], [(1, None), (2, 2.5)]),
        ([{"day": 1, "tags": ["a", "b"]}], [(1, ["a", "b"])]),
        (Quote(1, 2.0), [(1, 2.0)]),
        ([Quote(1), Quote(2, 2.0)], [(1, None), (2, 2.0)]),
        (pl.Series("day", [1, 2]), [(1,), (2,)]),
    ],
)
def test_values_become_rows_or_columns(value: Any, rows: list[tuple[Any, ...]]) -> None:
    assert as_frame(value, "AAPL").rows() == rows


def test_a_frame_stays_itself() -> None:
    frame = pl.DataFrame({"a": [1]})
    assert as_frame(frame, "AAPL") is frame


@pytest.mark.parametrize("value", [[], {}])
def test_nothing_returned_is_a_frame_without_columns(value: Any) -> None:
    assert as_frame(value, "AAPL").shape == (0, 0)


def test_a_type_that_shows_only_in_a_late_row_is_found() -> None:
    rows = [{"close": None}] * 500 + [{"close": 1.5, "volume": 1}]
    assert as_frame(rows, "AAPL").schema == {"close": pl.Float64, "volume": pl.Int64}


@pytest.mark.parametrize("value", [b"day,close", "text", 3, None, object(), Quote, (1, 2), {1}])
def test_what_is_no_frame_is_refused_with_key_and_type(value: Any) -> None:
    with pytest.raises(TypeError, match=rf"returned a {type(value).__name__} for 'AAPL'.*return a frame"):
        as_frame(value, "AAPL")


@pytest.mark.parametrize("value", [[1, 2], [{"a": 1}, 2], [Quote(1), None], [pl.DataFrame()]])
def test_a_list_of_something_else_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"returned a list of .* for 'AAPL'"):
        as_frame(value, "AAPL")


def test_a_dict_that_may_be_a_row_or_columns_is_refused() -> None:
    with pytest.raises(TypeError, match="'AAPL' mixes lists and scalars: return a list of that dict"):
        as_frame({"day": 1, "tags": ["a", "b"]}, "AAPL")


@pytest.mark.parametrize("value", [{"a": [1], "b": [1, 2]}, {"a": [1, "x"]}])
def test_values_that_polars_refuses_are_named_by_key(value: Any) -> None:
    with pytest.raises(ValueError, match="the dict returned for 'AAPL' makes no frame"):
        as_frame(value, "AAPL")


@pytest.mark.parametrize(
    ("package", "name", "reader"),
    [("pyarrow", "Table", "from_arrow"), ("pandas", "DataFrame", "from_pandas")],
)
def test_foreign_tables_are_read_once_their_package_is_loaded(
    package: str, name: str, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(name, (), {})
    module = ModuleType(package)
    setattr(module, name, kind)
    with pytest.raises(TypeError):
        as_frame(kind(), "AAPL")

    monkeypatch.setitem(sys.modules, package, module)
    monkeypatch.setattr(pl, reader, lambda value: pl.DataFrame({"read": [type(value).__name__]}))
    assert as_frame(kind(), "AAPL").rows() == [(name,)]


# -- joining frames of one schema

scalars: dict[pl.DataType, st.SearchStrategy[Any]] = {
    pl.Int64(): st.integers(-9, 9),
    pl.Float64(): st.floats(-9, 9),
    pl.String(): st.text("ab", max_size=2),
    pl.Date(): st.dates(date(2000, 1, 1), date(2030, 1, 1)),
    pl.Boolean(): st.booleans(),
    pl.Decimal(10, 2): st.integers(0, 99).map(lambda cents: Decimal(cents) / 100),
    pl.List(pl.Int64()): st.lists(st.integers(0, 3), max_size=2),
    pl.Struct({"x": pl.Int64()}): st.fixed_dictionaries({"x": st.integers(0, 3)}),
}


@st.composite
def tables(draw: Any) -> tuple[list[pl.DataFrame], pl.Schema]:
    dtypes = draw(st.lists(st.sampled_from(list(scalars)), min_size=1, max_size=4))
    schema = pl.Schema({f"column{place}": dtype for place, dtype in enumerate(dtypes)})
    rows = st.lists(st.tuples(*(st.none() | scalars[dtype] for dtype in dtypes)), max_size=4)
    return [
        pl.DataFrame(each, schema=schema, orient="row") for each in draw(st.lists(rows, max_size=5))
    ], schema


def naive(frames: list[pl.DataFrame], keys: list[str], schema: pl.Schema) -> pl.DataFrame:
    keyed = [
        frame.select(pl.lit(key, dtype=pl.String).repeat_by(frame.height).explode().alias("key"))
        if frame.height
        else pl.DataFrame(schema={"key": pl.String})
        for frame, key in zip(frames, keys, strict=True)
    ]
    whole = [pl.concat([key, frame], how="horizontal") for key, frame in zip(keyed, frames, strict=True)]
    return pl.concat([pl.DataFrame(schema={"key": pl.String, **schema}), *whole])


@given(tables(), st.booleans())
def test_a_join_is_the_naive_concat(drawn: tuple[list[pl.DataFrame], pl.Schema], declared: bool) -> None:
    frames, schema = drawn
    keys = [f"k{place}" for place in range(len(frames))]
    joined = join(frames, keys, schema=schema if declared or not frames else None)
    assert_frame_equal(joined, naive(frames, keys, schema))
    assert joined.n_chunks("all") == [1] * joined.width


@given(tables(), st.randoms(use_true_random=False))
def test_columns_in_another_order_are_matched_by_name(
    drawn: tuple[list[pl.DataFrame], pl.Schema], random: Any
) -> None:
    frames, schema = drawn
    shuffled = [frame.select(random.sample(frame.columns, frame.width)) for frame in frames]
    keys = [f"k{place}" for place in range(len(frames))]
    joined = join(shuffled, keys, schema=None if frames else schema)
    expected = naive(frames, keys, schema).select("key", *(shuffled[0].columns if frames else schema))
    assert_frame_equal(joined, expected)


def test_values_of_any_kind_are_joined() -> None:
    values = [pl.DataFrame({"day": [1]}), {"day": 2}, [Quote(3)][0:0], pl.LazyFrame({"day": [4]})]
    assert join(values, list("abcd")).rows() == [("a", 1), ("b", 2), ("d", 4)]


def test_a_value_that_is_no_frame_is_named_by_its_own_key() -> None:
    with pytest.raises(TypeError, match="for 'b'"):
        join([pl.DataFrame({"day": [1]}), b"..."], ["a", "b"])


# -- key columns


def test_the_key_column_may_be_renamed_or_left_out() -> None:
    frames = [pl.DataFrame({"key": [1]}), pl.DataFrame({"key": [2]})]
    assert join(frames, ["a", "b"], key="symbol").to_dict(as_series=False) == {
        "symbol": ["a", "b"],
        "key": [1, 2],
    }
    assert join(frames, ["a", "b"], key=None).to_dict(as_series=False) == {"key": [1, 2]}


def test_a_tuple_of_names_splits_the_key_into_its_parts() -> None:
    frames = [pl.DataFrame({"close": [1, 2]}), pl.DataFrame(), pl.DataFrame({"close": [3]})]
    joined = join(
        frames, ["a/1", "b/2", "c/3"], key=("symbol", "n"), parts=[("a", "1"), ("b", "2"), ("c", "3")]
    )
    assert joined.columns == ["symbol", "n", "close"]
    assert joined.rows() == [("a", "1", 1), ("a", "1", 2), ("c", "3", 3)]


@pytest.mark.parametrize("key", ["close", ("day", "close")])
def test_a_key_column_that_the_frames_have_is_refused_by_name(key: Any) -> None:
    with pytest.raises(ValueError, match=r"a column 'close' of their own: give key="):
        join([pl.DataFrame({"close": [1]})], ["a"], key=key, parts=[("x", "y")])


@pytest.mark.parametrize("parts", [None, [("a",)], [("a", "b"), ("c", "d")]])
def test_parts_that_do_not_fit_are_refused(parts: Any) -> None:
    with pytest.raises(ValueError, match="needs 2 parts for each of 1 values"):
        join([pl.DataFrame({"close": [1]})], ["a"], key=("x", "y"), parts=parts)


def test_a_key_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        join([], [], key=("x", "x"))


def test_as_many_keys_as_values_are_needed() -> None:
    with pytest.raises(ValueError, match="1 values have 2 keys"):
        join([pl.DataFrame()], ["a", "b"])


def test_joining_leaves_the_frames_as_they_were() -> None:
    frame = pl.DataFrame({"close": [1]})
    joined = join([frame], ["a"], key=None)
    joined.insert_column(0, pl.Series("new", [1]))
    join([frame], ["a"])
    assert frame.columns == ["close"]


# -- nothing there


def test_no_values_make_an_empty_frame_of_the_schema() -> None:
    assert join([], [], schema={"close": pl.Float64()}).schema == {"key": pl.String, "close": pl.Float64}
    assert join([], []).schema == {"key": pl.String}
    assert join([], [], key=None).shape == (0, 0)
    assert join([pl.DataFrame()], ["a"], key=("x", "y"), parts=[("1", "2")]).columns == ["x", "y"]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
@pytest.mark.parametrize(
    "hollow",
    [
        pl.DataFrame(),
        pl.DataFrame(schema={"day": pl.String, "close": pl.String}),
        pl.DataFrame({"day": [None], "close": [None]}),
        pl.DataFrame({"day": [None], "close": [None]}, schema={"day": pl.String, "close": pl.Boolean}),
    ],
)
def test_a_frame_without_values_takes_any_type_wherever_it_stands(hollow: pl.DataFrame, order: slice) -> None:
    filled = pl.DataFrame({"day": [date(2024, 1, 1)], "close": [[1.5]]})
    joined = join([hollow, filled][order], ["a", "b"][order])
    assert joined.schema == {"key": pl.String, "day": pl.Date, "close": pl.List(pl.Float64)}
    assert joined.height == 1 + hollow.height
    assert joined.filter(key="b").rows() == [("b", date(2024, 1, 1), [1.5])]


def test_a_frame_without_columns_shifts_no_key() -> None:
    frames = [pl.DataFrame(), pl.DataFrame({"a": [1]}), pl.DataFrame(), pl.DataFrame({"a": ["x"]})]
    with pytest.raises(ValueError, match=r"Int64 for 'second' and String for 'fourth'"):
        join(frames, ["first", "second", "third", "fourth"])


def test_frames_of_several_types_stay_in_their_order() -> None:
    frames = [pl.DataFrame({"a": [n, n] if n % 3 else [n + 0.5]}) for n in range(10)]
    joined = join(frames, [str(n) for n in range(10)])
    assert joined.rows() == [(str(n), float(a)) for n, frame in enumerate(frames) for a in frame["a"]]


def test_a_type_is_kept_where_no_frame_has_a_value() -> None:
    frames = [pl.DataFrame({"a": [None]}), pl.DataFrame(schema={"a": pl.Date}), pl.DataFrame({"a": [None]})]
    assert join(frames, list("abc")).schema["a"] == pl.Date


# -- types that differ


@pytest.mark.parametrize(
    ("one", "two", "joined"),
    [
        ([1], [1.5], pl.Float64()),
        (pl.Series([1], dtype=pl.Int8), pl.Series([1], dtype=pl.Int32), pl.Int32()),
        (pl.Series([1], dtype=pl.Decimal(10, 2)), pl.Series([1], dtype=pl.Decimal(12, 4)), pl.Decimal(12, 4)),
        ([[]], [[1]], pl.List(pl.Int64())),
        ([[1]], [[1.5]], pl.List(pl.Float64())),
        ([{"x": 1, "y": None}], [{"x": 1.5, "y": "a"}], pl.Struct({"x": pl.Float64(), "y": pl.String()})),
    ],
)
def test_numeric_types_widen_also_inside(one: Any, two: Any, joined: pl.DataType) -> None:
    for left, right in ((one, two), (two, one)):
        frame = join([pl.DataFrame({"a": left}), pl.DataFrame({"a": right})], ["l", "r"])
        assert frame.schema["a"] == joined


def test_decimals_keep_their_digits() -> None:
    frames = [
        pl.DataFrame({"a": [Decimal("1.25")]}, schema={"a": pl.Decimal(10, 2)}),
        pl.DataFrame({"a": [Decimal("1.2345")]}, schema={"a": pl.Decimal(12, 4)}),
    ]
    assert join(frames, ["l", "r"], key=None)["a"].to_list() == [Decimal("1.25"), Decimal("1.2345")]
    nested = [frame.select(pl.concat_list("a")) for frame in frames]
    assert join(nested, ["l", "r"], key=None)["a"].to_list() == [[Decimal("1.25")], [Decimal("1.2345")]]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([1], ["x"]),
        ([1], [True]),
        ([date(2024, 1, 1)], [datetime(2024, 1, 1)]),
        ([datetime(2024, 1, 1)], [datetime(2024, 1, 1, tzinfo=UTC)]),
        (["x"], pl.Series(["x"], dtype=pl.Categorical)),
        (pl.Series(["x"], dtype=pl.Enum(["x"])), pl.Series(["x"], dtype=pl.Enum(["x", "y"]))),
        ([[1]], [1]),
        ([["x"]], [[1]]),
        ([{"x": 1}], [{"x": 1, "y": 2}]),
        ([{"x": 1, "y": 1}], [{"x": 1, "y": "a"}]),
    ],
)
def test_types_that_do_not_agree_name_two_keys_the_column_and_both_types(one: Any, two: Any) -> None:
    frames = [pl.DataFrame({"ok": [1], "a": values}) for values in (one, one, two)]
    with pytest.raises(
        ValueError, match=r"column 'a' is .* for 'first' and .* for 'third'.*declare a schema"
    ) as caught:
        join(frames, ["first", "second", "third"])
    assert str(frames[0].schema["a"]) in str(caught.value)
    assert str(frames[2].schema["a"]) in str(caught.value)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"a": [1]}, "'first' has the column 'b', the frame of 'second' has not"),
        ({"a": [1], "b": [1], "c": [1]}, "'second' has the column 'c', the frame of 'first' has not"),
        ({"x": [1], "y": [1]}, "'first' has the columns 'a', 'b', the frame of 'second' has not"),
    ],
)
def test_other_columns_name_two_keys_and_the_columns(others: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        join([pl.DataFrame({"a": [1], "b": [1]}), pl.DataFrame(others)], ["first", "second"])


flat = [
    *(pl.Boolean(), pl.String(), pl.Binary(), pl.Date(), pl.Time(), pl.Float32(), pl.Float64()),
    *(pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()),
    *(pl.Datetime("us"), pl.Datetime("ns"), pl.Datetime("us", "UTC"), pl.Duration("us"), pl.Duration("ms")),
    *(pl.Categorical(), pl.Enum(["a"]), pl.Enum(["a", "b"]), pl.Null()),
]


def test_polars_itself_notices_every_difference_of_flat_types() -> None:
    # The fast path leans on this; decimals, where it does not hold, go another way.
    for one in flat:
        for two in flat:
            frames = [pl.DataFrame(schema={"a": one}), pl.DataFrame(schema={"a": two})]
            if one == two or two == pl.Null():
                assert pl.concat(frames).schema["a"] == one
            else:
                with pytest.raises(pl.exceptions.SchemaError):
                    pl.concat(frames)


# -- a declared schema

declared = {"day": pl.Date(), "close": pl.Float64()}


@pytest.mark.parametrize(
    "frames",
    [
        [pl.DataFrame({"close": [1], "day": [date(2024, 1, 1)]})] * 2,
        [
            pl.DataFrame({"day": [date(2024, 1, 1)], "close": [1.0]}),
            pl.DataFrame({"close": [1], "day": [date(2024, 1, 1)]}),
        ],
        [
            pl.DataFrame({"day": [date(2024, 1, 1)] * 2, "close": [1, 1]}),
            pl.DataFrame(schema={"day": pl.String, "close": pl.String}),
        ],
    ],
)
def test_a_declared_schema_wins_in_types_and_order(frames: list[pl.DataFrame]) -> None:
    joined = join(frames, ["a", "b"], schema=declared)
    assert joined.schema == {"key": pl.String, **declared}
    assert joined.columns == ["key", "day", "close"]
    assert joined.select("day", "close").rows() == [(date(2024, 1, 1), 1.0)] * 2


@pytest.mark.parametrize("beside", [[], [pl.DataFrame({"day": [date(2024, 1, 1)], "close": [1.0]})]])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda frame: frame.drop("day"),
            "the frame of 'bad' lacks the column 'day', which the schema declares",
        ),
        (
            lambda frame: frame.with_columns(more=1),
            "the frame of 'bad' has the column 'more', which .* not declare",
        ),
        (
            lambda frame: frame.with_columns(close=pl.lit("n/a")),
            "the column 'close' of 'bad' is String and does not cast to Float64",
        ),
    ],
)
def test_a_frame_that_breaks_the_declaration_is_named(
    beside: list[pl.DataFrame], change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    bad = change(pl.DataFrame({"day": [date(2024, 1, 1)], "close": [1.0]}))
    with pytest.raises(ValueError, match=message):
        join([*beside, bad], [*(["good"] * len(beside)), "bad"], schema=declared)


def test_the_one_of_many_alike_that_does_not_cast_is_named() -> None:
    frames = [pl.DataFrame({"a": ["1"]}), pl.DataFrame({"a": ["2"]}), pl.DataFrame({"a": ["n/a"]})]
    with pytest.raises(ValueError, match="the column 'a' of 'third' is String and does not cast to Int64"):
        join(frames, ["first", "second", "third"], schema={"a": pl.Int64()})


def test_a_pydantic_model_is_a_row() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Product", number=(str, ...), state=(int, 1))
    assert as_frame(model(number="A"), "k").rows() == [("A", 1)]
    assert as_frame([model(number="A"), model(number="B", state=2)], "k").rows() == [("A", 1), ("B", 2)]
