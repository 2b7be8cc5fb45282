"""How the documentation is built: ``make docs``. Nothing is fetched, so it builds offline."""

from __future__ import annotations

import sys
from pathlib import Path

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
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "fetchline"
html_show_sphinx = False
