"""The reference has every public name, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import fetchline
import fetchline.testing

ROOT = Path(__file__).parents[2]
NAMED = re.findall(
    r"^\.\. [\w:]+:: fetchline\.(\w+)(?:\(.*\))?$", (ROOT / "docs/reference.md").read_text(), re.MULTILINE
)


def test_every_public_name_stands_in_the_reference_once() -> None:
    assert sorted(NAMED) == sorted(fetchline.__all__)


def test_every_name_for_tests_stands_in_the_reference_once() -> None:
    named = re.findall(
        r":: fetchline\.testing\.(\w+)(?:\(.*\))?$", (ROOT / "docs/reference.md").read_text(), re.MULTILINE
    )
    assert sorted(named) == sorted(fetchline.testing.__all__)


def test_every_page_stands_in_the_table_of_contents() -> None:
    index = (ROOT / "docs/index.md").read_text()
    pages = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in ROOT.glob("docs/**/*.md")}
    pages = {page for page in pages if not page.startswith(("_build/", "bench/", "index"))}
    listed = {
        line for block in re.findall(r"```{toctree}(.*?)```", index, re.DOTALL) for line in block.split()
    }
    assert pages <= listed


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).is_file()] == []
