"""Run the code of one page: ``python -W error tests/docs/page.py docs/tutorial.md``.

What a page promises is held by its fenced blocks:

- ``python`` runs, all blocks of a page in one namespace, from the top down; ``await`` may stand at the top level,
  as in a notebook. A block that begins with ``# name.py`` is a file instead: it is written to the working
  directory, which can be imported from.
- ``text`` right after a ``python`` block is what that block prints, compared literally; durations such as
  ``0.31 s`` match any other, and the working directory is ``/home/me``.
- ``toml`` that begins with ``# pyproject.toml`` installs a distribution with the entry points it declares;
  one that begins with ``# fetchline.toml`` is a file.
- ``<!-- needs: name -->`` on the line before a block: it is left out where that module is not installed.
- ``console`` blocks are run where a line begins with ``$ fetchline`` or ``$ pytest``; what follows it is compared as
  ``text`` is, and a command that shows nothing must succeed.

The page runs as ``__main__`` and in the working directory; end with exit code 1 where it breaks a promise.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import difflib
import importlib.util
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "blocks", "main"]

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w/]+\.py)\n")
_NEEDS = re.compile(r"<!-- needs: (\w+) -->\s*\Z")
PROGRAMS = {
    "fetchline": ("-c", "from fetchline.cli import main; main()"),
    "pytest": ("-W", "error", "-m", "pytest", "-c", os.devnull, "--rootdir=."),
}
_DURATION = re.compile(r"\b\d+(\.\d+)? s\b")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is where its first line stands, ``follows`` the kind of block right before it."""

    kind: str
    text: str
    line: int
    follows: str = ""
    needs: str = ""


def blocks(page: Path) -> list[Block]:
    """Find the fenced blocks of a page."""
    source = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(source):
        between = source[end : match.start()]
        follows = found[-1].kind if found and not between.strip() else ""
        text = match[3].replace("\n" + match[1], "\n").removeprefix(match[1])
        needs = _NEEDS.search(between)
        line = source.count("\n", 0, match.start(3)) + 1
        found.append(Block(match[2], text, line, follows, needs[1] if needs else ""))
        end = match.end()
    return found


class Page:
    """A page while it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = 0
        self.printed = ""
        self.loop = asyncio.Runner()
        self.main = types.ModuleType("__main__")
        sys.modules["__main__"] = self.main
        sys.path.insert(0, str(Path.cwd()))
        for project in (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))):
            sys.path.append(str(project.parent / "src"))
            install(project.read_text(encoding="utf-8"))

    def run(self) -> int:
        """Run every block; how many promises were broken."""
        for block in blocks(self.path):
            if block.needs and importlib.util.find_spec(block.needs) is None:
                continue
            if block.kind == "python":
                self.python(block)
            elif block.kind == "text" and block.follows == "python":
                self.compare(block, block.text, self.printed)
            elif block.kind == "toml" and block.text.startswith("# pyproject.toml\n"):
                install(block.text)
            elif block.kind == "toml" and block.text.startswith("# fetchline.toml\n"):
                Path("fetchline.toml").write_text(block.text, encoding="utf-8")
            elif block.kind == "console":
                self.console(block)
        self.loop.close()
        return self.broken

    def python(self, block: Block) -> None:
        if match := _FILE.match(block.text):
            Path(match[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(match[1]).write_text(block.text, encoding="utf-8")
            return
        # Blank lines before it, so that tracebacks name the line of the page.
        code = compile(
            "\n" * (block.line - 1) + block.text, self.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        with contextlib.redirect_stdout(io.StringIO()) as out:
            result = eval(code, self.main.__dict__)
            if inspect.iscoroutine(result):
                self.loop.run(awaited(result))
        self.printed = out.getvalue()

    def console(self, block: Block) -> None:
        for command, expected in commands(block.text):
            program, *words = shlex.split(command)
            if program not in PROGRAMS:
                continue
            done = subprocess.run(
                [sys.executable, *PROGRAMS[program], *words],
                capture_output=True,
                text=True,
                timeout=60,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            if expected.strip():
                self.compare(block, expected, done.stdout + done.stderr)
            elif done.returncode:
                self.broken += 1
                said = done.stdout + done.stderr
                print(f"{self.path}:{block.line}: {command} failed: {said}", file=sys.stderr)

    def compare(self, block: Block, expected: str, got: str) -> None:
        got = got.replace(str(Path.cwd()), "/home/me")
        lines = [
            [_DURATION.sub("* s", line).rstrip() for line in text.strip().splitlines()]
            for text in (expected, got)
        ]
        if lines[0] != lines[1]:
            self.broken += 1
            print(f"{self.path}:{block.line}: prints something else", file=sys.stderr)
            for line in difflib.unified_diff(*lines, "page", "run", lineterm=""):
                print(f"    {line}", file=sys.stderr)


async def awaited(block: types.CoroutineType[object, object, object]) -> None:
    await block


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Take a console block apart: each command, and what follows it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.replace("\\\n", "").partition("\n")
        yield command, expected


def install(pyproject: str) -> None:
    """Have the entry points of a project found as if it were installed."""
    project = tomllib.loads(pyproject)["project"]
    name, version = project["name"], project["version"]
    folder = Path(f"{name.replace('-', '_')}-{version}.dist-info")
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = project.get("entry-points", {}).items()
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in points.items()) for group, points in groups]
    (folder / "entry_points.txt").write_text("\n".join(lines))


def main(argv: list[str]) -> int:
    return 1 if Page(Path(argv[0]).resolve()).run() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
