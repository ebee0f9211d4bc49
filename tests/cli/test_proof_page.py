"""``layer2 proof page``: it opens the page of this version, and no other file."""

from __future__ import annotations

import hashlib
import webbrowser
from pathlib import Path

import pytest

from cli.running import layer2_here
from layer2.cli import proof_page

CONTENT = b"<!doctype html><title>Proofs</title>\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of an installation, which is another one in each test."""
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.setattr(proof_page, "_FOLDER", folder)
    (folder / "check-proofs.html.sha256").write_text(f"{DIGEST}  check-proofs.html\n")
    file = folder / "check-proofs.html"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the browser was asked to open."""
    addresses: list[str] = []

    def note(address: str) -> bool:
        addresses.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", note)
    return addresses


def test_the_page_is_opened_in_the_browser(page: Path, opened: list[str], tmp_path: Path) -> None:
    ran = layer2_here("proof", "page", "--json", cwd=tmp_path)
    assert ran.status == 0
    assert ran.envelope["data"] == {"file": str(page), "sha256": DIGEST, "opened": True}
    assert opened == [page.as_uri()]


def test_the_page_is_written_and_the_written_file_is_opened(page: Path, opened: list[str], tmp_path: Path) -> None:
    ran = layer2_here("proof", "page", "--output", "for auditors.html", cwd=tmp_path)
    assert ran.status == 0
    assert (tmp_path / "for auditors.html").read_bytes() == CONTENT
    assert opened == [(tmp_path / "for auditors.html").as_uri()]
    assert DIGEST in ran.out


def test_the_page_is_written_and_not_opened_if_one_asks_for_it(page: Path, opened: list[str], tmp_path: Path) -> None:
    ran = layer2_here("proof", "page", "--output", "check-proofs.html", "--no-open", "--json", cwd=tmp_path)
    assert ran.envelope["data"]["opened"] is False
    assert (tmp_path / "check-proofs.html").read_bytes() == CONTENT
    assert opened == []


def test_without_a_browser_the_command_shows_the_file(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    ran = layer2_here("proof", "page", cwd=tmp_path)
    assert ran.status == 0
    assert str(page) in ran.out
    assert "no browser was found" in ran.out


@pytest.mark.parametrize("missing", ["check-proofs.html", "check-proofs.html.sha256"])
def test_an_installation_without_the_page_says_how_to_get_it(
    page: Path, opened: list[str], tmp_path: Path, missing: str
) -> None:
    (page.parent / missing).unlink()
    ran = layer2_here("proof", "page", "--output", "check-proofs.html", "--json", cwd=tmp_path)
    assert ran.status == 3
    assert ran.envelope["error"]["code"] == "no_proof_page"
    assert "make page" in ran.envelope["error"]["remedy"]
    assert opened == []
    assert not (tmp_path / "check-proofs.html").exists()


def test_a_page_that_was_changed_is_neither_opened_nor_written(page: Path, opened: list[str], tmp_path: Path) -> None:
    page.write_bytes(CONTENT + b" ")
    ran = layer2_here("proof", "page", "--output", "check-proofs.html", "--json", cwd=tmp_path)
    assert ran.status == 1
    assert ran.envelope["error"]["code"] == "proof_page_changed"
    assert opened == []
    assert not (tmp_path / "check-proofs.html").exists()


def test_a_file_that_cannot_be_written_is_named(page: Path, opened: list[str], tmp_path: Path) -> None:
    ran = layer2_here("proof", "page", "--output", "no folder/page.html", "--json", cwd=tmp_path)
    assert ran.status == 3
    assert ran.envelope["error"]["code"] == "unwritable_file"
    assert opened == []
