"""``llms.txt``: a list of the site's pages, with a sentence about each, for language models (llmstxt.org)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["llms_text", "source_text"]

_TOCTREE: Final = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CAPTION: Final = re.compile(r"^:caption: (.+)$", re.MULTILINE)
_TITLE: Final = re.compile(r"^# (.+)$", re.MULTILINE)
_INCLUDED: Final = re.compile(r"^<!-- included: (\w+\.md) -->$", re.MULTILINE)
_FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[([^]]*)\]\([^)]*\)")


def llms_text(docs: Path) -> str:
    """The file's text. Pages come in the order of the index, under its captions; each links to its Markdown."""
    index = (docs / "index.md").read_text(encoding="utf-8")
    lines = [f"# {_title(index)}", "", f"> {_summary(index)}"]
    for match in _TOCTREE.finditer(index):
        caption = _CAPTION.search(match[1])
        lines += ["", f"## {caption[1] if caption else 'Pages'}", ""]
        lines += [_entry(docs, page) for page in _pages(docs, match[1])]
        if caption and caption[1] == "Reference":
            lines.append(
                "- [Public names](_sources/api/names.txt): Every public name of the package, with its signature."
            )
    return "\n".join(lines) + "\n"


def _pages(docs: Path, toctree: str) -> list[str]:
    """The pages of a toctree; a pattern adds those that are not listed before it, as in Sphinx."""
    pages: list[str] = []
    for line in toctree.splitlines():
        entry = line.strip()
        if "*" in entry:
            found = sorted(str(path.relative_to(docs).with_suffix("")) for path in docs.glob(f"{entry}.md"))
            pages += [page for page in found if page not in pages]
        elif entry and not entry.startswith(":"):
            pages.append(entry)
    return pages


def _entry(docs: Path, page: str) -> str:
    text = source_text(docs, page)
    summary = _summary(text)
    return f"- [{_title(text)}](_sources/{page}.md.txt)" + (f": {summary}" if summary else "")


def source_text(docs: Path, page: str) -> str:
    """A page's Markdown; of a page that includes a file of the repository's root, that file."""
    text = (docs / f"{page}.md").read_text(encoding="utf-8")
    included = _INCLUDED.search(text)
    return text if included is None else (docs.parent / included[1]).read_text(encoding="utf-8")


def _title(text: str) -> str:
    match = _TITLE.search(text)
    return match[1].replace("`", "") if match else ""


def _summary(text: str) -> str:
    """The first sentence of the first paragraph, without markup."""
    for paragraph in _FENCED.sub("", text).split("\n\n"):
        plain = paragraph.strip()
        if " " in plain and plain[0] not in "#<|-:(!":
            joined = _LINK.sub(r"\1", " ".join(plain.split())).replace("**", "").replace("`", "")
            return re.split(r"(?<=[.?]) ", joined, maxsplit=1)[0].rstrip(":")
    return ""
