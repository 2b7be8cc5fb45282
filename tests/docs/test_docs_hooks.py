"""Every hook is documented as it is, and tested by name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPECS = ast.parse((ROOT / "src/fetchline/hookspecs.py").read_text(encoding="utf-8"))
HOOKS = {
    node.name: f"def {node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
    for node in SPECS.body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("fetchline_") and node.returns
}


def test_there_are_hooks() -> None:
    assert len(HOOKS) >= 10


@pytest.mark.parametrize("hook", HOOKS)
def test_the_hook_stands_in_the_guide_with_its_exact_signature(hook: str) -> None:
    guide = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    assert HOOKS[hook] in guide.splitlines()


@pytest.mark.parametrize("hook", HOOKS)
def test_the_hook_is_named_in_a_test(hook: str) -> None:
    tests = [path for path in ROOT.glob("tests/**/*.py") if "docs" not in path.parts]
    assert any(hook in path.read_text(encoding="utf-8") for path in tests)


def test_the_guide_knows_no_hook_that_does_not_exist() -> None:
    guide = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    documented = [line for line in guide.splitlines() if line.startswith("def fetchline_") and "->" in line]
    assert sorted(documented) == sorted(HOOKS.values())
