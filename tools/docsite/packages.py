"""Draw which package imports which: ``python -m tools.docsite.packages``, into ``docs/diagrams/packages.svg``.

The order is that of the import contract in ``pyproject.toml``: every square is right of the diagonal, because a package
imports only packages below it. A test draws the picture again and compares.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.docsite import svg

__all__ = ["imports", "order", "picture"]

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src" / "layer2"
FILE: Final = ROOT / "docs" / "diagrams" / "packages.svg"

_CELL, _LEFT, _TOP, _MARGIN = 26, 150, 130, 16


def order() -> list[str]:
    """The packages from the top to the bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rows = next(one for one in contracts if one["containers"] == ["layer2"])["layers"]
    return [name.strip() for row in rows for name in row.split("|")]


def imports(package: str) -> set[str]:
    """The other packages that a package imports when it is loaded."""
    path = SOURCE / package
    files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    found = {name for file in files for name in _imported(file)}
    return found - {package}


def picture() -> str:
    """The matrix as SVG."""
    names = order()
    side = _CELL * len(names)
    return svg.document(_LEFT + side + _MARGIN, _TOP + side + _MARGIN, "Imports between the packages", _shapes(names))


def _imported(file: Path) -> Iterator[str]:
    for node in _walked(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("layer2."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "layer2":
            yield from (alias.name for alias in node.names if (SOURCE / alias.name).is_dir())


def _walked(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, but nothing below ``if TYPE_CHECKING``."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from _walked(child)


def _shapes(names: list[str]) -> Iterator[str]:
    side = _CELL * len(names)
    for place, name in enumerate(names):
        middle = _CELL * (place + 0.5)
        yield svg.text(_LEFT - 8, _TOP + middle + 4, name, "small", "end")
        x = _LEFT + middle + 4
        yield f'<g transform="rotate(-60 {x} {_TOP - 8})">{svg.text(x, _TOP - 8, name, "small", "start")}</g>'
        yield svg.line(_LEFT, _TOP + _CELL * place, _LEFT + side, _TOP + _CELL * place, "life")
        yield svg.line(_LEFT + _CELL * place, _TOP, _LEFT + _CELL * place, _TOP + side, "life")
        yield svg.rectangle(_LEFT + _CELL * place + 3, _TOP + _CELL * place + 3, _CELL - 6, _CELL - 6, "note")
    for row, name in enumerate(names):
        for other in sorted(imports(name)):
            column = names.index(other)
            yield svg.rectangle(_LEFT + _CELL * column + 6, _TOP + _CELL * row + 6, _CELL - 12, _CELL - 12, "box")


def main() -> int:
    """Write the picture."""
    FILE.write_text(picture())
    return 0


if __name__ == "__main__":
    sys.exit(main())
