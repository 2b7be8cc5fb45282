"""Decoding: bodies read together are what reading each alone gives, and a bad one is named."""

from __future__ import annotations

import functools
import io
import pickle
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import fetchline as fl
from fetchline import decode as module
from fetchline.cli.misfits import join_most
from fetchline.decode import FORMATS, decode
from fetchline.frames import join


def read(bodies: list[Any], how: Any = "csv", schema: Any = None, key: Any = "key") -> pl.DataFrame:
    keys = [f"k{place}" for place in range(len(bodies))]
    return join(decode(bodies, keys, how, schema=schema), keys, key=key, schema=schema)


def outcome(call: Callable[[], pl.DataFrame]) -> pl.DataFrame | str:
    """The frame, or what is wrong and whose fault it is."""
    try:
        return call()
    except fl.Undecodable as error:
        return f"{error.key} does not parse"
    except ValueError as error:
        # Int64 in one of many, or Float64 in all of them: that neither is text is what matters.
        text = re.sub(r"\b(Int64|Int128|Float64)\b|for 'k\d'", "some", str(error))
        # Which of two types is named first depends on which of the bodies were read together.
        return re.sub(r" is (.+) and (.+):", lambda two: f" is {sorted(two.groups())}:", text)


def alone(bodies: list[bytes], how: Any = "csv", schema: Any = None) -> pl.DataFrame:
    """What decoding promises to equal: each body by itself, then joined."""
    keys = [f"k{place}" for place in range(len(bodies))]
    frames = []
    for body, key in zip(bodies, keys, strict=True):
        frames += decode([body], [key], how, schema=schema)
    return join(frames, keys, schema=schema)


def same(bodies: list[bytes], how: Any = "csv", schema: Any = None) -> None:
    together = outcome(lambda: read(bodies, how, schema))
    separate = outcome(lambda: alone(bodies, how, schema))
    if isinstance(together, str) or isinstance(separate, str):
        assert together == separate
    else:
        assert_frame_equal(together, separate)


# -- together is as alone

cells = st.sampled_from(
    [
        *[
            "",
            "1",
            "-2",
            "2.5",
            "1e3",
            "x",
            "N/A",
            "true",
            "False",
            "nan",
            "inf",
            "007",
            "+5",
            " 5",
            "5 ",
            '""',
        ],
        *['"q"', '"1"', '"a,b"', '"a\nb"', '"say ""hi"""', 'a"b', '"', "2024-01-02", "02-01-2024", "é", "-0"],
        *[
            "2024-01-02 10:00:00",
            "2024-01-02T10:00:00Z",
            "13:45:00",
            "99999999999999999999",
            "\t7",
            "  ",
            "null",
        ],
    ]
)


@st.composite
def csv(draw: Any) -> bytes:
    usual = draw(st.booleans())
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    header = draw(st.sampled_from(["a,b", "a,b", "a,b", "b,a", "a", '"a","b"', "a,a", "", " a,b"]))
    kinds = [st.sampled_from(draw(st.lists(cells, min_size=1, max_size=2))) for _ in range(2)]
    lines = draw(st.lists(st.tuples(*(kinds if usual else [cells, cells])).map(",".join), max_size=4))
    if not usual:
        odd = st.sampled_from(["", " ", "1", "1,2,3", ",", "\r", "1,2\r"])
        lines = [draw(st.sampled_from([line, line, draw(odd)])) for line in lines]
    text = end.join([header, *lines]) + draw(st.sampled_from(["", end, end, end + end]))
    return (b"\xef\xbb\xbf" if draw(st.integers(0, 9)) == 0 else b"") + text.encode()


csv_options = st.sampled_from(
    [
        *[{}, {}, {}, {"try_parse_dates": True}, {"infer_schema": False}, {"null_values": ["N/A", "x"]}],
        *[{"columns": ["a"]}, {"schema_overrides": {"a": pl.String}}, {"truncate_ragged_lines": True}],
        *[{"skip_rows": 1}, {"has_header": False}, {"quote_char": None}, {"raise_if_empty": False}],
        *[{"infer_schema_length": 1}, {"ignore_errors": True}, {"separator": ";", "decimal_comma": True}],
    ]
)


