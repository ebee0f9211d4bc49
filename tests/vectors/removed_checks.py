"""Removes each check of the verifier in turn, and finds a vector whose answer is then another one.

A check is a ``raise`` in a function that the vectors reach. ``python -m vectors.removed_checks`` prints, for each, the
first vector that finds its absence. Nothing of the package is imported in the process that forks: each child imports
it with one check removed.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from vectors.all import all_vectors

__all__ = ["Check", "caught_by", "checks"]

SOURCES = Path(__file__).parents[2] / "src"
PACKAGES = ("proofs", "legs", "formats", "contracts", "terms", "model")


@dataclass(frozen=True, slots=True)
class Check:
    """A ``raise`` in the source."""

    module: str
    function: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.module.removeprefix('layer2.')}:{self.line} {self.function}: {self.text}"


def checks() -> list[Check]:
    """The checks in functions that the vectors reach."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        reached = pool.apply(_reached)
    found = []
    for package in PACKAGES:
        for file in sorted((SOURCES / "layer2" / package).glob("*.py")):
            module = ".".join(file.relative_to(SOURCES).with_suffix("").parts)
            found += [each for each in _raises(module, file) if (str(file), each.function) in reached]
    return found


def caught_by(check: Check | None) -> str | None:
    """The first vector with another answer when the check is removed; None if there is none. Call it in a child."""
    if check is not None:
        sys.meta_path.insert(0, _Without(check))
    from vectors.answers import answer

    for vector in all_vectors():
        try:
            given = answer(vector)
        except Exception as error:  # noqa: BLE001 - any other error is another answer
            given = ("error", type(error).__name__)
        if given != (vector.verdict, vector.result):
            return vector.name
    return None


def _raises(module: str, file: Path) -> Iterator[Check]:
    for function in ast.walk(ast.parse(file.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in _own_nodes(function):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    yield Check(module, function.name, node.lineno, ast.unparse(node.exc)[:90])


def _own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of the functions inside it."""
    inside: list[ast.AST] = list(function.body)
    while inside:
        node = inside.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            inside += ast.iter_child_nodes(node)


def _reached() -> set[tuple[str, str]]:
    """File and name of each function that the vectors reach."""
    seen: set[CodeType] = set()

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        seen.add(frame.f_code)

    sys.setprofile(lambda frame, event, argument: trace(frame, event, argument) if event == "call" else None)
    try:
        caught_by(None)
    finally:
        sys.setprofile(None)
    return {(code.co_filename, code.co_name) for code in seen}


class _Without(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module without one check."""

    def __init__(self, check: Check) -> None:
        self._check = check

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._check.module else None

    def exec_module(self, module: ModuleType) -> None:
        file = SOURCES / Path(*self._check.module.split(".")).with_suffix(".py")
        tree = _Removal(self._check.line).visit(ast.parse(file.read_text()))
        exec(compile(ast.fix_missing_locations(tree), str(file), "exec"), module.__dict__)


class _Removal(ast.NodeTransformer):
    def __init__(self, line: int) -> None:
        self._line = line

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.copy_location(ast.Pass(), node) if node.lineno == self._line else node


def main() -> int:
    """Print the table; the status is 1 if a check can be removed unnoticed."""
    every = all_vectors()
    assert "layer2" not in sys.modules, "the package must not be imported here"
    wanted, missed = checks(), 0
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        for check, name in zip(wanted, pool.imap(caught_by, wanted, chunksize=1), strict=True):
            missed += name is None
            print(f"{name or 'NOT CAUGHT':<60} {check}", flush=True)
    print(f"{len(wanted)} checks, {missed} of them not caught by any of {len(every)} vectors")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
