"""The command itself: how it starts, helps, completes and complains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_support import environment
from click.testing import Result

Command = Callable[..., subprocess.CompletedProcess[str]]
Invoke = Callable[..., Result]

HEAVY = {"polars", "asyncio", "tenacity", "tqdm", "pluggy", "pydantic", "importlib.metadata", "logging"}
OURS = {"fetchline.runner", "fetchline.catalog", "fetchline.fetchers", "fetchline.registry", "fetchline.core"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["completion", "bash"]])
def test_help_imports_nothing_that_only_a_run_needs(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["fetchline", *{arguments}]
from fetchline.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert not (HEAVY | OURS) & set(ended.stderr.split())


def test_the_version_is_told(command: Command) -> None:
    import fetchline

    assert command("--version").stdout == f"fetchline {fetchline.__version__}\n"


def test_without_a_command_help_is_shown(command: Command) -> None:
    bare, helped = command(), command("--help")
    assert bare.returncode == helped.returncode == 0
    assert bare.stdout == helped.stdout
    for name in ("list", "show", "run", "plan", "plugins", "demo", "completion"):
        assert f"\n  {name} " in bare.stdout


def test_help_fits_a_hundred_columns(invoke: Invoke) -> None:
    for name in ("list", "show", "run", "plan", "plugins", "completion"):
        text = invoke(name, "--help").output
        assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["rum"], "fetchline: there is no command 'rum'; did you mean 'run' or 'runs'?"),
        (["run"], "fetchline: Missing argument 'NAME'; see fetchline run --help"),
        (["run", "x", "--bogus"], "see fetchline run --help"),
        (["run", "shop.dayly", "A"], "no fetcher is named 'shop.dayly'; did you mean 'shop.daily' or "),
        (["show", "nothing"], "no fetcher is named 'nothing'"),
        (["run", "shop.double", "1", "-j", "0"], "-j"),
        (["run", "shop.double", "1", "--deadline", "soon"], "'soon' is no time such as 90, 90s, 15m or 2h"),
        (["run", "shop.double", "1", "--executor", "thred"], "did you mean 'thread'?"),
        (["run", "shop.double", "1", "--on-error", "ignore"], "--on-error"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_wrong_usage_is_one_line_on_standard_error_and_exit_code_2(
    invoke: Invoke, arguments: list[str], complaint: str
) -> None:
    ended = invoke(*arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("fetchline: ")
    assert complaint in line


def test_a_traceback_is_shown_at_log_level_debug_only(command: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import fetchline\n\n1 / 0\n")
    quiet = command("--app", "broken.py", "list")
    assert quiet.stderr == (
        "fetchline: the app 'broken.py' does not import: ZeroDivisionError: division by zero (broken.py, line 3)\n"
    )
    loud = command("--log-level", "debug", "run", "--app", "broken.py", "x", "1")
    assert loud.returncode == quiet.returncode + 1 == 2
    assert "Traceback" in loud.stderr
    assert quiet.stderr in loud.stderr


@pytest.mark.parametrize(("shell", "says"), [("bash", "eval "), ("zsh", "eval "), ("fish", "| source")])
def test_the_line_that_switches_on_completion_is_all_of_standard_output(
    invoke: Invoke, shell: str, says: str
) -> None:
    ended = invoke("completion", shell)
    assert ended.exit_code == 0
    assert ended.stdout.count("\n") == 1
    assert f"_FETCHLINE_COMPLETE={shell}_source fetchline" in ended.stdout
    assert says in ended.stdout
    assert "Add this line to" in ended.stderr


def completions(command: Command, line: str, **env: str) -> list[str]:
    words = line.split()
    count = len(words) if line.endswith(" ") else len(words) - 1
    ended = command(_FETCHLINE_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(count), **env)
    return [word.removeprefix("plain,") for word in ended.stdout.split()]


def test_names_of_fetchers_complete(command: Command, app: str) -> None:
    assert completions(command, f"fetchline --app {app} run shop.d") == ["shop.daily", "shop.double"]
    assert completions(command, "fetchline show shop.q", FETCHLINE_APPS=app) == ["shop.quarter"]
    assert completions(command, "fetchline run x --executor p") == ["process"]
    assert "demo" in completions(command, "fetchline ")


def test_an_app_that_does_not_import_leaves_the_line_being_typed_alone(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "noisy.py").write_text("print('noise')\nimport nothing_of_that_name\n")
    assert completions(command, "fetchline --app noisy run ") == []


def test_the_demo_gets_its_own_arguments(command: Command) -> None:
    ended = command("demo", "--help")
    assert ended.returncode == 0
    assert "--quick" in ended.stdout
    assert command("demo", "--executor", "thred").returncode == 2
