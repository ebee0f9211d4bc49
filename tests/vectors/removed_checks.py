"""Removes each check of the verifier in turn, and finds a vector whose answer is then another one.

A check is a ``raise`` in a function that the vectors reach, or a ``return False`` of a signature's check, which then
returns True. ``python -m vectors.removed_checks`` prints, for each, a vector that finds its absence, and fails if one
is neither found nor explained in ``not_reached``. With ``--write`` it also renews the table of these vectors, with
which the next run needs a fraction of the time. Nothing of the package is imported in the process that forks: each
child imports it without one check.
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
from vectors.not_reached import NOT_REACHED
from vectors.vector import Vector

__all__ = ["TABLE", "Check", "caught_by", "checks", "main"]

SOURCES = Path(__file__).parents[2] / "src"
PACKAGES = ("proofs", "legs", "formats", "contracts", "terms", "model")
TABLE = Path(__file__).with_name("removed_checks.txt")
"""For each check, the vector that found its absence in the last full run."""
_ANSWERS = ("layer2.formats.tagged_signature", "layer2.terms.signing")
"""Modules in which a check answers False."""


@dataclass(frozen=True, slots=True)
class Check:
    """A place in the source that refuses something."""

    module: str
    function: str
    line: int
    text: str
    number: int
    """Among those with the same text in the function, from 0."""

    def __str__(self) -> str:
        again = f" ({self.number + 1})" if self.number else ""
        return f"{self.module.removeprefix('layer2.')} {self.function}: {self.text}{again}"


def checks() -> list[Check]:
    """The checks in functions that the vectors reach. No vector may have another answer while none is removed."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        wrong, reached = pool.apply(_reached)
    assert wrong is None, f"with every check in place, the answer to {wrong} is another one"
    found = []
    for package in PACKAGES:
        for file in sorted((SOURCES / "layer2" / package).glob("*.py")):
            module = ".".join(file.relative_to(SOURCES).with_suffix("").parts)
            found += [each for each in _checks_of(module, file) if (str(file), each.function) in reached]
    return found


def caught_by(check: Check | None, first: str | None = None) -> str | None:
    """A vector with another answer when the check is removed; None if there is none. Call it in a child.

    Args:
        first: the name of the vector to try first.
    """
    if check is not None:
        sys.meta_path.insert(0, _Without(check))
    from vectors.answers import answer

    def is_other(vector: Vector) -> bool:
        try:
            given = answer(vector)
        except Exception:  # noqa: BLE001 - any other error is another answer
            return True
        return given != (vector.verdict, vector.result)

    every = sorted(all_vectors(), key=lambda vector: vector.name != first)
    return next((vector.name for vector in every if is_other(vector)), None)


def _checks_of(module: str, file: Path) -> Iterator[Check]:
    for function in ast.walk(ast.parse(file.read_text())):
        if isinstance(function, ast.FunctionDef):
            texts: list[str] = []
            for node in _own_nodes(function):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    text = ast.unparse(node.exc)[:68].strip()
                elif module in _ANSWERS and isinstance(node, ast.Return) and ast.unparse(node) == "return False":
                    text = "return False"
                else:
                    continue
                yield Check(module, function.name, node.lineno, text, texts.count(text))
                texts.append(text)


def _own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of the functions inside it."""
    inside: list[ast.AST] = list(function.body)
    while inside:
        node = inside.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            inside += ast.iter_child_nodes(node)


def _reached() -> tuple[str | None, set[tuple[str, str]]]:
    """The first vector with a wrong answer, and file and name of each function that the vectors reach."""
    seen: set[CodeType] = set()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            seen.add(frame.f_code)

    sys.setprofile(profile)
    try:
        wrong = caught_by(None)
    finally:
        sys.setprofile(None)
    return wrong, {(code.co_filename, code.co_name) for code in seen}


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

    def visit_Return(self, node: ast.Return) -> ast.AST:
        return ast.copy_location(ast.Return(ast.Constant(True)), node) if node.lineno == self._line else node


def _caught_by(task: tuple[Check, str | None]) -> str | None:
    return caught_by(*task)


def _known() -> dict[str, str]:
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    return {check: name for name, check in (line.split(maxsplit=1) for line in lines)}


def main(arguments: Sequence[str]) -> int:
    """Print the table. The status is 1 if a check can be removed unnoticed, or a reason is of no such check."""
    every = all_vectors()
    assert "layer2" not in sys.modules, "the package must not be imported here"
    known, found, missed = _known(), {}, 0
    wanted = checks()
    tasks = [(check, known.get(str(check))) for check in wanted if str(check) not in NOT_REACHED]
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        for (check, _), name in zip(tasks, pool.imap(_caught_by, tasks, chunksize=1), strict=True):
            missed += name is None
            print(f"{name or 'NOT CAUGHT':<60} {check}", flush=True)
            if name is not None:
                found[str(check)] = name
    stale = NOT_REACHED.keys() - {str(check) for check in wanted}
    for text in sorted(NOT_REACHED.keys() - stale):
        print(f"no file reaches it: {text}\n    {NOT_REACHED[text]}")
    for text in sorted(stale):
        print(f"there is no such check: {text}")
    if "--write" in arguments:
        TABLE.write_text("".join(f"{name} {check}\n" for check, name in found.items()))
    print(
        f"{len(wanted)} checks: {len(found)} found by {len(every)} vectors, "
        f"{len(NOT_REACHED) - len(stale)} that no file reaches, {missed} not found"
    )
    return 1 if missed or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
