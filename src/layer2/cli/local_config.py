"""The directories of local networks, and the file in which a provider announces its address."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from platformdirs import user_state_path

from layer2.errors import Layer2Error

__all__ = ["READY_FILE", "LocalName", "default_directory", "remedies_in"]

LocalName = Literal["simnet", "devnet"]
READY_FILE = "provider-ready.json"
"""The name of the file that a provider writes beside its configuration when it serves."""
_COMMAND = re.compile(r"\blayer2 (?:simnet|devnet) (up|down)\b")


def default_directory(name: LocalName) -> Path:
    """The default directory of a local network."""
    return user_state_path("layer2") / name


@contextmanager
def remedies_in(name: LocalName, directory: Path | None) -> Iterator[None]:
    """Add the network and the directory to the commands in the remedies of errors from the block.

    Args:
        directory: the directory of the network as the user named it; None for the default.
    """
    try:
        yield
    except Layer2Error as error:
        options = "" if directory is None else f" --directory {shlex.quote(str(directory))}"
        if error.remedy is not None:
            error.remedy = _COMMAND.sub(lambda found: f"layer2 {name} {found[1]}{options}", error.remedy)
        raise
