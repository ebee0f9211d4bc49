"""Check the English of docs, docstrings, comments and messages: ``python tools/check_english.py [PATH ...]``.

Each habit below is a phrase that reads translated. The check prints every occurrence and fails if there are more than
``MOST`` per 1,000 words. It does not find every such phrase; a reviewer reads the rest.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
DEFAULT: Final = (
    "src",
    "tests",
    "docs",
    "benchmarks",
    "tools",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)
MOST: Final = 0.3
"""Occurrences per 1,000 words."""
_SHORTEST_MESSAGE: Final = 4
"""In words. A shorter string constant counts as a name or a key."""

HABITS: Final = {
    "for (or of, to, from) who": r"\b(?:for|by|to|of|from|than) who(?:ever)?\b",
    "told": r"\b(?:is|are|was|were|be) told\b|\btells? of\b|\btold (?:in|by|of|so)\b",
    "says so": r"\b(?:says?|said) (?:so|by when|what|why|which|it|in|by|as)\b",
    "words of": r"\bwords? of\b|\b(?:its|their|node's|provider's|lnd's) words?\b",
    "is no": r"(?<!here )\b(?:is|are) no (?!longer\b|more\b|less\b)",
    "promises": r"\bpromise[sd]?\b",
    "most that may": r"\b[Mm]ost that (?:may|can|it|is)\b|\b[Ll]east that\b|\bfewest\b",
    "the own": r"\b(?:the|an) own\b",
    "anew": r"\banew\b",
    "goes on": r"\b(?:go|goes|going|went|gone) on\b",
    "comes back": r"\b(?:come|comes|came|coming) back\b",
    "any more": r"\bfor ever\b|\bnot? [\w ]{0,20}any more\b",
    "what becomes of": r"\bwhat (?:becomes|became|has become) of\b",
    "mends": r"\bmend(?:s|ed|ing)?\b",
    "stands in": r"\b(?:stands|stood) (?:in|beside|for|under|on|by)\b",
    "besides": r"\bbesides\b",
    "nobody else": r"\b(?:somebody|nobody|anybody|everybody)\b",
    "whatever": r"\bwhatever (?:is|was|happens|the|it)\b",
    "house, room, floor": r"\b(?:the|a|this) (?:house|floor)\b|\brooms? (?:below|above|of)\b",
}
_COMPILED: Final = {name: re.compile(pattern) for name, pattern in HABITS.items()}
_CODE: Final = re.compile(r"``[^`]*``|`[^`]*`")


class Text(NamedTuple):
    """A piece of English with its location."""

    path: Path
    line: int
    text: str


def main() -> int:
    """Print the occurrences; return 1 if there are too many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", default=DEFAULT)
    words = found = 0
    for path in files(parser.parse_args().paths):
        for piece in texts(path):
            plain = _CODE.sub("x", piece.text)
            words += len(plain.split())
            for name in habits_in(plain):
                found += 1
                print(f"{piece.path.relative_to(ROOT)}:{piece.line}: {name}: {' '.join(plain.split())[:100]}")
    rate = 1000 * found / max(words, 1)
    print(f"{words:,} words, {found} places, {rate:.2f} per 1,000 words (at most {MOST})")
    return int(rate > MOST)


def habits_in(text: str) -> Iterator[str]:
    """The habits in a text, once for each occurrence."""
    for name, pattern in _COMPILED.items():
        yield from (name for _ in pattern.finditer(text))


def files(paths: list[str]) -> Iterator[Path]:
    """Every Python and Markdown file under the paths, installed packages excepted."""
    for name in paths:
        path = (ROOT / name).resolve()
        if path.is_dir():
            found = (one for one in path.rglob("*") if one.suffix in (".py", ".md"))
            yield from sorted(one for one in found if "node_modules" not in one.parts)
        elif path.exists():
            yield path


def texts(path: Path) -> Iterator[Text]:
    """The English of a file."""
    source = path.read_text()
    if path.suffix == ".md":
        yield from _markdown(path, source)
    elif path != Path(__file__).resolve():
        yield from _constants(path, source)
        yield from _comments(path, source)


def _markdown(path: Path, source: str) -> Iterator[Text]:
    is_code = False
    for number, line in enumerate(source.splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield Text(path, number, line)


def _constants(path: Path, source: str) -> Iterator[Text]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_message(node.value):
            yield Text(path, node.lineno, node.value)


def _comments(path: Path, source: str) -> Iterator[Text]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(path, token.start[0], token.string)


def _is_message(text: str) -> bool:
    return len(text.split()) >= _SHORTEST_MESSAGE


if __name__ == "__main__":
    sys.exit(main())
