"""Proofs with a Rootstock leg: what their headers count for, from no policy to a trusted block."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.errors import FormatError, ProofRefused, ProofUndecided
from layer2.formats.rsk_header import decode_full_header
from layer2.legs.evidence import RootstockReceiptEvidence
from layer2.legs.shown import OpenPoint, Shown
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import FINAL, OFFLINE, Confirmation, ProofLevel, ProofPolicy, Requirement
from layer2.proofs.report import ProofReport
from proofs import made_proofs as made
from proofs import made_rootstock as rsk

ROOTSTOCK = Layer2ProtocolType.ROOTSTOCK
PROOF = rsk.from_rootstock()
assert isinstance(PROOF.source_leg, RootstockReceiptEvidence)
HASHES = [decode_full_header(each)[0].hash for each in PROOF.source_leg.headers]
WORK = rsk.DIFFICULTY * len(HASHES)
LISTED = {33: frozenset({rsk.CONTRACT})}
ANY = replace(OFFLINE, contracts=LISTED)
AS_AGREED = ProofPolicy(Requirement.AS_AGREED, contracts=LISTED)


def open_points(report: ProofReport) -> set[OpenPoint]:
    return {matter.point for matter in report.open_points}


def test_a_proof_with_a_rootstock_leg_is_read_back_and_shows_its_outcome() -> None:
    again = TransferProof.from_bytes(PROOF.to_bytes())
    assert again == PROOF
    assert again.outcome is ProofOutcome.COMPLETED
    refund = rsk.evidence_of(rsk.leg(), rsk.terms(), event="Refunded")
    assert TransferProof(PROOF.terms, refund, None).outcome is ProofOutcome.REFUNDED


def test_work_alone_meets_no_policy_that_does_not_state_how_much_is_enough() -> None:
    with pytest.raises(ProofUndecided, match=r"about 2\*\*4 hashes"):
        check_proof(PROOF, AS_AGREED)
    report = check_proof(PROOF, ANY)
    assert report.source.level is ProofLevel.OFFLINE
    assert report.source.work == WORK
    assert OpenPoint.HEADER in open_points(report)


def test_the_work_that_the_policy_states_counts_as_agreed_and_not_as_final() -> None:
    enough = replace(AS_AGREED, work={ROOTSTOCK: WORK})
    report = check_proof(PROOF, enough)
    assert report.source.level is ProofLevel.WORK
    assert Shown.WORK in report.source.shown
    assert OpenPoint.HEADER not in open_points(report)
    with pytest.raises(ProofUndecided):
        check_proof(PROOF, replace(enough, work={ROOTSTOCK: WORK + 1}))
    with pytest.raises(ProofUndecided):
        check_proof(PROOF, replace(FINAL, contracts=LISTED, work={ROOTSTOCK: WORK}))


def test_bitcoins_work_and_rootstocks_are_stated_apart() -> None:
    assert check_proof(PROOF, replace(ANY, work={Layer2ProtocolType.BITCOIN: 1})).source.level is ProofLevel.OFFLINE


def test_a_contract_that_the_policy_does_not_list_is_refused() -> None:
    """Its address does not commit to its code: it could emit any event."""
    with pytest.raises(ProofRefused, match="contract"):
        check_proof(PROOF, OFFLINE)
    with pytest.raises(ProofRefused, match="contract"):
        check_proof(PROOF, replace(OFFLINE, contracts={30: LISTED[33]}))


def test_the_native_coin_is_bitcoin_without_a_list_of_tokens() -> None:
    assert OpenPoint.ASSET not in open_points(check_proof(PROOF, ANY))
    lies = rsk.terms(rsk.leg(token_decimals=8, amount=made.AMOUNT + made.FEE))
    with pytest.raises(ProofRefused, match="18 decimals"):
        check_proof(rsk.from_rootstock(lies), ANY)


@pytest.mark.parametrize(
    ("chain_id", "network"), [(31, "mainnet"), (30, "testnet"), (30, "regtest"), (60808, "mainnet")]
)
def test_a_leg_on_the_chain_of_another_network_is_refused(chain_id: int, network: str) -> None:
    agreed = rsk.terms(rsk.leg(chain_id=chain_id), network=network)
    listed = replace(OFFLINE, contracts={chain_id: LISTED[33]})
    with pytest.raises(ProofRefused, match=f"network: ROOTSTOCK '{chain_id}' is not part of {network}"):
        check_proof(rsk.from_rootstock(agreed), listed)


def test_a_trusted_header_in_the_evidence_needs_no_file() -> None:
    for trusted in HASHES:
        policy = replace(FINAL, contracts=LISTED, trusted_headers={ROOTSTOCK: trusted})
        assert check_proof(PROOF, policy).source.level is ProofLevel.TRUSTED_HEADER
    other = replace(ANY, trusted_headers={ROOTSTOCK: bytes(32)})
    with pytest.raises(ProofRefused, match="header_chain"):
        check_proof(PROOF, other)


def test_headers_in_their_short_form_lead_to_a_later_trusted_one() -> None:
    agreed = rsk.terms()
    values = rsk.receipts_with(rsk.event_log(rsk.leg(), agreed))
    blocks = rsk.chain(values, 6)
    proof = replace(PROOF, source_leg=rsk.evidence_under(values, blocks[:2]))
    policy = replace(ANY, trusted_headers={ROOTSTOCK: blocks[-1].hash})
    headers = [block.short for block in blocks[1:]]
    assert check_proof(proof, policy, headers={ROOTSTOCK: headers}).source.level is ProofLevel.TRUSTED_HEADER
    for wrong in (headers[1:], headers[:-1], [*headers[:2], *headers[3:]], [block.full for block in blocks[1:]]):
        with pytest.raises(ProofRefused, match="header_chain"):
            check_proof(proof, policy, headers={ROOTSTOCK: wrong})


def test_a_confirmed_header_has_the_finality_that_the_node_shows() -> None:
    confirmed = Confirmation({(ROOTSTOCK, HASHES[0]): Finality.FINALIZED})
    report = check_proof(PROOF, replace(FINAL, contracts=LISTED), confirmed=confirmed)
    assert report.source.level is ProofLevel.FINALIZED


def test_a_local_network_may_have_ethereums_receipts_and_no_other_network() -> None:
    agreed = rsk.terms()
    proof = replace(PROOF, source_leg=made.evidence_of(rsk.leg(), agreed))
    assert check_proof(proof, ANY).outcome is ProofOutcome.COMPLETED
    for chain_id, bob, network in ((30, 60808, "mainnet"), (31, 808813, "testnet")):
        leg, destination = rsk.leg(chain_id=chain_id), made.evm_leg(chain_id=bob, amount=made.AMOUNT)
        agreed = rsk.terms(leg, destination=destination, network=network)
        forged = TransferProof(made.signed(agreed), made.evidence_of(leg, agreed), None)
        with pytest.raises(ProofRefused, match="evidence: ROOTSTOCK has other headers and tries"):
            check_proof(forged, replace(OFFLINE, contracts={chain_id: LISTED[33]}))
        real = replace(forged, source_leg=rsk.evidence_of(leg, agreed))
        assert check_proof(real, replace(OFFLINE, contracts={chain_id: LISTED[33]})).outcome is ProofOutcome.PARTIAL


def test_a_proof_with_too_many_headers_is_malformed() -> None:
    assert isinstance(PROOF.source_leg, RootstockReceiptEvidence)
    many = PROOF.source_leg.headers * 505
    with pytest.raises(FormatError):
        TransferProof.from_bytes(rsk.with_evidence(PROOF, headers=many).to_bytes())
