"""All vectors, in a fixed order."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

from vectors import (
    in_bitcoin,
    in_evm,
    in_format,
    in_invoices,
    in_outcome,
    in_real,
    in_rlp,
    in_rootstock,
    in_statement,
    in_storage,
    in_terms,
)
from vectors.vector import Vector

__all__ = ["FILE", "all_vectors", "written"]

FILE = Path(__file__).parents[2] / "src" / "layer2" / "proofs" / "vectors" / "v1.jsonl"
_SOURCES = (
    in_outcome,
    in_format,
    in_terms,
    in_invoices,
    in_evm,
    in_rlp,
    in_storage,
    in_rootstock,
    in_bitcoin,
    in_statement,
    in_real,
)


@cache
def all_vectors() -> tuple[Vector, ...]:
    """Every case; names are unique."""
    found = [vector for source in _SOURCES for vector in source.vectors()]
    repeated = {name for name, count in Counter(each.name for each in found).items() if count > 1}
    assert not repeated, repeated
    return tuple(found)


def written() -> str:
    """The published file: a JSON object for each line."""
    return "".join(json.dumps(each.line(), ensure_ascii=False) + "\n" for each in all_vectors())


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(written())
