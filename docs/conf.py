"""How the documentation is built: ``make docs``. Nothing is fetched, so it builds offline."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import fetchline

project = "fetchline"
author = "the fetchline authors"
copyright = author
release = version = fetchline.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "bench"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Signatures as they are written in the source; `...` for defaults that have no short text.
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_use_ivar = True  # attributes of records are described once, in their class
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_display_short_literal_types = True

html_theme = "furo"
html_title = "fetchline"
html_show_sphinx = False


def one_attribute_a_line(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes ``total, done: how many`` for a type and a name: give each attribute an entry."""
    out: list[str] = []
    entry: list[str] = []
    inside = False

    def end_entry() -> None:
        head = re.match(r"( +)(\w+(?:, \w+)+): (.*)", entry[0]) if entry else None
        for attribute in head[2].split(", ") if head else ():
            out.extend([f"{head[1]}{attribute}: {head[3]}", *entry[1:]])
        if not head:
            out.extend(entry)
        entry.clear()

    for line in lines:
        if not line.startswith("     "):
            end_entry()
        if line and not line.startswith(" "):
            inside = line == "Attributes:"
        if inside and line.startswith("    "):
            entry.append(line)
        else:
            out.append(line)
    end_entry()
    lines[:] = out


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", one_attribute_a_line, priority=400)  # before napoleon
