"""The user's own modules and files, whose import registers fetchers."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fetchline.cli.common import Common, Problem

if TYPE_CHECKING:
    from fetchline.fetchers import Fetcher

__all__ = ["find_fetcher", "load_apps", "try_apps"]


def find_fetcher(ctx: click.Context, name: str) -> Fetcher[Any, Any, Any]:
    """Import the apps and look a fetcher up; an installed plugin is imported if the name lies in its namespace."""
    from fetchline.registry import default

    load_apps(ctx)
    return default[name]


def load_apps(ctx: click.Context) -> None:
    """Import the apps of the settings, then those of ``--app``.

    Raises:
        Problem: one of them does not import.
    """
    for problem in try_apps(ctx):
        raise problem


def try_apps(ctx: click.Context) -> Iterator[Problem]:
    """Import all apps; give what went wrong."""
    here = Path.cwd()
    wanted = [(app, [here, _project_folder(here)]) for app in _of_settings()]
    wanted += [(app, [here]) for app in ctx.ensure_object(Common).apps]
    for app, folders in wanted:
        try:
            # What a module prints when it is imported is no part of the output.
            with contextlib.redirect_stdout(sys.stderr):
                _load(app, folders)
        except Problem as problem:
            yield problem


def _of_settings() -> list[str]:
    from fetchline.config import settings

    try:
        apps = settings().get("apps", [])
    except ValueError as error:
        raise Problem(f"the settings cannot be read: {error}") from error
    if isinstance(apps, str):
        return [apps]
    if not isinstance(apps, list) or not all(isinstance(app, str) for app in apps):
        raise Problem(f"apps must be a list of modules and files, not {apps!r}")
    return apps


def _project_folder(folder: Path) -> Path:
    """The folder of the file that holds the settings."""
    for each in (folder, *folder.parents):
        if (each / "fetchline.toml").is_file() or (each / "pyproject.toml").is_file():
            return each
    return folder


def _load(app: str, folders: list[Path]) -> None:
    path: Path | None = None
    name = app
    if app.endswith(".py") or "/" in app:
        path = next((folder / app for folder in folders if (folder / app).is_file()), None)
        if path is None:
            raise Problem(f"there is no file {app}; --app takes a module or a file of Python code")
        path = path.resolve()
        name, folder = _module_of(path)
        folders = [folder]
    for folder in reversed(folders):
        if str(folder) not in sys.path:
            # Worker processes get this path too, and import the module by its name.
            sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _broken(app, error) from error
        looked = " and ".join(map(str, dict.fromkeys(folders)))
        raise Problem(f"there is no module {name!r}, neither installed nor in {looked}") from error
    except (Exception, SystemExit) as error:  # a script without a main guard may do anything
        raise _broken(app, error) from error
    found = getattr(module, "__file__", None)
    if path is not None and (found is None or Path(found).resolve() != path):
        raise Problem(f"{app} cannot be imported: another module is named {name!r} already; rename the file")


def _module_of(path: Path) -> tuple[str, Path]:
    """The dotted name of a file, and the folder it is imported from: the one above its outermost package."""
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.append(folder.name)
        folder = folder.parent
    return ".".join(reversed(parts)), folder


def _broken(app: str, error: BaseException) -> Problem:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "importlib" not in f.filename and f.filename != __file__]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return Problem(f"the app {app!r} does not import: {type(error).__name__}: {error}{where}")
