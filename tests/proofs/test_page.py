"""The page that checks proofs: its build gives the committed bytes, and it does its work in Chromium."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from cli.running import layer2_here

pytestmark = [pytest.mark.javascript, pytest.mark.xdist_group("javascript"), pytest.mark.timeout(500)]

ROOT: Final = Path(__file__).parents[2]
VERIFIER: Final = ROOT / "verifier-js"
BUNDLED: Final = ("@noble/curves", "@noble/hashes")


def run(*command: str, directory: Path) -> str:
    finished = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=400, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def page() -> Path:
    """The built page. ``make page`` fails if it has another hash than the committed one."""
    # The processes of a parallel run wait for one of them.
    with (VERIFIER / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("make", "--silent", "page", directory=ROOT)
    return ROOT / "src" / "layer2" / "proofs" / "page" / "check-proofs.html"


def test_a_second_build_in_another_directory_gives_the_same_bytes(page: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a longer name" / "verifier"
    for folder in ("src", "page", "node_modules/esbuild", "node_modules/@esbuild", "node_modules/@noble"):
        shutil.copytree(VERIFIER / folder, copy / folder)
    for file in ("package.json", "LICENSE", "tsconfig.json"):
        shutil.copy(VERIFIER / file, copy)
    run("node", "page/build.mjs", directory=copy)
    assert (copy / "dist" / "page" / page.name).read_bytes() == page.read_bytes()


def test_a_page_with_another_hash_stops_the_build_of_the_wheel(page: Path, tmp_path: Path) -> None:
    other = tmp_path / page.name
    (tmp_path / f"{page.name}.sha256").write_text(f"{'0' * 64}  {page.name}\n")
    finished = subprocess.run(
        ["make", "--silent", "page", f"PAGE={other}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode != 0
    assert "make page-hash" in finished.stderr
    rules = run("make", "--dry-run", "wheel", directory=ROOT)
    assert rules.index("sha256sum --check") < rules.index("-m build --wheel")


def test_the_page_contains_no_address_no_path_and_no_date(page: Path) -> None:
    text = page.read_text("utf-8")
    without_licences = re.sub(r'<p class="licence">.*?</p>', "", text, flags=re.DOTALL)
    assert re.findall(r"(?:https?|wss?|file):/", without_licences) == []
    assert str(ROOT) not in text
    assert "sourceMappingURL" not in text
    assert re.findall(r"\b20[0-9]{2}-[01][0-9]-[0-3][0-9]\b", text) == []


def test_the_page_contains_the_licence_of_each_package_in_it(page: Path) -> None:
    text = page.read_text("utf-8")
    for name in BUNDLED:
        licence = (VERIFIER / "node_modules" / name / "LICENSE").read_text("utf-8").strip()
        assert f"<h3>{name} " in text
        assert licence in text
    assert text.count('<p class="licence">') == 1 + len(BUNDLED)


def test_the_command_writes_this_page(page: Path, tmp_path: Path) -> None:
    ran = layer2_here("proof", "page", "--output", "copy.html", "--no-open", "--json", cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert (tmp_path / "copy.html").read_bytes() == page.read_bytes()
    assert ran.envelope["data"]["sha256"] == hashlib.sha256(page.read_bytes()).hexdigest()


@pytest.mark.browser
def test_the_page_passes_its_tests_in_chromium(page: Path) -> None:
    output = run("npm", "run", "--silent", "test:page", directory=VERIFIER)
    assert int(re.findall(r"^# pass (\d+)$", output, re.MULTILINE)[0]) >= 37
    assert re.findall(r"^# (?:fail|skipped|cancelled|todo) ([1-9]\d*)$", output, re.MULTILINE) == []
