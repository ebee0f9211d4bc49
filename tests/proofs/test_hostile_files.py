"""Files that are made to cost much: each is refused by the limit that bounds its cost, or holds and is checked."""

from __future__ import annotations

import pytest

from layer2.errors import Layer2Error
from layer2.proofs import ProofPolicy, Requirement, TransferProof, check_proof
from proofs import made_rootstock
from proofs.hostile_files import HOSTILE_FILES

POLICY = ProofPolicy(Requirement.NOTHING, contracts={33: frozenset({made_rootstock.CONTRACT})})


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_a_hostile_file_is_refused_by_the_limit_that_bounds_its_cost_or_holds(name: str) -> None:
    reason, made = HOSTILE_FILES[name]
    data = made()
    assert len(data) <= 1_000_000
    if not reason:
        check_proof(TransferProof.from_bytes(data), POLICY)
        return
    with pytest.raises(Layer2Error, match=reason) as refused:
        check_proof(TransferProof.from_bytes(data), POLICY)
    assert len(str(refused.value)) < 1_000, "the message repeats the file"