@settings(max_examples=300)
@given(st.lists(csv() | st.sampled_from([b"a,b\n1,2\n", b"a,b\n3,x\n", b""]), max_size=7), csv_options)
@example([b"a\n1\n", b"a\nx\n"], {})
@example([b"a\n1\n", b"a\n\n"], {})
@example([b"a,a\n1,2024-01-02\n"] * 3, {"try_parse_dates": True})
@example([b"a,b\n2024-01-02,x\n"] * 3, {"try_parse_dates": True, "columns": [0]})
@example([b"a,b\n2024-01-02,x\n"] * 3, {"try_parse_dates": True, "null_values": {"b": "x"}})
@example([b"a\n1\nx\n3\n", b"a\n1\n"], {})
@example([b"a\nx\n", b"a\n1\n1.5\n2\n", b"a\n1\n"], {})
@example([b"a\n1.5\n1\n2.5\n"] * 2 + [b"a\n1.5\nnan\n2.5\n"], {})
@example([b"a\n1\n2\n3\n"] * 2 + [b"a\n1\n+2\n3\n"], {})
@example([b"a\n2024-01-02\n"] * 2 + [b"a\n02-01-2024\n"], {"try_parse_dates": True})
@example(
    [b"a\n2024-01-02 10:00:00\n"] * 2 + [b"a\n2024-01-02 10:00:00\n2024-01-02\n2024-01-02 10:00:00\n"],
    {"try_parse_dates": True},
)
def test_csv_read_together_is_csv_read_alone(bodies: list[bytes], options: dict[str, Any]) -> None:
    same(bodies, fl.use("csv", **options))


declared = st.sampled_from(
    [pl.String(), pl.Int64(), pl.Float64(), pl.Date(), pl.Datetime("us"), pl.Boolean(), pl.Decimal(10, 2)]
)


@settings(max_examples=150)
@given(st.lists(csv(), max_size=5), declared, declared)
def test_with_a_declared_schema_too(bodies: list[bytes], a: pl.DataType, b: pl.DataType) -> None:
    same(bodies, "csv", {"a": a, "b": b})


values = st.sampled_from(
    [
        *[
            "null",
            "1",
            "-2",
            "2.5",
            "true",
            '"x"',
            '"1"',
            '"true"',
            '""',
            "99999999999999999999",
            "{}",
            "[1]",
        ],
        *[
            '{"a": 1}',
            '{"c": "2"}',
            "[]",
            '"\\""',
            '"a\\nb"',
            '"\\u0061"',
            '"{["',
            '"a\\":"',
            '"né"',
            '"a\nb"',
        ],
    ]
)


@st.composite
def ndjson(draw: Any) -> bytes:
    colon = draw(st.sampled_from([":", ":", ": ", " : "]))
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    # A key that comes twice in one object is nobody's promise.
    names = draw(
        st.lists(
            st.sampled_from(["a", "b", "c", "\\u0061", 'x\\"a']),
            max_size=3,
            unique_by=lambda name: name.replace("\\u0061", "a"),
        )
    )
    kinds = {name: st.sampled_from(draw(st.lists(values, min_size=1, max_size=2))) for name in names}
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        having = [name for name in names if draw(st.integers(0, 5))]
        lines.append("{" + ", ".join(f'"{name}"{colon}{draw(kinds[name])}' for name in having) + "}")
    if lines and draw(st.integers(0, 5)) == 0:
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["", " ", "1", "[", '{"a":1'])))
    return (end.join(lines) + draw(st.sampled_from(["", end, end, end + end]))).encode()


@settings(max_examples=300)
@given(st.lists(ndjson() | st.sampled_from([b'{"a":1}\n', b'{"a":2.5}\n', b""]), max_size=7))
@example([b'{"a":1}\n', b'{"a":1}\n{"a":1,"b":2}\n{"a":1}'])
@example([b'{"a":"x"}\n', b'{"a":1}\n'])
@example([b'{"a":1}\n', b'x{"a":1}\n'])
@example([b'{"a":1}\n', b'\xef\xbb\xbf{"a":1}\n'])
@example([b'{"a":"{"}\n \n{"a":"x"}', b'{"a":"y"}\n'])
@example([b'{"a":"1"}\n', b'{"a":"2"}\n'])
@example([b'{"a":null}\n', b'{"a":1}\n', b'{"b":1}'])
def test_ndjson_read_together_is_ndjson_read_alone(bodies: list[bytes]) -> None:
    same(bodies, "ndjson")


