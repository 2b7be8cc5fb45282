"""The catalog: names to backends, plugins imported on a miss only, and kept from hurting each other."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fetchline
from fetchline.catalog import Catalog, PluginInfo, catalog, use
from fetchline.errors import DuplicateName, PluginError, UnknownName
from fetchline.hookspecs import hookimpl
from fetchline.interfaces import AttemptInfo, ExecutorSpec, ProgressSpec, RunInfo, SessionSpec, StoreSpec
from fetchline.results import Success

RUN = RunInfo(id="1", fetcher="ohlcv", executor="thread", concurrency=4, total=2)

HEADER = """
from fetchline.hookspecs import hookimpl
from fetchline.interfaces import ExecutorSpec, ProgressSpec, SessionSpec, StoreSpec
"""


def progress_plugin(*names: str) -> str:
    specs = ", ".join(f"ProgressSpec(name={name!r}, factory=dict, summary='shows {name}')" for name in names)
    return f"{HEADER}\n@hookimpl\ndef fetchline_register_progress(): return [{specs}]\n"


class Site:
    """Distributions made in a folder, as an installer would lay them out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: set[str] = set()

    def add(
        self, distribution: str, source: str, *, namespace: str, module: str = "", version: str = "1.2"
    ) -> str:
        module = module or f"site_{self.folder.parent.name}_{distribution}".replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
            f"Summary: about {distribution}\n"
        )
        (info / "entry_points.txt").write_text(f"[fetchline]\n{namespace} = {module}\n")
        self.modules.add(module)
        return module

    def entry_points(self) -> Iterator[EntryPoint]:
        for distribution in distributions(path=[str(self.folder)]):
            yield from distribution.entry_points.select(group="fetchline")

    def catalog(self, **options: Any) -> Catalog:
        return Catalog(**{"entry_points": self.entry_points, "block": (), **options})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    made = Site(folder)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


@pytest.fixture
def empty() -> Catalog:
    return Catalog(entry_points=list, block=())


def infos(found: Catalog, provider: str) -> list[PluginInfo]:
    return [info for info in found.plugins() if info.provider == provider]


def shows(*names: str) -> Any:
    """An in-process plugin with progress displays of these names."""
    factory: Any = dict

    class Shows:
        @hookimpl
        def fetchline_register_progress(self) -> list[ProgressSpec]:
            return [ProgressSpec(name=name, factory=factory) for name in names]

    return Shows()


# -- built-ins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["auto", "none", "tqdm", "log", "jsonl"])
def test_a_built_in_is_found_without_asking_for_entry_points(name: str) -> None:
    def entry_points() -> list[EntryPoint]:
        raise AssertionError("entry points were read")

    assert Catalog(entry_points=entry_points).progress(name).name == name


