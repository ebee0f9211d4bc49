"""Build the documentation: ``python -m tools.docsite.build``, which is ``make docs``.

Sphinx builds ``docs/`` into ``dist/docs`` with warnings as errors. Then every page is checked: links and anchors lead
somewhere, and nothing is loaded from another host. ``llms.txt`` lists the pages for language models, and
``dist/docs.tar.gz`` holds the whole site.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Final

from tools.docsite.llms import llms_text, source_text
from tools.docsite.site_check import problems
from tools.public_api import lines as public_names

ROOT: Final = Path(__file__).parents[2]
_SITE: Final = ROOT / "dist" / "docs"
_ARCHIVE: Final = ROOT / "dist" / "docs.tar.gz"
_TREES: Final = ROOT / "build" / "docs-trees"


def build(site: Path, trees: Path) -> list[str]:
    """Build the site.

    Returns:
        what is wrong with it, one line each; empty if it is complete.
    """
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "--builder", "html", "--fail-on-warning", "--quiet", "--jobs", "2", "-E"]
    command += ["--doctree-dir", str(trees), str(ROOT / "docs"), str(site)]
    finished = subprocess.run(command, cwd=ROOT)  # noqa: S603  # the arguments are this program's own
    if finished.returncode != 0:
        return [f"sphinx ended with status {finished.returncode}"]
    _add_plain_text(site)
    linked = re.findall(r"\]\((\S+)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    return [f"llms.txt: {page} does not exist" for page in linked if not (site / page).is_file()] + problems(site)


def _add_plain_text(site: Path) -> None:
    """Add ``llms.txt`` and what it links to, if Sphinx has not copied it: included files, and the public names."""
    docs, sources = ROOT / "docs", site / "_sources"
    (site / "llms.txt").write_text(llms_text(docs), encoding="utf-8")
    for page in ("changelog", "contributing", "security"):
        (sources / f"{page}.md.txt").write_text(source_text(docs, page), encoding="utf-8")
    (sources / "api" / "names.txt").write_text("\n".join(public_names()) + "\n", encoding="utf-8")


def pack(site: Path, archive: Path) -> None:
    """Pack the site. The same files give the same bytes."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(site.rglob("*")):
            if path.name != ".buildinfo":
                tar.add(path, Path("docs") / path.relative_to(site), recursive=False, filter=plain)


def main() -> int:
    """Build, check and pack; 1 if anything is wrong."""
    began = time.monotonic()
    found = build(_SITE, _TREES)
    for problem in found:
        print(f"docs: {problem}", file=sys.stderr)
    if found:
        return 1
    pack(_SITE, _ARCHIVE)
    pages = len(list(_SITE.rglob("*.html")))
    seconds = time.monotonic() - began
    print(f"{pages} pages in {seconds:.0f} s: {_SITE.relative_to(ROOT)}/index.html, {_ARCHIVE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