@pytest.mark.parametrize(
    ("how", "body"),
    [
        ("csv", b'day,close,name\n%d,2.5,x\n2,3,"a, b"\n'),
        ("csv", b"\xef\xbb\xbfday,close\r\n%d,\r\n2,\r\n"),
        (fl.use("csv", try_parse_dates=True), b"day,n\n2024-01-02,%d"),
        ("ndjson", b'{"day": %d, "name": "7", "none": null}\n{"day": 2, "name": "8", "none": null}\n'),
    ],
)
def test_many_bodies_are_read_in_a_few_calls(how: Any, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(reader: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(reader)
        def count(source: Any, **options: Any) -> Any:
            calls.append(reader.__name__)
            return reader(source, **options)

        return count

    bodies = [body % n for n in range(200)]
    expected = alone(bodies, how)
    for name in ("read_csv", "read_ndjson"):
        monkeypatch.setattr(pl, name, counted(getattr(pl, name)))
    assert_frame_equal(read(bodies, how), expected)
    assert len(calls) <= 4


def test_bodies_beyond_a_group_are_read_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_BYTES", 40)
    bodies = [b"a,b\n%d,x\n" % n for n in range(50)] + [b"a,b\n0.5,y\n"]
    assert read(bodies)["a"].to_list() == [*range(50), 0.5]


def test_an_odd_body_among_many_is_read_alone_and_its_rows_stay_in_their_place() -> None:
    bodies = [b"a,b\n%d,x\n" % n for n in range(100)]
    bodies[37] = b'a,b\n37,"one\ntwo"\n\n'
    bodies[80] = b"b,a\nx,80\n"
    frame = read(bodies)
    assert frame["a"].drop_nulls().to_list() == list(range(100))
    assert frame.filter(key="k37")["b"].to_list() == ["one\ntwo", None]
    assert frame["key"].unique(maintain_order=True).to_list() == [f"k{n}" for n in range(100)]


# -- what the frame promises


def test_text_bytes_and_views_of_bytes_are_bodies() -> None:
    body = b"a\n1\n"
    assert read([body, bytearray(body), memoryview(body), "a\n\u00e9\n"[:2] + "1"])["a"].to_list() == [1] * 4


def test_types_widen_and_empty_columns_adapt_as_those_of_frames_do() -> None:
    frame = read([b"a,b\n1,\n", b"a,b\n2.5,x\n", b"a,b\n"])
    assert frame.rows() == [("k0", 1.0, None), ("k1", 2.5, "x")]


def test_types_that_do_not_agree_name_two_keys() -> None:
    bodies = [b"a\n1\n"] * 9 + [b"a\nN/A\n"]
    with pytest.raises(ValueError, match=r"'a' is Int64 for 'k0' and String for 'k9'.*declare a schema"):
        read(bodies)


def test_a_declared_schema_wins_over_inference() -> None:
    schema = {"id": pl.String, "day": pl.Date, "price": pl.Decimal(9, 2), "n": pl.Int64, "share": pl.Float32}
    frame = read([b"id,day,price,n,share\n007,2024-01-02,1.10,3.0,1\n"] * 3, "csv", schema, key=None)
    assert frame.schema == pl.Schema(schema)
    assert frame.row(0) == ("007", date(2024, 1, 2), Decimal("1.10"), 3, 1.0)


def test_no_bodies_and_bodies_without_lines_give_the_declared_columns() -> None:
    assert read([], "csv", {"a": pl.Int64}).schema == {"key": pl.String, "a": pl.Int64}
    assert read([b"", b"\n"], "ndjson", {"a": pl.Int64}).shape == (0, 2)
    assert read([b"", b'{"a":1}\n'], "ndjson").rows() == [("k1", 1)]
    assert read([b"[]", b'[{"a":1}]'], "json").rows() == [("k1", 1)]


def written(write: Callable[[pl.DataFrame, io.BytesIO], Any]) -> list[bytes]:
    files = [io.BytesIO() for _ in range(2)]
    for n, file in enumerate(files):
        write(pl.DataFrame({"a": [n, n]}), file)
    return [file.getvalue() for file in files]


@pytest.mark.parametrize(
    ("how", "write"),
    [
        ("csv", pl.DataFrame.write_csv),
        ("ndjson", pl.DataFrame.write_ndjson),
        ("json", pl.DataFrame.write_json),
        ("parquet", pl.DataFrame.write_parquet),
        ("ipc", pl.DataFrame.write_ipc),
        ("ipc", pl.DataFrame.write_ipc_stream),
        (pl.read_csv, pl.DataFrame.write_csv),
        (lambda body: pl.scan_csv(body), pl.DataFrame.write_csv),
        (lambda body: [{"a": int(n)} for n in body.split()[1:]], pl.DataFrame.write_csv),
    ],
)
def test_every_format_and_a_function_is_read(how: Any, write: Any) -> None:
    assert read(written(write), how).rows() == [("k0", 0), ("k0", 0), ("k1", 1), ("k1", 1)]


# -- what does not parse


@pytest.mark.parametrize(
    ("how", "good", "bad"),
    [
        ("csv", b"a\n1\n", b"a\n1,2\n"),
        ("csv", b"a\n1\n", b"a\n\xff\n"),
        ("csv", b"a\n1\n", b""),
        ("ndjson", b'{"a":1}\n', b'{"a":1}\n{"a":'),
        ("ndjson", b'{"a":1}\n', b"<html>"),
        ("json", b'[{"a":1}]', b'{"error'),
        ("parquet", written(pl.DataFrame.write_parquet)[0], b"PAR1"),
        ("ipc", written(pl.DataFrame.write_ipc)[0], b"ARROW1"),
        (lambda body: pl.DataFrame({"a": [int(body)]}), b"1", b"x"),
    ],
)
def test_a_body_that_does_not_parse_is_named_with_its_beginning_and_how_many(
    how: Any, good: bytes, bad: bytes
) -> None:
    bodies = [good] * 9
    bodies[4] = bodies[7] = bad
    with pytest.raises(fl.Undecodable, match=r"the body of 'k4'.*; 2 of 9 bodies do not parse") as caught:
        read(bodies, how)
    assert caught.value.key == "k4" and caught.value.__cause__ is not None
    assert repr(bad[:60]) in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_value_that_is_no_body_is_named() -> None:
    with pytest.raises(TypeError, match="returned a DataFrame for 'k1', which is no body"):
        read([b"a\n1", pl.DataFrame()])


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("cvs", ValueError, "did you mean 'csv'"),
        ("xml", ValueError, f"there are {', '.join(FORMATS)}"),
        (fl.use("yaml"), ValueError, "'yaml' is no format"),
        (3, TypeError, "decode must be a format"),
    ],
)
def test_what_is_no_format_is_refused_when_declared_and_when_read(
    how: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read([], how)
    with pytest.raises(error, match=message):
        fl.fetcher(decode=how)(lambda item: b"")


def test_an_option_that_the_reader_has_not_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"reads csv without an option 'try_parse_date'.*'try_parse_dates'"):
        read([b"a\n1"], fl.use("csv", try_parse_date=True))


