"""The browser in which the page of proofs is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from simnet.javascript import environment as javascript

__all__ = ["why_unavailable"]

CHROMIUM: Final = Path("/usr/bin/chromium")
"""Debian's, as in ``verifier-js/browser``."""


def why_unavailable() -> str | None:
    """The reason why a browser cannot be driven on this machine; None if it can."""
    if not CHROMIUM.exists():
        return f"{CHROMIUM} not found; run make system-packages"
    return javascript.why_unavailable()
