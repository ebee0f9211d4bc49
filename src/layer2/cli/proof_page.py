"""``layer2 proof page``: the page that checks proofs in a browser. Imports no network library."""

from __future__ import annotations

import hashlib
import webbrowser
from pathlib import Path
from typing import Final

from layer2.cli.output import Result
from layer2.cli.session import InSession
from layer2.errors import ConfigurationError, Layer2Error

__all__ = ["page"]

_FOLDER: Final = Path(__file__).parents[1] / "proofs" / "page"
_NAME: Final = "check-proofs.html"
_REINSTALL: Final = "install the wheel of this version again; in a source tree, run make page, which needs Node.js"


def page(*, output: Path | None = None, no_open: bool = False, session: InSession) -> Result:
    """Open the page that checks proofs in your browser: drop one proof on it, or a hundred.

    The page is one file. It sends nothing, and needs no network. It is opened only if it is the file that this version
    was released with.

    Args:
        output: Write the page to this file first, and open that. Give the file to those who check your proofs.
        no_open: Do not open the page. Show where it is.
    """
    content, digest = _checked_page()
    file = _FOLDER / _NAME
    if output is not None:
        file = output.absolute()
        _write(file, content)
    is_open = not no_open and webbrowser.open(file.as_uri())
    lines = [f"{file}   SHA-256 {digest}"]
    if not is_open and not no_open:
        lines.append("no browser was found: open the file on a machine that has one")
    return Result({"file": str(file), "sha256": digest, "opened": is_open}, lines)


def _checked_page() -> tuple[bytes, str]:
    """The page and its SHA-256.

    Raises:
        ConfigurationError: this installation has no page.
        Layer2Error: the page is not the released one.
    """
    try:
        content = (_FOLDER / _NAME).read_bytes()
        expected = (_FOLDER / f"{_NAME}.sha256").read_text("ascii").split()[0]
    except FileNotFoundError as error:
        raise ConfigurationError(
            "this installation does not contain the page", code="no_proof_page", remedy=_REINSTALL
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{_FOLDER / _NAME} cannot be read: {error.strerror}", code="unreadable_file"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise Layer2Error(
            f"the page is not the one of this version: its SHA-256 is {digest}, not {expected}",
            code="proof_page_changed",
            remedy=_REINSTALL,
        )
    return content, digest


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}", code="unwritable_file") from error