# -- of a batch


def body_of(n: int) -> bytes:
    if n == 3:
        raise fl.NoData
    if n == 4:
        raise ValueError("no")
    return b"a,b\n%d,x\n%d,y\n" % (n, 10 * n)


def test_a_fetcher_that_declares_its_format_gives_bytes_when_called_and_frames_of_a_batch() -> None:
    mine = fl.Registry()
    fetch = fl.fetcher("bodies", decode="csv", registry=mine)(body_of)
    assert fetch(1) == b"a,b\n1,x\n10,y\n"
    batch = fetch.run(range(1, 5), progress=None)
    expected = [("1", 1, "x"), ("1", 10, "y"), ("2", 2, "x"), ("2", 20, "y")]
    assert batch.frame().rows() == expected
    assert pickle.loads(pickle.dumps(batch)).frame().rows() == expected
    assert batch.frame(decode=lambda body: {"n": len(body)})["n"].to_list() == [13, 13]
    assert batch.frame(key=None).columns == ["a", "b"]


def test_a_batch_of_bytes_is_read_on_demand_with_the_parts_of_a_grid_as_keys() -> None:
    def fetch(n: int, letter: str) -> bytes:
        return f"a\n{n}\n".encode()

    batch = fl.run(fetch, fl.grid(n=[1, 2], letter=["x", "y"]), progress=None)
    assert batch.frame(key=("letter", "n"), decode="csv").rows()[1] == ("y", "1", 1)
    with pytest.raises(ValueError, match="a column 'a' of their own"):
        batch.frame(key="a", decode="csv")
    with pytest.raises(TypeError, match=r"returned a bytes for .*frame\(decode="):
        batch.frame()


def test_a_run_has_no_option_decode_and_says_where_it_belongs() -> None:
    with pytest.raises(TypeError, match=r"decode is a fetcher's policy.*fetcher\.replace\(decode"):
        fl.run(body_of, [1], decode="csv")


def test_the_command_line_takes_a_body_that_does_not_parse_for_a_failure_and_keeps_the_others() -> None:
    fetch = fl.Fetcher.of(lambda n: b"a\n1,2\n" if n == 2 else b"a\n%d\n" % n, decode="csv")
    frame, misfits = join_most(fetch.run(range(4), progress=None), "key")
    assert frame["a"].to_list() == [0, 1, 3]
    assert [(failure.key, failure.error_code) for failure in misfits] == [("2", "undecodable")]
