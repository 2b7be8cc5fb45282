"""``list``, ``show``, ``plugins``: apps and plugins, imported and not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Command = Callable[..., subprocess.CompletedProcess[str]]
Invoke = Callable[..., Result]
Install = Callable[..., Path]

SOURCE = Path(__file__).parents[2] / "src"
RAISES = "raise RuntimeError('imported')"
ACME = """
import fetchline as fl

@fl.fetcher("acme.product")
def product(n: int) -> dict:
    "Fetch a product."
    return {"n": n}

@fl.hookimpl
def fetchline_register_fetchers():
    return [product]
"""
GREET = """
import click

@click.command()
@click.option("--name", default="you")
@click.pass_context
def greet(ctx, name):
    click.echo(f"hello {name}")
    ctx.exit(7 if name == "seven" else 0)
"""


def test_fetchers_are_listed_with_what_they_are_and_where_they_come_from(invoke: Invoke) -> None:
    lines = invoke("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "WHAT", "IT", "IS", "FROM"]
    (daily,) = (line for line in lines if line.startswith("shop.daily "))
    assert daily.split()[-1] == "cli_shop.daily"
    assert "Fetch daily prices." in daily
    assert lines[1:] == sorted(lines[1:])


def test_an_installed_plugin_is_listed_unimported_and_imported_for_its_name_only(
    command: Command, install: Install
) -> None:
    path = install("fetchline-acme", "[fetchline]\nacme = acme_plugin\n", acme_plugin=ACME)
    install("fetchline-bad", "[fetchline]\nbad = bad_plugin\n", bad_plugin=RAISES)
    env = {"PYTHONPATH": f"{SOURCE}:{path}"}
    listed = command("list", **env)
    assert listed.returncode == 0
    assert "bad.*" in listed.stdout
    assert "acme.*" in listed.stdout
    assert "fetchline-acme 1.2, not imported" in listed.stdout
    rows = [line.split() for line in command("plugins", **env).stdout.splitlines()]
    assert rows[0] == ["NAME", "KIND", "PROVIDER", "VERSION", "STATUS"]
    assert ["acme", "plugin", "fetchline-acme", "1.2", "installed"] in rows
    assert ["bad", "plugin", "fetchline-bad", "1.2", "installed"] in rows
    assert command("run", "acme.product", "3", "--out", "-", **env).stdout == "key,n\n3,3\n"
    broken = command("run", "bad.thing", "3", **env)
    assert broken.returncode == 2
    assert "plugin 'bad' of fetchline-bad 1.2 is broken: RuntimeError: imported" in broken.stderr
    assert broken.stderr.splitlines()[-1].startswith("fetchline: ")


def test_plugins_lists_the_built_in_ones(invoke: Invoke) -> None:
    rows = [line.split() for line in invoke("plugins").stdout.splitlines()]
    for name in ("serial", "thread", "process", "asyncio"):
        assert [name, "executor", "fetchline"] == next(row for row in rows if row[0] == name)[:3]


def test_a_fetcher_is_shown_with_signature_policies_origin_and_documentation(
    invoke: Invoke, app: str
) -> None:
    text = invoke("show", "shop.daily").stdout
    assert "daily(symbol: str, period: fl.Period = Period('2024-01-01', '2024-03-31')," in text
    assert "Try(retry=2, sleep=0.0)" in text
    assert "10 s" in text
    assert "10000/s" in text
    assert f"cli_shop.daily ({app}:" in text
    assert text.endswith("Fetch daily prices.\n\nFrom the shop.\n")
    assert "async quarter(period: fl.Period)" in invoke("show", "shop.quarter").stdout


def test_commands_of_plugins_are_in_the_help_unimported_and_work(command: Command, install: Install) -> None:
    path = install("fetchline-greet", "[fetchline.commands]\ngreet = greeting:greet\n", greeting=GREET)
    install("fetchline-bad", "[fetchline.commands]\nbad = bad_command:cli\n", bad_command=RAISES)
    install("fetchline-odd", "[fetchline.commands]\nodd = odd_command:cli\n", odd_command="cli = 3")
    env = {"PYTHONPATH": f"{SOURCE}:{path}"}
    text = command("--help", **env).stdout
    assert "What fetchline-greet is for (fetchline-greet 1.2)" in text
    assert "\n  bad " in text
    assert command("greet", "--name", "all", **env).stdout == "hello all\n"
    assert command("greet", "--name", "seven", **env).returncode == 7
    assert "--name" in command("greet", "--help", **env).stdout
    bad = command("bad", **env)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == (
        "fetchline: the command 'bad' of fetchline-bad 1.2 is broken: RuntimeError: imported\n"
    )
    assert "is no click command, but 3" in command("odd", **env).stderr
    assert "command" in next(
        line for line in command("plugins", **env).stdout.splitlines() if line.startswith("greet ")
    )


def test_a_blocked_command_is_neither_shown_nor_imported(command: Command, install: Install) -> None:
    path = install("fetchline-bad", "[fetchline.commands]\nbad = bad_command:cli\n", bad_command=RAISES)
    env = {"PYTHONPATH": f"{SOURCE}:{path}", "FETCHLINE_BLOCK": "Fetchline_Bad"}
    assert "\n  bad " not in command("--help", **env).stdout
    ended = command("bad", **env)
    assert ended.returncode == 2
    assert "is blocked" in ended.stderr


def test_two_commands_of_one_name_are_refused_naming_both(command: Command, install: Install) -> None:
    path = install("fetchline-one", "[fetchline.commands]\ngreet = greeting:greet\n", greeting=GREET)
    install("fetchline-two", "[fetchline.commands]\ngreet = other:greet\nlist = other:greet\n", other=GREET)
    env = {"PYTHONPATH": f"{SOURCE}:{path}"}
    ended = command("greet", **env)
    assert ended.returncode == 2
    assert "provided by fetchline-one and fetchline-two" in ended.stderr
    # A built-in command keeps its name.
    assert "no fetchers" in command("list", **env).stderr


# -- apps --------------------------------------------------------------------------------------------------

ONE = 'import fetchline as fl\n\n@fl.fetcher("mine.one")\ndef one(n: int) -> dict:\n    return {"one": n}\n'


@pytest.mark.parametrize("table", ["pyproject.toml", "fetchline.toml"])
@pytest.mark.parametrize("spec", ["mine", "mine.py", "lib/inner.py"])
def test_apps_of_the_settings_are_found_from_any_folder_of_the_project(
    command: Command, tmp_path: Path, table: str, spec: str
) -> None:
    head = "[tool.fetchline]\n" if table == "pyproject.toml" else ""
    (tmp_path / table).write_text(f'{head}apps = ["{spec}"]\n')
    folder = tmp_path / "lib"
    folder.mkdir()
    for file in (tmp_path / "mine.py", folder / "inner.py"):
        file.write_text(ONE)
    assert "mine.one" in command("list").stdout
    assert command("run", "mine.one", "4", "--out", "-", cwd=folder).stdout == "key,one\n4,4\n"


@pytest.mark.parametrize("place", ["before", "after"])
def test_an_app_is_a_module_or_a_file_named_before_or_after_the_command(
    command: Command, tmp_path: Path, place: str
) -> None:
    (tmp_path / "mine.py").write_text(ONE)
    for spec in ("mine", "mine.py", str(tmp_path / "mine.py")):
        app = ["--app", spec]
        arguments = [*app, "list"] if place == "before" else ["list", *app]
        assert "mine.one" in command(*arguments).stdout


def test_a_file_in_a_package_is_imported_as_part_of_it(command: Command, tmp_path: Path) -> None:
    package = tmp_path / "shop" / "deep"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("")
    (package / "names.py").write_text("NAME = 'deep.one'\n")
    (package / "app.py").write_text("from .names import NAME\n" + ONE.replace('"mine.one"', "NAME"))
    ended = command(
        "run", "--app", "shop/deep/app.py", "deep.one", "1", "--out", "-", "--executor", "process"
    )
    assert ended.stdout == "key,one\n1,1\n"
    assert "shop.deep.app.one" in command("list", "--app", "shop/deep/app.py").stdout


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("nothing", "there is no module 'nothing', neither installed nor in "),
        ("nothing.py", "there is no file nothing.py"),
        ("sub/click.py", "another module is named 'click' already; rename the file"),
        ("needy", "does not import: ModuleNotFoundError: No module named 'absent_module' (needy.py, line 1)"),
        ("leaving", "does not import: SystemExit: 3"),
        ("twin", "two fetchers are named 'mine.one'"),
    ],
)
def test_an_app_that_does_not_import_is_one_line_and_hides_no_other(
    command: Command, tmp_path: Path, spec: str, complaint: str
) -> None:
    (tmp_path / "mine.py").write_text(ONE)
    (tmp_path / "twin.py").write_text(ONE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "click.py").write_text(ONE)
    (tmp_path / "needy.py").write_text("import absent_module")
    (tmp_path / "leaving.py").write_text("import sys; sys.exit(3)")
    ended = command("--app", "mine", "--app", spec, "list")
    assert ended.returncode == 1
    assert "mine.one" in ended.stdout
    (line,) = ended.stderr.splitlines()
    assert complaint in line
    refused = command("--app", "mine", "--app", spec, "run", "mine.one", "1")
    assert (refused.returncode, refused.stdout) == (2, "")


def test_what_an_app_prints_when_imported_is_no_output(command: Command, tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text("print('noise')\n" + ONE)
    ended = command("--app", "noisy", "run", "mine.one", "1", "--out", "-")
    assert ended.stdout == "key,one\n1,1\n"
    assert "noise\n" in ended.stderr


def test_settings_that_cannot_be_read_are_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "fetchline.toml").write_text("apps = [")
    assert command("list").returncode == 2
    (tmp_path / "fetchline.toml").write_text("apps = 3")
    ended = command("list")
    assert (ended.returncode, ended.stderr) == (
        2,
        "fetchline: apps must be a list of modules and files, not 3\n",
    )
    (tmp_path / "fetchline.toml").write_text("colour = 3")
    assert "fetchline has no setting 'colour'" in command("list").stderr
