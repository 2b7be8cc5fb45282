"""Registries: names to fetchers."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import pytest

import fetchline as fl
from fetchline import registry as registries


@pytest.fixture
def mine() -> fl.Registry:
    return fl.Registry()


def make(name: str, registry: fl.Registry, module: str = "here", qualname: str = "f") -> Any:
    def f(item: str) -> str:
        return f"{module}.{item}"

    f.__module__, f.__qualname__ = module, qualname
    return fl.fetcher(name, registry=registry)(f)


def test_a_registry_is_a_mapping_of_names_in_order(mine: fl.Registry) -> None:
    b, a = make("b", mine, qualname="b"), make("a.x", mine, qualname="a")
    assert isinstance(mine, Mapping)
    assert list(mine) == ["a.x", "b"] and len(mine) == 2
    assert mine["b"] is b and dict(mine) == {"a.x": a, "b": b}
    assert "b" in mine and "c" not in mine and "" not in mine
    assert "a.x, b" in repr(mine)


def test_get_gives_its_default_for_an_unknown_name_as_a_mapping_does(mine: fl.Registry) -> None:
    quote = make("quote", mine)
    assert mine.get("quote") is quote
    assert mine.get("other") is None
    assert mine.get("other", quote) is quote


def test_an_unknown_name_lists_the_near_ones(mine: fl.Registry) -> None:
    make("daily.ohlcv", mine)
    with pytest.raises(fl.UnknownName, match=r"no fetcher is named 'daily.ohlc'.*did you mean 'daily.ohlcv'"):
        mine["daily.ohlc"]
    with pytest.raises(LookupError):
        mine["daily.ohlc"]
    with pytest.raises(TypeError, match="by its name"):
        mine[3]  # type: ignore[index]


def test_the_same_function_registers_again_silently_and_the_later_one_holds(mine: fl.Registry) -> None:
    make("quote", mine)
    second = make("quote", mine)
    assert mine["quote"] is second


def test_another_origin_under_the_same_name_is_refused_naming_both(mine: fl.Registry) -> None:
    first = make("quote", mine, "one", "f")
    with pytest.raises(fl.DuplicateName, match=r"'quote': one\.f and two\.g"):
        make("quote", mine, "two", "g")
    assert mine["quote"] is first


def test_a_name_can_be_forgotten_and_taken_again(mine: fl.Registry) -> None:
    make("quote", mine, "one")
    mine.unregister("quote")
    mine.unregister("never there")
    make("quote", mine, "two")
    assert mine["quote"]("x") == "two.x"


@pytest.mark.parametrize("name", ["", "1a", "a b", "a..b", ".a", "a.", "a/b", "-a"])
def test_what_is_no_name_is_refused(name: str, mine: fl.Registry) -> None:
    with pytest.raises(ValueError, match="is no name for a fetcher"):
        make(name, mine)


@pytest.mark.parametrize("name", ["a", "a.b", "daily_ohlcv", "x-1.y2", "größe"])
def test_words_with_dots_are_names(name: str, mine: fl.Registry) -> None:
    assert make(name, mine).name == name
    assert list(mine) == [name]


def test_every_fetcher_of_a_module_can_be_added(mine: fl.Registry) -> None:
    elsewhere = fl.Registry()
    module = types.ModuleType("mod")
    module.a = make("a", elsewhere, qualname="a")  # type: ignore[attr-defined]
    module.b = make("b", elsewhere, qualname="b")  # type: ignore[attr-defined]
    module.other = 3  # type: ignore[attr-defined]
    mine.add(module)
    assert list(mine) == ["a", "b"]
    with pytest.raises(TypeError, match="neither a fetcher nor a module"):
        mine.add(3)


def test_a_run_looks_names_up_where_it_is_told(mine: fl.Registry) -> None:
    make("local.only", mine, "m")
    assert fl.run("local.only", ["x"], registry=mine, progress=None).values == ["m.x"]
    config = fl.BatchConfig(registry=mine, progress=None)
    assert fl.run("local.only", ["x"], config=config).values == ["m.x"]
    with pytest.raises(fl.UnknownName):
        fl.run("local.only", ["x"], progress=None)


def test_the_decorator_registers_in_the_default_registry() -> None:
    @fl.fetcher("unit.registry.probe")
    def probe(item: str) -> str:
        return item

    try:
        assert registries.default["unit.registry.probe"] is probe
        assert fl.run("unit.registry.probe", ["x"], progress=None).values == ["x"]
    finally:
        registries.default.unregister("unit.registry.probe")


def test_a_plugin_registered_in_this_process_provides_fetchers_by_its_namespace() -> None:
    from fetchline.catalog import catalog

    elsewhere = fl.Registry()
    quote = make("unitplug.quote", elsewhere, "p")

    class Unitplug:
        @staticmethod
        @fl.hookimpl
        def fetchline_register_fetchers() -> list[Any]:
            return [quote]

    catalog().register(Unitplug, "unitplug")
    try:
        assert fl.run("unitplug.quote", ["x"], progress=None).values == ["p.x"]
    finally:
        catalog().unregister(Unitplug)
        registries.default.unregister("unitplug.quote")


def test_two_empty_registries_are_two() -> None:
    one, other = fl.Registry(), fl.Registry()
    make("a", one)
    assert len(one) == 1 and len(other) == 0
