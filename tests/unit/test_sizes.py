"""How much memory values take, and how amounts of it are written."""

from __future__ import annotations

import polars as pl
import pytest

from fetchline.sizes import parse_size, size_of


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("1.5 kB", 1500), ("500MB", 500_000_000), ("2GiB", 2 << 30), (" 3 mib ", 3 << 20)],
)
def test_an_amount_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_frame_weighs_what_its_buffers_do() -> None:
    frame = pl.DataFrame({"a": range(100_000)})
    assert 800_000 <= size_of(frame) <= 810_000
    assert 800_000 <= size_of(frame["a"]) <= 810_000


def test_bytes_arrays_and_text_weigh_what_they_hold() -> None:
    assert 1_000_000 <= size_of(bytes(1_000_000)) <= 1_000_100
    assert 1_000_000 <= size_of("x" * 1_000_000) <= 1_000_100
    assert size_of(memoryview(bytes(1_000_000))) == 1_000_000


def test_a_container_weighs_what_is_in_it() -> None:
    block = bytes(10_000)
    for value in ([block] * 100, (block,) * 100, dict.fromkeys(range(100), block), {1: [block] * 100}):
        assert 1_000_000 <= size_of(value) <= 1_100_000
    assert size_of([]) < 100
