"""BatchConfig, and where an option comes from: call > config= > environment > project file > default."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest

import fetchline as fl
from fetchline.config import BatchConfig, resolve, settings


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a project, and an environment without settings."""
    import os

    for name in list(os.environ):
        if name.startswith("FETCHLINE_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# -- the record


def test_a_config_is_frozen_and_keyword_only() -> None:
    config = BatchConfig(workers=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.workers = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        BatchConfig("thread")  # type: ignore[call-arg]
    assert dataclasses.replace(config, workers=5).workers == 5
    assert BatchConfig(workers=3) == config


def test_each_executor_has_its_constructor() -> None:
    assert BatchConfig.serial().executor == "serial"
    assert BatchConfig.thread(4) == BatchConfig(executor="thread", workers=4)
    assert BatchConfig.process(workers=2) == BatchConfig(executor="process", workers=2)
    assert BatchConfig.asyncio(200) == BatchConfig(executor="asyncio", concurrency=200)
    assert BatchConfig.of("ray", 8, on_error="raise") == BatchConfig(
        executor="ray", workers=8, on_error="raise"
    )
    assert BatchConfig.thread().workers is None


@pytest.mark.parametrize("name", ["workers", "max_workers", "concurrency", "window"])
@pytest.mark.parametrize(
    ("value", "kind"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError)]
)
def test_counts_are_whole_numbers_of_at_least_one(name: str, value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"^{name} must be"):
        BatchConfig(**{name: value})
    with pytest.raises(kind, match="must be"):
        fl.run(abs, [1], **{name: value})


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"on_error": "ignore"}, ValueError, 'on_error must be "collect" or "raise"'),
        ({"deadline": 0}, ValueError, "deadline"),
        ({"deadline": -1}, ValueError, "deadline"),
        ({"deadline": "5"}, TypeError, "deadline"),
        ({"params": [1]}, TypeError, "params must map"),
        ({"key": "symbol"}, TypeError, "key must be a function"),
        ({"on_progress": 3}, TypeError, "on_progress must be a function"),
        ({"plugins": "otel"}, TypeError, "plugins must be a list"),
        ({"workers": 1, "max_workers": 1}, ValueError, "the same thing"),
        ({"executor": "thread", "executor_factory": list}, ValueError, "the same thing"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_starts(
    options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        BatchConfig(**options)
    calls: list[int] = []
    with pytest.raises(kind, match=said):
        fl.run(calls.append, [1], **options)
    assert calls == []


def test_an_option_that_does_not_exist_names_the_near_one() -> None:
    with pytest.raises(TypeError, match="no option 'worker'; did you mean 'workers'"):
        fl.run(abs, [1], worker=3)
    with pytest.raises(
        TypeError, match=r"policy, not an option of a run: write fetcher\.replace\(timeout=\.\.\.\)"
    ):
        fl.run(abs, [1], timeout=3)
    with pytest.raises(TypeError, match="config must be a BatchConfig"):
        fl.run(abs, [1], config={"workers": 3})


@pytest.mark.parametrize("start", [fl.stream, fl.submit, fl.astream])
def test_a_stream_and_a_job_refuse_wrong_options_at_the_call(start: Any) -> None:
    with pytest.raises(TypeError, match="no option"):
        start(abs, [1], worker=3)
    with pytest.raises(fl.UnknownName, match="no executor is named 'threads'; did you mean 'thread'"):
        start(abs, [1], executor="threads")


# -- precedence


def test_the_call_wins_over_config_over_environment_over_project_over_default(
    somewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def window(options: dict[str, Any], config: BatchConfig | None = None) -> int | None:
        return resolve(options, config, {"window": 1}).window

    assert window({}) == 1
    (somewhere / "fetchline.toml").write_text("window = 2\n")
    assert window({}) == 2
    monkeypatch.setenv("FETCHLINE_WINDOW", "3")
    assert window({}) == 3
    assert window({}, BatchConfig(window=4)) == 4
    assert window({"window": 5}, BatchConfig(window=4)) == 5


def test_none_is_not_said() -> None:
    config = BatchConfig(workers=4, on_error="raise", window=9)
    said = resolve({"workers": None, "on_error": None, "window": None}, config, {"on_error": "collect"})
    assert (said.workers, said.on_error, said.window) == (4, "raise", 9)


def test_no_progress_is_something_that_is_said() -> None:
    config = BatchConfig(progress="tqdm")
    for quiet in (None, False, "none"):
        assert resolve({"progress": quiet}, config, {"progress": "auto"}).progress == quiet
    assert resolve({}, config, {"progress": "auto"}).progress == "tqdm"
    assert resolve({}, None, {"progress": "auto"}).progress == "auto"


def test_the_familiar_spellings_mean_the_same() -> None:
    assert resolve({"max_workers": 3}, None, {}).workers == 3
    assert resolve({}, BatchConfig(max_workers=3), {}).workers == 3
    assert resolve({"executor_factory": list}, None, {}).executor is list
    assert resolve({"workers": 5}, BatchConfig(max_workers=3), {}).workers == 5
    assert resolve({"executor": "serial"}, BatchConfig(executor_factory=list), {}).executor == "serial"
    with pytest.raises(ValueError, match="the same thing"):
        resolve({"workers": 3, "max_workers": 3}, None, {})


def test_a_run_obeys_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCHLINE_EXECUTOR", "serial")
    monkeypatch.setenv("FETCHLINE_PROGRESS", "none")
    monkeypatch.setenv("FETCHLINE_ON_ERROR", "raise")
    batch = fl.run(lambda item: threading.current_thread(), [1])
    assert batch.summary.executor == "serial" and batch.values == [threading.main_thread()]
    with pytest.raises(fl.BatchFailed):
        fl.run(lambda item: item / 0, [1])


def test_a_call_that_names_its_executor_keeps_the_width_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FETCHLINE_WORKERS", "3")
    assert fl.run(abs, [1], executor="thread", progress=None).summary.concurrency == 3


def test_a_number_in_the_environment_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCHLINE_WORKERS", "many")
    with pytest.raises(ValueError, match="FETCHLINE_WORKERS must be a whole number, not 'many'"):
        fl.run(abs, [1], progress=None)


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCHLINE_WORKERS", "")
    assert "workers" not in settings()


def test_lists_in_the_environment_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCHLINE_PLUGINS", "otel, rich,")
    assert settings()["plugins"] == ["otel", "rich"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("fetchline.toml", "workers = 7\n"), ("pyproject.toml", "[tool.fetchline]\nworkers = 7\n")],
)
def test_the_project_is_found_from_a_folder_inside_it(
    name: str, text: str, somewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (somewhere / name).write_text(text)
    inside = somewhere / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert settings()["workers"] == 7


def test_a_changed_project_file_is_read_again(somewhere: Path) -> None:
    import os

    path = somewhere / "fetchline.toml"
    path.write_text("workers = 7\n")
    assert settings()["workers"] == 7
    path.write_text("workers = 8\n")
    os.utime(path, ns=(1, 1))
    assert settings()["workers"] == 8


def test_an_unknown_setting_names_the_file(somewhere: Path) -> None:
    (somewhere / "pyproject.toml").write_text("[tool.fetchline]\nworker = 7\n")
    with pytest.raises(ValueError, match=r"pyproject\.toml: fetchline has no setting 'worker'"):
        fl.run(abs, [1], progress=None)


def test_a_project_that_says_nothing_of_fetchline_is_silent(somewhere: Path) -> None:
    (somewhere / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert settings() == {}


# -- widths


@pytest.mark.parametrize(
    ("options", "width"),
    [
        ({}, 10),
        ({"workers": 3}, 3),
        ({"concurrency": 3}, 3),
        ({"workers": 5, "concurrency": 3}, 3),
        ({"executor": "serial"}, 1),
    ],
)
def test_a_plain_function_is_as_wide_as_asked(options: dict[str, Any], width: int) -> None:
    assert fl.run(abs, range(12), progress=None, **options).summary.concurrency == width


def test_more_plain_attempts_than_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="concurrency=5 attempts cannot be in flight on workers=3"):
        fl.run(abs, [1], workers=3, concurrency=5)


@pytest.mark.parametrize("options", [{"workers": 2}, {"concurrency": 2}])
def test_serial_is_one_at_a_time(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one attempt at a time"):
        fl.run(abs, [1], executor="serial", **options)


def test_async_functions_default_to_asyncio_and_plain_ones_to_threads() -> None:
    async def later(item: int) -> int:
        return item

    assert fl.run(later, [1], progress=None).summary.executor == "asyncio"
    assert fl.run(abs, [1], progress=None).summary.executor == "thread"
    assert fl.run(abs, [1], executor="asyncio", progress=None).summary.executor == "thread"


def test_a_pool_that_is_given_sets_the_width() -> None:
    with fl.get_executor("thread", max_workers=3) as pool:
        assert fl.run(abs, [1], executor=pool, progress=None).summary.concurrency == 3
        with pytest.raises(ValueError, match="has 3"):
            fl.run(abs, [1], executor=pool, workers=4)


def test_an_executor_may_be_a_factory() -> None:
    from concurrent.futures import ThreadPoolExecutor

    batch = fl.run(abs, [-1, -2], executor=ThreadPoolExecutor, workers=2, progress=None)
    assert batch.values == [1, 2] and batch.summary.concurrency == 2
    config = BatchConfig(executor_factory=ThreadPoolExecutor, max_workers=2, progress=None)
    assert fl.run(abs, [-1], config=config).values == [1]


@pytest.mark.parametrize("executor", [3, object(), ["thread"]])
def test_what_is_no_executor_is_refused(executor: Any) -> None:
    with pytest.raises(TypeError, match="executor must be a name"):
        fl.run(abs, [1], executor=executor)
