"""Checks a built site: every link and anchor leads somewhere, and a reader's browser sends no request elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["Page", "problems", "read_page"]

_LOADED: Final = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href", "object": "data"}
"""Attributes of what a browser requests without a click."""
_NOT_LOADED: Final = frozenset({"canonical", "next", "prev", "search", "index", "author"})
"""Relations of ``link`` that a browser does not request."""
_CSS_URL: Final = re.compile(r"""(?:@import\s+|url\()\s*["']?(https?:)?//""")


@dataclass
class Page:
    """What a page links to, loads and defines."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.page.anchors.update(given[name] for name in ("id", "name") if given.get(name))
        if tag == "a" and given.get("href"):
            self.page.links.append(given["href"])
        wanted = _LOADED.get(tag)
        if wanted is not None and given.get(wanted) and given.get("rel", "") not in _NOT_LOADED:
            self.page.loads.append(given[wanted])


def read_page(text: str) -> Page:
    """Read one HTML page."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.page


def problems(site: Path) -> list[str]:
    """Everything that is wrong with the pages and styles of a site, one line each."""
    pages = {path: read_page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found: list[str] = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name}: loads {target}" for target in page.loads if _is_elsewhere(target)]
        targets = [*page.links, *(target for target in page.loads if not _is_elsewhere(target))]
        found += [f"{name}: {problem}" for target in targets if (problem := _problem(pages, path, target))]
    for path in [*sorted(site.rglob("*.css")), *sorted(site.rglob("*.svg"))]:
        if _CSS_URL.search(path.read_text(encoding="utf-8")):
            found.append(f"{path.relative_to(site)}: loads from another host")
    return found


def _is_elsewhere(target: str) -> bool:
    parts = urlsplit(target)
    return parts.scheme in ("http", "https") or bool(parts.netloc)


def _problem(pages: dict[Path, Page], path: Path, target: str) -> str | None:
    """Why a link within the site leads nowhere, or None."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not place.is_file():
        return f"links to {target}, which does not exist"
    anchor = unquote(parts.fragment)
    if anchor and place in pages and anchor not in pages[place].anchors:
        return f"links to {target}, which has no such anchor"
    return None
