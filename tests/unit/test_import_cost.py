"""What `import fetchline` costs, and that every public name is there when asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fetchline as fl

HEAVY = (
    "polars",
    "asyncio",
    "tenacity",
    "tqdm",
    "click",
    "pydantic",
    "multiprocessing",
    "pluggy",
    "cloudpickle",
)


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_fetchline_loads_nothing_heavy() -> None:
    loaded = _python(
        "import sys, fetchline; print(*{name.partition('.')[0] for name in sys.modules})"
    ).split()
    assert "fetchline" in loaded
    assert not set(HEAVY) & set(loaded)


def test_importing_fetchline_loads_none_of_its_own_modules() -> None:
    loaded = _python("import sys, fetchline; print(*sys.modules)").split()
    assert [name for name in loaded if name.startswith("fetchline.")] == []


def test_decorating_a_function_loads_no_polars_tenacity_tqdm_click_or_pydantic() -> None:
    code = (
        "import sys, fetchline as fl\n"
        "@fl.fetcher(retry=3, timeout=5, pace='5/s')\n"
        "def f(item): return item\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = set(_python(code).split())
    assert not {"polars", "tenacity", "tqdm", "click", "pydantic", "multiprocessing"} & loaded


def test_a_direct_call_and_a_run_of_plain_values_load_no_polars() -> None:
    code = (
        "import sys, fetchline as fl\n"
        "assert fl.Try(retry=2, sleep=0)(abs)(-1) == 1\n"
        "assert fl.run(abs, [-1], progress=None).values == [1]\n"
        "print('polars' in sys.modules, 'tqdm' in sys.modules)"
    )
    assert _python(code).split() == ["False", "False"]


@pytest.mark.parametrize("name", fl.__all__)
def test_every_public_name_resolves_and_is_listed(name: str) -> None:
    assert getattr(fl, name) is not None
    assert getattr(fl, name) is getattr(fl, name)
    assert name in dir(fl)


@pytest.mark.parametrize(
    "first", ["fl.stream(abs, [1])", "quick(1)", "import fetchline.runner, fetchline.planner"]
)
def test_functions_keep_their_names_whatever_was_used_first(first: str) -> None:
    code = (
        "import fetchline as fl\n"
        "quick = fl.Fetcher.of(abs, timeout=5)\n"
        f"{first}\n"
        "print(*(name for name in fl.__all__ if type(getattr(fl, name)).__name__ == 'module'))"
    )
    assert _python(code).split() == []


def test_no_module_has_the_name_of_a_public_name() -> None:
    import pkgutil

    modules = {module.name for module in pkgutil.iter_modules(fl.__path__)}
    assert modules & set(fl.__all__) == set()


def test_a_star_import_gives_exactly_the_public_names() -> None:
    code = "before = set(globals())\nfrom fetchline import *\nprint(*(set(globals()) - before - {'before'}))"
    assert set(_python(code).split()) == set(fl.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'rnu'"):
        fl.rnu  # noqa: B018
    assert not hasattr(fl, "rnu")


def test_public_objects_say_where_they_are_imported_from() -> None:
    import importlib

    for name in fl.__all__:
        value = getattr(fl, name)
        module = getattr(value, "__module__", None)
        if isinstance(module, str) and module.startswith("fetchline"):
            assert getattr(importlib.import_module(module), name) is value


def test_the_version_is_that_of_the_distribution_where_it_is_installed() -> None:
    assert fl.__version__.count(".") == 2


def test_every_error_is_in_the_tree() -> None:
    for name in fl.__all__:
        value = getattr(fl, name)
        if isinstance(value, type) and issubclass(value, BaseException):
            if name == "BatchInterrupted":
                assert issubclass(value, KeyboardInterrupt)
            elif name == "WorkerCrashed":
                from concurrent.futures.process import BrokenProcessPool

                assert issubclass(value, BrokenProcessPool)
            else:
                assert issubclass(value, fl.FetchlineError), name
