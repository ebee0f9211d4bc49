"""Vectors of Rootstock from ``rsk_vectors.json``; each names the repository, commit and file from which it comes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

__all__ = ["vectors"]


@cache
def vectors() -> dict[str, list[dict[str, object]]]:
    """Each name's vectors."""
    read = json.loads(Path(__file__).with_name("rsk_vectors.json").read_text())
    return {name: value if isinstance(value, list) else [value] for name, value in read.items()}
