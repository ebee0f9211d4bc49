"""The published schema of a proof's structure, against the test vectors. Oracle: the library ``jsonschema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # an oracle without types

from vectors.all import all_vectors
from vectors.documents import canonical
from vectors.vector import Vector

SCHEMA: Final = json.loads((Path(__file__).parents[2] / "docs" / "proof.schema.json").read_text())
NOT_STRUCTURE: Final = {"format/too-many-values", "format/too-long"}
"""Refused for the length or the separators of the whole file, of which a schema knows nothing."""


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(SCHEMA)
    return Draft202012Validator(SCHEMA)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not canonical")


def is_canonical(vector: Vector) -> bool:
    """Whether the bytes are the canonical JSON of some value."""
    try:
        return canonical(json.loads(vector.proof, parse_float=_no_number)) == vector.proof
    except ValueError:
        return False


def test_every_file_that_a_verifier_can_read_has_the_structure_of_the_schema(validator: Draft202012Validator) -> None:
    readable = [vector for vector in all_vectors() if vector.result != "format"]
    assert len(readable) > 600
    assert [vector.name for vector in readable if not validator.is_valid(json.loads(vector.proof))] == []


def test_every_canonical_file_that_is_refused_for_its_format_violates_the_schema(
    validator: Draft202012Validator,
) -> None:
    malformed = [
        vector
        for vector in all_vectors()
        if vector.result == "format" and is_canonical(vector) and vector.name not in NOT_STRUCTURE
    ]
    assert len(malformed) > 100
    assert [vector.name for vector in malformed if validator.is_valid(json.loads(vector.proof))] == []
