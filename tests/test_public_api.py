"""The public names and signatures are frozen in a file, and the examples use nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools import public_api

ROOT = Path(__file__).parents[1]
FROZEN = Path(__file__).parent / "public_api.txt"

PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if "design" not in page.parts)]


def test_the_public_names_and_signatures_are_the_frozen_ones() -> None:
    now = list(public_api.lines())
    frozen = FROZEN.read_text().splitlines()
    assert now == frozen, "if the change is intended: python tools/public_api.py > tests/public_api.txt"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_import_public_modules_only(page: Path) -> None:
    internal = {name for program in _programs(page) for name in _imported(program) if name not in public_api.PUBLIC}
    assert not internal


def _programs(page: Path) -> Iterator[str]:
    yield from re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def _imported(program: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "layer2":
            assert node.module is not None
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "layer2")
