"""Proofs of transfers on real nodes, in version 1. The directory's page says how they were made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from vectors.documents import Document
from vectors.vector import Vector

__all__ = ["vectors"]

FILES = Path(__file__).parent / "real"


def vectors() -> Iterator[Vector]:
    """Cases of the class ``real``: each proof, for a verifier that knows the provider."""
    for file in sorted(FILES.glob("*.json")):
        proof = file.read_bytes()
        terms: Document = json.loads(proof)["terms"]
        policy: Document = {"requires": "stated", "providers": [terms["provider"]], "networks": ["regtest"]}
        outcome = "refunded" if "_refunded" in file.stem else "completed"
        yield Vector(f"real/{file.stem.replace('_', '-')}", proof, "valid", outcome, policy)