def test_looking_up_one_built_in_imports_no_other() -> None:
    code = """
        import sys
        from fetchline.catalog import catalog
        catalog().progress("log")
        assert "fetchline.builtin.log" in sys.modules
        assert not {"fetchline.builtin.tqdm", "fetchline.builtin.jsonl", "tqdm"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def test_importing_the_catalog_imports_neither_pluggy_nor_metadata() -> None:
    code = """
        import sys
        before = set(sys.modules)
        import fetchline.catalog
        assert not {"pluggy", "importlib.metadata", "tqdm", "polars", "asyncio"} & (set(sys.modules) - before)
    """
    source = Path(fetchline.__file__).parents[1]  # without site, nothing else says where it is installed
    env = {**os.environ, "PYTHONPATH": str(source)}
    subprocess.run([sys.executable, "-S", "-c", textwrap.dedent(code)], check=True, timeout=60, env=env)


def test_built_ins_are_listed_with_their_summary(empty: Catalog) -> None:
    [log] = [info for info in empty.plugins() if (info.kind, info.name) == ("progress", "log")]
    assert (log.provider, log.status) == ("fetchline", "built-in")
    assert log.summary


def test_an_installed_plugin_cannot_take_the_name_of_a_built_in(site: Site) -> None:
    module = site.add("fetchline-tqdm", progress_plugin("tqdm"), namespace="tqdm")
    assert site.catalog().progress("tqdm").summary != "shows tqdm"
    assert module not in sys.modules


def test_the_process_has_one_catalog() -> None:
    assert catalog() is catalog()


def test_use_keeps_name_and_options_apart() -> None:
    named = use("httpx", name="a vendor", timeout=3)
    assert (named.name, named.options) == ("httpx", {"name": "a vendor", "timeout": 3})


# -- installed plugins -------------------------------------------------------------------------------------


def test_a_plugin_is_imported_by_the_first_question_for_its_name_and_not_before(site: Site) -> None:
    module = site.add("fetchline-wats", progress_plugin("wats", "wats.quiet"), namespace="wats")
    found = site.catalog()
    assert infos(found, "fetchline-wats") == [
        PluginInfo("wats", "plugin", "fetchline-wats", "1.2", "installed", "about fetchline-wats")
    ]
    found.progress("log")
    with pytest.raises(UnknownName):
        found.progress("elsewhere")
    assert module not in sys.modules

    assert found.progress("wats.quiet").name == "wats.quiet"
    assert module in sys.modules
    assert [(info.name, info.kind, info.status, info.summary) for info in infos(found, "fetchline-wats")] == [
        ("wats", "progress", "loaded", "shows wats"),
        ("wats.quiet", "progress", "loaded", "shows wats.quiet"),
    ]


def test_the_entry_points_of_the_environment_are_the_default(site: Site) -> None:
    site.add("fetchline-wats", progress_plugin("wats"), namespace="wats")
    assert Catalog().progress("wats").name == "wats"


def test_a_plugin_installed_meanwhile_is_found(site: Site) -> None:
    found = site.catalog()
    with pytest.raises(UnknownName):
        found.progress("wats")
    site.add("fetchline-wats", progress_plugin("wats"), namespace="wats")
    assert found.progress("wats").name == "wats"


def test_an_object_may_be_the_plugin_and_a_distribution_may_be_unknown() -> None:
    class Point(EntryPoint):
        def load(self) -> Any:
            return shows("wats")

    found = Catalog(entry_points=lambda: [Point("wats", "nowhere", "fetchline")])
    assert found.progress("wats").name == "wats"
    assert [info.provider for info in found.plugins()][-1] == "an unknown distribution"


def test_every_kind_of_backend_comes_from_a_plugin(site: Site) -> None:
    source = f"""{HEADER}
@hookimpl
def fetchline_register_executors(): return [ExecutorSpec(name="wats", factory=dict, remote=True)]
@hookimpl
def fetchline_register_sessions(): return (SessionSpec(name="wats", factory=dict, max_open=2),)
@hookimpl
def fetchline_register_stores(): yield StoreSpec(name="wats", factory=dict, schemes=("wats",))
"""
    site.add("fetchline-wats", source, namespace="wats")
    found = site.catalog()
    assert found.executor("wats") == ExecutorSpec(name="wats", factory=dict, remote=True)
    assert found.session("wats") == SessionSpec(name="wats", factory=dict, max_open=2)
    assert found.store("wats") == StoreSpec(name="wats", factory=dict, schemes=("wats",))


def test_a_store_is_found_by_the_scheme_of_a_url(site: Site) -> None:
    source = f"""{HEADER}
