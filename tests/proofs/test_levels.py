"""The levels of a proof's headers: no policy accepts less than it requires."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from layer2.errors import ProofUndecided
from layer2.legs.shown import OpenPoint
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.proofs.check import check_proof
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import FINAL, OFFLINE, Confirmation, ProofLevel, ProofPolicy, Requirement
from layer2.proofs.report import ProofReport
from proofs import made_proofs as made

BOB, ROOTSTOCK = Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK
AS_AGREED = ProofPolicy(Requirement.AS_AGREED)
KNOWN = frozenset({made.PROVIDER_KEY})


def confirmation(report: ProofReport, finality: Finality, *layers: Layer2ProtocolType) -> Confirmation:
    return Confirmation(
        {
            (leg.protocol, leg.header.hash): finality
            for leg in (report.source, report.destination)
            if leg.header is not None and leg.protocol in layers
        }
    )


@pytest.mark.parametrize("policy", [AS_AGREED, FINAL], ids=["as agreed", "final"])
@pytest.mark.parametrize(
    "make", [made.to_lightning, made.to_bob, made.refunded, made.between_chains], ids=lambda make: make.__name__
)
def test_a_fabricated_header_meets_no_policy_that_requires_one(
    policy: ProofPolicy, make: Callable[[], TransferProof]
) -> None:
    # The taker alone can make all of this from terms that a known provider signed, without any payment.
    proof = make()
    with pytest.raises(ProofUndecided):
        check_proof(proof, replace(policy, providers=KNOWN))
    offline = check_proof(proof, replace(OFFLINE, providers=KNOWN))
    assert made.block_levels(offline) == {ProofLevel.OFFLINE}
    assert OpenPoint.HEADER in {matter.point for matter in offline.open_points}


def test_a_header_counts_at_the_finality_that_a_node_confirmed() -> None:
    proof = made.to_lightning()
    report = check_proof(proof, OFFLINE)
    levels: Mapping[Finality, tuple[ProofLevel | None, ProofLevel | None]] = {
        Finality.LATEST: (None, None),
        Finality.SAFE: (ProofLevel.AS_AGREED, None),
        Finality.FINALIZED: (ProofLevel.FINALIZED, ProofLevel.FINALIZED),
    }
    for finality, expected in levels.items():
        for policy, level in zip((AS_AGREED, FINAL), expected, strict=True):
            confirmed = confirmation(report, finality, BOB)
            if level is None:
                with pytest.raises(ProofUndecided):
                    check_proof(proof, policy, confirmed=confirmed)
            else:
                assert made.block_levels(check_proof(proof, policy, confirmed=confirmed)) == {level}


def test_a_header_that_another_layers_node_confirmed_counts_for_nothing() -> None:
    proof = made.to_lightning()
    header = check_proof(proof, OFFLINE).source.header
    assert header is not None
    for key in ((ROOTSTOCK, header.hash), (BOB, bytes(32))):
        with pytest.raises(ProofUndecided):
            check_proof(proof, AS_AGREED, confirmed=Confirmation({key: Finality.FINALIZED}))


def test_both_headers_of_two_chains_must_be_confirmed() -> None:
    proof = made.between_chains()
    report = check_proof(proof, OFFLINE)
    for layers in ((BOB,), (ROOTSTOCK,)):
        with pytest.raises(ProofUndecided):
            check_proof(proof, FINAL, confirmed=confirmation(report, Finality.FINALIZED, *layers))
    both = confirmation(report, Finality.FINALIZED, BOB, ROOTSTOCK)
    assert made.block_levels(check_proof(proof, FINAL, confirmed=both)) == {ProofLevel.FINALIZED}


def test_a_trusted_header_meets_every_policy() -> None:
    proof = made.to_lightning()
    header = check_proof(proof, OFFLINE).source.header
    assert header is not None
    for policy in (AS_AGREED, FINAL):
        report = check_proof(proof, replace(policy, trusted_headers={BOB: header.hash}))
        assert made.block_levels(report) == {ProofLevel.TRUSTED_HEADER}
