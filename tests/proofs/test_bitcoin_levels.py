"""Proofs with a Bitcoin leg: what their headers count for, from no policy to a trusted block."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.contracts.bitcoin_htlc import Branch
from layer2.errors import InvalidRequest, ProofRefused, ProofUndecided
from layer2.formats.bitcoin_block import decode_header
from layer2.legs.evidence import BitcoinSpendEvidence
from layer2.legs.shown import OpenPoint, Shown
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import FINAL, OFFLINE, Confirmation, ProofLevel, ProofPolicy, Requirement
from layer2.proofs.report import ProofReport
from proofs import made_bitcoin as btc
from proofs import made_proofs as made

BITCOIN = Layer2ProtocolType.BITCOIN
WITH_WORK = (BITCOIN, Layer2ProtocolType.ROOTSTOCK)
AS_AGREED = ProofPolicy(Requirement.AS_AGREED)
PROOF = btc.from_bitcoin()
assert isinstance(PROOF.source_leg, BitcoinSpendEvidence)
HEADERS = [decode_header(each) for each in PROOF.source_leg.headers]
WORK = sum(each.work for each in HEADERS)


def open_points(report: ProofReport) -> set[OpenPoint]:
    return {matter.point for matter in report.open_points}


def displayed(block_hash: bytes) -> bytes:
    return block_hash[::-1]


def test_a_proof_with_a_bitcoin_leg_is_read_back_and_shows_its_outcome() -> None:
    again = TransferProof.from_bytes(PROOF.to_bytes())
    assert again == PROOF
    assert again.outcome is ProofOutcome.COMPLETED
    refunded = TransferProof(PROOF.terms, btc.evidence_of(btc.spend(Branch.REFUND)), None)
    assert refunded.outcome is ProofOutcome.REFUNDED


@pytest.mark.parametrize("policy", [AS_AGREED, FINAL], ids=["as agreed", "final"])
def test_work_alone_meets_no_policy_that_does_not_state_how_much_is_enough(policy: ProofPolicy) -> None:
    with pytest.raises(ProofUndecided, match=r"about 2\*\*2 hashes"):
        check_proof(PROOF, policy)
    report = check_proof(PROOF, OFFLINE)
    assert report.source.level is ProofLevel.OFFLINE
    assert report.source.work == WORK
    assert OpenPoint.HEADER in open_points(report)
    assert "about 2**2 hashes" in next(each.text for each in report.open_points if each.point is OpenPoint.HEADER)


def test_the_work_that_the_policy_states_counts_as_agreed_and_not_as_final() -> None:
    enough = replace(AS_AGREED, work={BITCOIN: WORK})
    report = check_proof(PROOF, enough)
    assert report.source.level is ProofLevel.WORK
    assert Shown.WORK in report.source.shown
    assert OpenPoint.HEADER not in open_points(report)
    with pytest.raises(ProofUndecided):
        check_proof(PROOF, replace(enough, work={BITCOIN: WORK + 1}))
    assert check_proof(PROOF, replace(OFFLINE, work={BITCOIN: WORK + 1})).source.level is ProofLevel.OFFLINE
    with pytest.raises(ProofUndecided):
        check_proof(PROOF, replace(FINAL, work={BITCOIN: WORK}))


@pytest.mark.parametrize("hashes", [0, -1, True, 1.5, "1"])
def test_the_work_of_a_policy_is_a_positive_integer(hashes: int) -> None:
    with pytest.raises(InvalidRequest, match="positive number of hashes"):
        ProofPolicy(Requirement.AS_AGREED, work={BITCOIN: hashes})


@pytest.mark.parametrize("layer", [each for each in Layer2ProtocolType if each not in WITH_WORK])
def test_a_policy_states_work_only_for_layers_whose_headers_show_it(layer: Layer2ProtocolType) -> None:
    with pytest.raises(InvalidRequest, match="BITCOIN and ROOTSTOCK"):
        ProofPolicy(Requirement.AS_AGREED, work={BITCOIN: 1, layer: 1})


def test_each_leg_has_its_own_level() -> None:
    source = btc.LEG
    destination = made.evm_leg(amount=made.AMOUNT)
    agreed = made.terms(source, destination)
    proof = TransferProof(made.signed(agreed), PROOF.source_leg, made.evidence_of(destination, agreed))
    policy = replace(OFFLINE, work={BITCOIN: WORK})
    report = check_proof(proof, policy)
    assert (report.source.level, report.destination.level) == (ProofLevel.WORK, ProofLevel.OFFLINE)
    with pytest.raises(ProofUndecided, match="BOB"):
        check_proof(proof, replace(policy, requires=Requirement.AS_AGREED))
    assert report.destination.header is not None
    confirmed = Confirmation({(Layer2ProtocolType.BOB, report.destination.header.hash): Finality.FINALIZED})
    report = check_proof(proof, replace(policy, requires=Requirement.AS_AGREED), confirmed=confirmed)
    assert (report.source.level, report.destination.level) == (ProofLevel.WORK, ProofLevel.FINALIZED)


def test_a_node_that_confirms_the_block_counts_above_its_work() -> None:
    confirmed = Confirmation({(BITCOIN, displayed(HEADERS[0].hash)): Finality.FINALIZED})
    report = check_proof(PROOF, replace(FINAL, work={BITCOIN: WORK}), confirmed=confirmed)
    assert report.source.level is ProofLevel.FINALIZED
    with pytest.raises(ProofUndecided):
        check_proof(PROOF, FINAL, confirmed=Confirmation({(BITCOIN, HEADERS[0].hash): Finality.FINALIZED}))


@pytest.mark.parametrize("place", range(len(HEADERS)))
def test_the_proofs_own_headers_lead_to_a_trusted_block(place: int) -> None:
    policy = replace(FINAL, trusted_headers={BITCOIN: displayed(HEADERS[place].hash)})
    assert check_proof(PROOF, policy).source.level is ProofLevel.TRUSTED_HEADER


def test_further_headers_lead_to_a_later_trusted_block() -> None:
    later = [*HEADERS[1:], btc.mined(HEADERS[-1].hash, bytes(32))]
    policy = replace(FINAL, trusted_headers={BITCOIN: displayed(later[-1].hash)})
    headers = {BITCOIN: tuple([each.encode() for each in later])}
    assert check_proof(PROOF, policy, headers=headers).source.level is ProofLevel.TRUSTED_HEADER
    for wrong in (headers[BITCOIN][:-1], headers[BITCOIN][1:], (*headers[BITCOIN], headers[BITCOIN][-1])):
        with pytest.raises(ProofRefused) as caught:
            check_proof(PROOF, policy, headers={BITCOIN: wrong})
        assert caught.value.check == "header_chain"


def test_a_block_that_is_not_the_trusted_ones_ancestor_is_refused() -> None:
    stranger = btc.mined(b"\x0d" * 32, bytes(32))
    for trusted in (displayed(stranger.hash), HEADERS[0].hash, HEADERS[1].hash, bytes(32), HEADERS[0].parent[::-1]):
        with pytest.raises(ProofRefused, match="not to the trusted one"):
            check_proof(PROOF, replace(OFFLINE, trusted_headers={BITCOIN: trusted}))
    for header, problem in ((stranger.encode(), "another parent"), (bytes(79), "ends too early")):
        with pytest.raises(ProofRefused, match=problem):
            check_proof(
                PROOF,
                replace(OFFLINE, trusted_headers={BITCOIN: displayed(stranger.hash)}),
                headers={BITCOIN: (header,)},
            )
