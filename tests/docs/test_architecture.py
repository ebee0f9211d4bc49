"""The page on the architecture is true: its picture, its table of packages, and the files that it names."""

from __future__ import annotations

import re

from tools.docsite import packages

PAGE = (packages.ROOT / "docs" / "architecture.md").read_text()


def test_the_picture_of_the_packages_is_drawn_from_the_imports() -> None:
    assert packages.FILE.read_text() == packages.picture(), "python -m tools.docsite.packages"


def test_no_package_imports_one_above_it() -> None:
    names = packages.order()
    upward = {
        (name, other) for name in names for other in packages.imports(name) if names.index(other) < names.index(name)
    }
    assert upward == set()


def test_the_table_lists_every_package() -> None:
    rows = re.search(r"\| package \| content \|\n\|---\|---\|\n(.*?)\n\n", PAGE, re.DOTALL)
    assert rows is not None
    listed = [name for row in rows[1].splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(listed) == sorted(packages.order())


def test_the_files_of_the_tasks_exist() -> None:
    tasks = PAGE.split("## Where to change what")[1].split("\n## ")[0]
    rows = tasks.strip().splitlines()[2:]
    assert len(rows) == 23
    for name in re.findall(r"`([\w/]+(?:\.py)?)`", "\n".join(row.split("|")[2] for row in rows)):
        found = list(packages.SOURCE.glob(name.replace("NAME", "*")))
        assert found, name
