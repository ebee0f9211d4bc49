"""Where local networks live, and where a provider says that it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from platformdirs import user_state_path

__all__ = ["READY_FILE", "LocalName", "default_directory"]

LocalName = Literal["simnet", "devnet"]
READY_FILE = "provider-ready.json"
"""Where a provider says that it serves, beside its configuration."""


def default_directory(name: LocalName) -> Path:
    """The default directory of a local network."""
    return user_state_path("layer2") / name
