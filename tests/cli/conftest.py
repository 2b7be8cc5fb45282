"""A project with an app, the command as a process, and the command inside this process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_support import environment
from click.testing import CliRunner, Result

APP = '''
"""A shop."""
from __future__ import annotations

import enum
import sys
import threading
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import fetchline as fl

if TYPE_CHECKING:
    import polars as pl


class Side(enum.Enum):
    BUY = "b"
    SELL = "s"


@fl.fetcher("shop.daily", retry=fl.Try(retry=2, sleep=0), timeout=10, pace="10000/s")
def daily(symbol: str, period: fl.Period = fl.Period.Q1(2024), *, adjusted: bool = False) -> pl.DataFrame:
    """Fetch daily prices.

    From the shop.
    """
    import polars as pl

    if symbol.startswith("X"):
        raise ValueError("no such ticker:\\n" + symbol)
    return pl.DataFrame({"day": [period.start, period.end], "adjusted": [adjusted] * 2})


@fl.fetcher("shop.double")
def double(n: int) -> dict:
    return {"twice": 2 * n}


@fl.fetcher("shop.squares", bulk=10)
def squares(numbers: list[int]) -> dict:
    return {n: {"n": n, "square": n * n} for n in numbers}


@fl.fetcher("shop.typed")
def typed(n: int, *, start: date, side: Side = Side.BUY, kind: Literal["adj", "raw"] = "raw",
          limit: int | None = 3, session=None) -> dict:
    return {"said": repr((n, start, side, kind, limit))}


@fl.fetcher("shop.quarter")
async def quarter(period: fl.Period) -> dict:
    return {"days": period.n_days}


@fl.fetcher("shop.text")
def text(name: str) -> bytes:
    return name.encode()


@fl.fetcher("shop.greeting")
def greeting(name: str, odd: str = "") -> str | int:
    return 7 if name == odd else f"hello {name}"


@fl.fetcher("shop.body", decode="csv")
def body(name: str) -> bytes:
    return f"name,n\\n{name},1\\n".encode()


@fl.fetcher("shop.keyed")
def keyed(name: str) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame({"key": [7]})


@fl.fetcher("shop.loud")
def loud(name: str) -> dict:
    print("loud", name)
    return {"name": name}


@fl.fetcher("shop.nested")
def nested(n: int) -> dict:
    return {"all": [[n, n]]}


@fl.fetcher("shop.stuck")
def stuck(n: int) -> dict:
    if n >= 2:
        print("begun", file=sys.stderr, flush=True)
        threading.Event().wait(60)
    return {"n": n}
'''


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app's file; one for all tests, because a process imports a module once."""
    file: Path = tmp_path_factory.mktemp("app") / "cli_shop.py"
    file.write_text(APP)
    return str(file)


@pytest.fixture
def command(tmp_path: Path, app: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The real command, in an empty folder."""

    def run(
        *arguments: Any, stdin: str = "", cwd: Path = tmp_path, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "fetchline.cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=cwd,
            env=environment(**env),
            check=False,
        )

    return run


@pytest.fixture
def invoke(tmp_path: Path, app: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command inside this process, in an empty folder, with the app; faster, and with its output."""
    monkeypatch.chdir(tmp_path)
    for name in ("EXECUTOR", "WORKERS", "CONCURRENCY", "PROGRESS", "ON_ERROR", "APPS", "BLOCK", "PLUGINS"):
        monkeypatch.delenv(f"FETCHLINE_{name}", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: Any, stdin: str | bytes | None = None) -> Result:
        from fetchline.cli.app import cli

        return CliRunner().invoke(cli, ["--app", app, *map(str, arguments)], input=stdin)

    return run


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Path]:
    """Put a distribution, as pip leaves one, into a folder for sys.path."""

    def add(name: str, entry_points: str, version: str = "1.2", **modules: str) -> Path:
        folder = tmp_path / "installed"
        about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: What {name} is for\n"
        )
        (about / "entry_points.txt").write_text(entry_points)
        for module, code in modules.items():
            (folder / f"{module}.py").write_text(code)
        return folder

    return add
