"""Settings of the documentation's build: ``make docs``."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from layer2 import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from public_api import PUBLIC  # the list of public modules has one place

project = "layer2"
author = "the layer2 developers"
copyright = "the layer2 developers, MIT licence"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = ["toc.empty_glob"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
# Methods are found by search: in every page's menu they would take a third of the build's time.
toc_object_entries = False
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"layer2 {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = True
html_show_sphinx = False
html_theme_options = {"source_edit_link": "", "top_of_page_buttons": []}

_PUBLIC = re.compile(r"^<!-- public names: ([\w.]+) -->$", re.MULTILINE)
_INCLUDED = re.compile(r"^<!-- included: (\w+\.md) -->$", re.MULTILINE)
_ROOT = Path(__file__).parents[1]


def _directives(module_name: str) -> Iterator[str]:
    """The reference of one public module. A name that an earlier module exports too is described there alone."""
    described: dict[int, str] = {}
    elsewhere: list[str] = []
    for name in PUBLIC:
        module = importlib.import_module(name)
        for exported in module.__all__:
            value = getattr(module, exported)
            first = described.setdefault(id(value), name)
            if name != module_name:
                continue
            if first != name:
                elsewhere.append(f"- `{exported}`: [`{first}`]({first.replace('.', '-')}.md#{exported.lower()})")
                continue
            kind = "class" if isinstance(value, type) else "function" if callable(value) else "data"
            yield f"\n## {exported}\n"
            yield "```{eval-rst}"
            yield f".. auto{kind}:: {module_name}.{exported}"
            # A mock has the methods of the class that it replaces.
            is_flat = module_name == "layer2.testing" or not isinstance(value, type)
            if not is_flat and not issubclass(value, BaseException | Enum | int | str):
                yield "   :inherited-members: object, BaseModel, BaseSettings, Generic, Protocol"
            yield "```"
    if elsewhere:
        yield "\n## Described elsewhere\n"
        yield from elsewhere


def _included(name: str) -> str:
    """A page of the repository's root, with its links as they are from here."""
    text = (_ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    return re.sub(r"\]\(([A-Z]+)\.md", lambda match: f"]({match[1].lower()}.md", text)


def _fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = _PUBLIC.sub(lambda match: "\n".join(_directives(match[1])), source[0])
    source[0] = _INCLUDED.sub(lambda match: _included(match[1]), source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _fill_in)