@hookimpl
def fetchline_register_stores(): return [StoreSpec(name="s3.fast", factory=dict, schemes=("s3",))]
"""
    site.add("fetchline-s3", source, namespace="s3")
    found = site.catalog()
    assert found.store("s3://bucket/runs").name == "s3.fast"
    with pytest.raises(UnknownName, match="no store is named 'gs'"):
        found.store("gs://bucket/runs")


@pytest.mark.parametrize("name", ["tqdmm", "watson", "other.wats"])
def test_a_name_outside_its_namespace_is_refused_and_the_others_stay(
    site: Site, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.add("fetchline-wats", progress_plugin("wats", name), namespace="wats")
    found = site.catalog()
    with caplog.at_level(logging.WARNING, "fetchline.plugins"):
        assert found.progress("wats").name == "wats"
    assert f"progress '{name}' of plugin 'wats' of fetchline-wats 1.2 is refused" in caplog.text
    with pytest.raises(PluginError, match=r"may register 'wats' and 'wats\.\*' only"):
        found.progress(name)
    assert {info.name: info.status.partition(":")[0] for info in infos(found, "fetchline-wats")} == {
        "wats": "loaded",
        name: "broken",
    }


@pytest.mark.parametrize(
    "source", ["import no_such_module", "raise RuntimeError('no licence')", "raise SystemExit(3)"]
)
def test_a_plugin_that_does_not_import_is_reported_and_hurts_nobody_else(site: Site, source: str) -> None:
    site.add("fetchline-bad", source, namespace="bad", version="0.9")
    site.add("fetchline-wats", progress_plugin("wats"), namespace="wats")
    found = site.catalog()
    with pytest.raises(PluginError, match=r"plugin 'bad' of fetchline-bad 0\.9 is broken: \w+: ") as first:
        found.progress("bad")
    with pytest.raises(PluginError) as second:
        found.session("bad.login")
    assert str(first.value) == str(second.value)
    assert first.value.__cause__ is not None
    assert found.progress("wats").name == "wats"
    [info] = infos(found, "fetchline-bad")
    assert info.status.startswith("broken: ")


def test_a_broken_import_is_tried_once(site: Site) -> None:
    module = site.add("fetchline-bad", "import builtins; builtins.tries.append(1); 1 / 0", namespace="bad")
    import builtins

    builtins.tries = []  # type: ignore[attr-defined]
    try:
        found = site.catalog()
        for _ in range(3):
            with pytest.raises(PluginError, match="ZeroDivisionError"):
                found.progress("bad")
        assert builtins.tries == [1]  # type: ignore[attr-defined]
    finally:
        del builtins.tries  # type: ignore[attr-defined]
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        ("def fetchline_register_progress(): return ['rich']", "gave 'rich', which is no ProgressSpec"),
        ("def fetchline_register_progress(): return 'rich'", "gave 'rich', which is no sequence"),
        (
            "def fetchline_register_progress(): return ProgressSpec(name='wats', factory=dict)",
            "which is no sequence",
        ),
        (
            "def fetchline_register_progress(): return [SessionSpec(name='wats', factory=dict)]",
            "which is no ProgressSpec",
        ),
        (
            "def fetchline_register_progress(): return [ProgressSpec(name='wats', factory=dict)] * 2",
            "gave 'wats' twice",
        ),
        ("def fetchline_run_startet(run): pass", "unknown hook 'fetchline_run_startet'"),
        ("def fetchline_run_started(run, colour): pass", "colour"),
        ("async def fetchline_run_started(run): pass", "hooks are plain functions"),
    ],
)
def test_a_plugin_that_breaks_the_contract_is_named(site: Site, hook: str, why: str) -> None:
    site.add("fetchline-wats", f"{HEADER}\n@hookimpl\n{hook}\n", namespace="wats")
    with pytest.raises(PluginError, match=r"plugin 'wats' of fetchline-wats 1\.2 is broken") as caught:
        site.catalog().progress("wats")
    assert why in str(caught.value)


def test_one_name_from_two_distributions_names_both(site: Site) -> None:
    site.add("fetchline-wats", progress_plugin("wats"), namespace="wats")
    site.add("wats-extras", progress_plugin("wats", "wats.more"), namespace="wats")
    found = site.catalog()
    with pytest.raises(DuplicateName, match=r"fetchline-wats 1\.2") as caught:
        found.progress("wats")
    assert "wats-extras 1.2" in str(caught.value)
    assert found.progress("wats.more").name == "wats.more"
    assert site.catalog(block=["wats_extras"]).progress("wats").name == "wats"


# -- names nobody has --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aiohttp", "baostock", "dask", "httpx", "ray", "rich", "s3", "wats"])
def test_an_unknown_name_of_a_first_party_plugin_says_what_to_install(empty: Catalog, name: str) -> None:
    with pytest.raises(UnknownName, match=f"pip install fetchline-{name}$") as caught:
        empty.session(f"{name}.demo")
    assert (caught.value.kind, caught.value.name) == ("session", f"{name}.demo")


def test_an_unknown_name_lists_what_is_known_and_what_may_provide_it(empty: Catalog) -> None:
    with pytest.raises(UnknownName, match="a plugin named fetchline-frobnicate may provide it") as caught:
        empty.executor("frobnicate")
    assert caught.value.known == ("asyncio", "process", "serial", "thread")


def test_a_misspelt_name_of_an_installed_plugin_finds_it_unimported(site: Site) -> None:
    module = site.add("fetchline-wats", progress_plugin("wats"), namespace="wats")
    with pytest.raises(UnknownName, match=r"Did you mean 'wats', a plugin that is installed\?"):
        site.catalog().progress("watts")
    assert module not in sys.modules


def test_asking_a_plugin_for_a_kind_it_does_not_provide_says_so(site: Site) -> None:
    site.add("fetchline-wats", progress_plugin("wats"), namespace="wats")
    with pytest.raises(UnknownName, match=r"fetchline-wats 1\.2 is installed, but provides no executor"):
        site.catalog().executor("wats")


# -- blocked plugins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", ["wats", "other, fetchline-wats", "fetchline_wats", "WATS"])
def test_a_blocked_plugin_is_never_imported(site: Site, listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = site.add("fetchline-wats", progress_plugin("wats"), namespace="wats")
    monkeypatch.setenv("FETCHLINE_BLOCK", listed)
    found = site.catalog(block=None)
    with pytest.raises(PluginError, match=r"plugin 'wats' of fetchline-wats 1\.2 is blocked"):
        found.progress("wats")
    assert not found.observers(["wats"]).wants_items
    assert found.middleware(["wats"], RUN) == ()
    assert [info.status for info in infos(found, "fetchline-wats")] == ["blocked"]
    assert module not in sys.modules


# -- plugins of this process -------------------------------------------------------------------------------


def test_a_registered_plugin_is_found_listed_and_taken_away(empty: Catalog) -> None:
    plugin = shows("mine")
    assert empty.register(plugin) == "Shows"
    assert empty.progress("mine").name == "mine"
    assert [(info.name, info.status) for info in infos(empty, "in-process")] == [("mine", "loaded")]
    empty.unregister(plugin)
    assert infos(empty, "in-process") == []
    with pytest.raises(UnknownName):
        empty.progress("mine")
    with pytest.raises(UnknownName, match="no in-process plugin"):
        empty.unregister("Shows")


def test_registering_the_same_class_again_replaces_it(empty: Catalog) -> None:
    empty.register(shows("mine"))
    empty.register(shows("mine", "more"))
    assert empty.progress("more").name == "more"


def test_another_plugin_under_a_registered_name_is_refused(empty: Catalog) -> None:
    empty.register(shows("mine"), "a")
    with pytest.raises(DuplicateName, match="the plugin name 'a' belongs to"):
        empty.register(SimpleNamespace(), "a")


def test_a_registered_plugin_cannot_take_a_provided_name(empty: Catalog) -> None:
    empty.register(shows("mine"), "first")
    with pytest.raises(
        DuplicateName, match="'second' of in-process is provided by plugin 'first' of in-process"
    ):
        empty.register(shows("mine"), "second")
    with pytest.raises(DuplicateName, match=r"progress 'tqdm' .* is provided by fetchline itself"):
        empty.register(shows("tqdm"), "third")
    assert [info.name for info in infos(empty, "in-process")] == ["mine"]


def test_a_registered_plugin_that_breaks_the_contract_is_not_added(empty: Catalog) -> None:
    class Bad:
        @hookimpl
        def fetchline_register_sessions(self) -> list[str]:
            return ["httpx"]

    with pytest.raises(PluginError, match="plugin 'Bad' of in-process is broken: TypeError"):
        empty.register(Bad())
    assert infos(empty, "in-process") == []


# -- fetchers ----------------------------------------------------------------------------------------------


def test_fetchers_come_from_the_plugin_of_that_namespace(site: Site) -> None:
    # A second question would get nothing from the same iterator.
    source = f"{HEADER}\nonce = iter([len, max])\n@hookimpl\ndef fetchline_register_fetchers(): return once\n"
    module = site.add("fetchline-wats", source, namespace="wats")
    found = site.catalog()
    assert found.fetchers("other") == []
    assert module not in sys.modules
    assert found.fetchers("wats") == [len, max]
    assert found.fetchers("wats") == [len, max]
    assert [info.kind for info in infos(found, "fetchline-wats")] == ["fetchers"]


@pytest.mark.parametrize("body", ["1 / 0", "return len"])
def test_fetchers_that_cannot_be_given_name_the_plugin(site: Site, body: str) -> None:
    source = f"{HEADER}\n@hookimpl\ndef fetchline_register_fetchers(): {body}\n"
    site.add("fetchline-wats", source, namespace="wats")
    with pytest.raises(PluginError, match=r"fetchline-wats 1\.2 failed in fetchline_register_fetchers"):
        site.catalog().fetchers("wats")


# -- observers ---------------------------------------------------------------------------------------------


class Watches:
    """An observer that notes what it is told."""

    def __init__(self, name: str, notes: list[tuple[str, str]], error: Exception | None = None) -> None:
        self.name, self.notes, self.error = name, notes, error

    def _note(self, what: str) -> None:
        self.notes.append((self.name, what))
        if self.error is not None:
            raise self.error

    @hookimpl
    def fetchline_run_started(self, run: RunInfo) -> None:
        self._note(f"run {run.id}")

    @hookimpl
    def fetchline_item_finished(self, result: Any) -> None:
        self._note(f"item {result.key}")

    @hookimpl
    def fetchline_run_finished(self, run: RunInfo, summary: Any) -> None:
        self._note(f"finished {summary}")


class WatchesAttempts:
    def __init__(self, notes: list[int]) -> None:
        self.notes = notes

    @hookimpl
    def fetchline_attempt_finished(self, attempt: AttemptInfo) -> None:
        self.notes.append(attempt.number)


def test_observers_are_told_in_the_order_in_which_they_are_named(empty: Catalog) -> None:
    notes: list[tuple[str, str]] = []
    for name in ("a", "b"):
        empty.register(Watches(name, notes), name)
    told = empty.observers(["b", "a", "b"])
    assert (told.wants_items, told.wants_attempts) == (True, False)
    told.run_started(RUN)
    told.item_finished(RUN, Success(1, key="AAPL"))
    told.run_finished(RUN, "all")
    assert notes == [(name, what) for what in ("run 1", "item AAPL", "finished all") for name in "ba"]


def test_an_observer_that_is_not_named_is_not_told(empty: Catalog) -> None:
    notes: list[tuple[str, str]] = []
    empty.register(Watches("a", notes), "a")
    told = empty.observers([])
    told.run_started(RUN)
    assert (notes, told.wants_items) == ([], False)


def test_an_object_acts_without_being_registered(empty: Catalog) -> None:
    notes: list[int] = []
    told = empty.observers([WatchesAttempts(notes)])
    assert (told.wants_items, told.wants_attempts) == (False, True)
    told.attempt_finished(RUN, AttemptInfo(key="AAPL", index=0, number=2, verdict=None, ran_s=0.1))
    assert notes == [2]
    assert infos(empty, "in-process") == []


def test_an_observer_that_raises_is_counted_each_time_logged_once_and_isolated(
    empty: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    notes: list[tuple[str, str]] = []
    told = empty.observers([Watches("bad", notes, RuntimeError("boom")), Watches("good", notes)])
    with caplog.at_level(logging.WARNING, "fetchline.plugins"):
        for key in "xyz":
            told.item_finished(RUN, Success(1, key=key))
        told.run_finished(RUN, "all")
    assert told.errors == 4
    assert [name for name, _ in notes] == ["bad", "good"] * 4
    assert [record.name for record in caplog.records] == ["fetchline.plugins"] * 2
    assert "plugin 'Watches' of in-process failed in fetchline_item_finished" in caplog.text
    assert "RuntimeError: boom" in caplog.text


def test_ctrl_c_in_an_observer_is_not_swallowed(empty: Catalog) -> None:
    told = empty.observers([Watches("a", [], KeyboardInterrupt())])  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        told.run_started(RUN)


def test_an_observer_nobody_has_is_an_unknown_name(site: Site) -> None:
    site.add("fetchline-otel", HEADER, namespace="otel")
    with pytest.raises(UnknownName, match="no plugin is named 'otell'; did you mean 'otel'"):
        site.catalog().observers(["otell"])


def test_a_named_observer_that_does_not_import_is_an_error(site: Site) -> None:
    site.add("fetchline-otel", "1 / 0", namespace="otel")
    with pytest.raises(
        PluginError, match=r"plugin 'otel' of fetchline-otel 1\.2 is broken: ZeroDivisionError"
    ):
        site.catalog().observers("otel")


# -- middleware --------------------------------------------------------------------------------------------


class Wraps:
    def __init__(self, give: Callable[[RunInfo], Any]) -> None:
        self.give = give

    @hookimpl
    def fetchline_worker_middleware(self, run: RunInfo) -> Any:
        return self.give(run)


def test_middleware_comes_in_the_order_in_which_it_is_named(empty: Catalog) -> None:
    empty.register(Wraps(lambda run: [nullcontext, dict]), "a")
    empty.register(Wraps(lambda run: [list] if run is RUN else []), "b")
    empty.register(shows("mine"), "c")
    assert list(empty.middleware(["b", "c", "a"], RUN)) == [list, nullcontext, dict]
    assert [(info.name, info.kind) for info in infos(empty, "in-process")] == [
        ("a", "middleware"),
        ("b", "middleware"),
        ("mine", "progress"),
    ]


@pytest.mark.parametrize("give", [lambda run: 1 / 0, lambda run: ["no factory"], lambda run: nullcontext])
def test_middleware_that_cannot_be_had_stops_the_run_and_names_the_plugin(
    empty: Catalog, give: Callable[[RunInfo], Any]
) -> None:
    with pytest.raises(
        PluginError, match="plugin 'Wraps' of in-process failed in fetchline_worker_middleware"
    ):
        empty.middleware([Wraps(give)], RUN)


# -- threads -----------------------------------------------------------------------------------------------


def test_threads_that_ask_at_once_import_a_plugin_once(site: Site) -> None:
    source = "import builtins\nbuiltins.imports = getattr(builtins, 'imports', 0) + 1\n" + progress_plugin(
        "wats"
    )
    site.add("fetchline-wats", source, namespace="wats")
    found = site.catalog()
    together = threading.Barrier(8)
    specs: list[ProgressSpec] = []

    def ask() -> None:
        together.wait()
        specs.append(found.progress("wats"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    import builtins

    assert builtins.__dict__.pop("imports") == 1
    assert len(specs) == 8
    assert all(spec is specs[0] for spec in specs)
