"""The output that a spend in evidence from Bitcoin takes, from the forger's side: only that of the terms counts."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest

from layer2.contracts.bitcoin_htlc import Branch
from layer2.errors import FormatError, ProofRefused, ProofUndecided
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxIn, TxOut, double_sha256
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.shown import EvidencePolicy, LegOutcome
from layer2.proofs.check import check_proof
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import OFFLINE, ProofLevel, ProofPolicy, Requirement
from proofs import made_bitcoin as btc
from proofs import made_proofs as made
from proofs.checked_bitcoin import BLOCK, CLAIM, EVIDENCE, OWED, TYPES, core_accepts, refused, shown

# Outputs that anyone spends with any witness: of later versions, and of version 1 with a program that is no key.
FUTURE = tuple([bytes([0x50 + version, 0x20]) + b"\x07" * 32 for version in range(2, 17)])
OF_ANYONE = (*FUTURE, b"\x51\x02\x4e\x73", b"\x51\x28" + b"\x07" * 40)


def test_an_input_that_does_not_exist_is_refused() -> None:
    refused("input", "no such input", replace(EVIDENCE, input=2))


@pytest.mark.parametrize("branch", Branch)
@pytest.mark.parametrize("script", OF_ANYONE, ids=bytes.hex)
def test_the_legs_witness_at_an_output_that_anyone_spends_shows_nothing(script: bytes, branch: Branch) -> None:
    # The payer signs its return of this output over the terms' amount, or the payee its claim.
    made_by = btc.funding(script=script)
    transaction = btc.spend(branch, made_by=made_by)
    assert core_accepts(transaction, script)
    assert not core_accepts(transaction, b"\x00" + script[1:])
    evidence = btc.evidence_of(transaction, made_by=made_by)
    refused("script", "the output has another script", evidence)
    # A transaction that did pay to the leg is not the one that made this output.
    refused("funding", "another transaction", replace(evidence, funding=btc.FUNDING.stripped))


def test_the_spend_of_another_input_is_refused() -> None:
    refused("funding", "another transaction", replace(EVIDENCE, input=0))


@pytest.mark.parametrize(
    "script",
    [
        btc.HTLC.script,
        b"",
        btc.HTLC.program[:-1],
        btc.HTLC.program + b"\x51",
        b"\x51" + btc.HTLC.program[1:],
        replace(btc.HTLC, locktime=btc.LOCKTIME + 1).program,
    ],
)
def test_an_output_of_another_script_is_refused(script: bytes) -> None:
    made_by = btc.funding(script=script)
    refused("script", "the output has another script", btc.evidence_of(btc.spend(made_by=made_by), made_by=made_by))


def test_an_output_that_the_funding_does_not_have_is_refused() -> None:
    made_by = replace(btc.FUNDING, outputs=btc.FUNDING.outputs[1:])
    spend = replace(CLAIM, inputs=(CLAIM.inputs[0], replace(CLAIM.inputs[1], prevout=OutPoint(made_by.hash, 1))))
    refused("funding", "no such output", btc.evidence_of(spend, made_by=made_by))


def test_another_funding_than_the_one_that_is_spent_is_refused() -> None:
    for index in range(len(EVIDENCE.funding)):
        changed = bytearray(EVIDENCE.funding)
        changed[index] ^= 1
        refused("funding", "another transaction", replace(EVIDENCE, funding=bytes(changed)))
    for wrong in (b"", EVIDENCE.funding[:-1], EVIDENCE.funding + b"\x00", btc.other(1).stripped):
        refused("funding", "another transaction", replace(EVIDENCE, funding=wrong))


def test_the_funding_has_one_encoding_the_one_without_witnesses() -> None:
    assert btc.FUNDING.encode() != btc.FUNDING.stripped
    refused("funding", "another transaction", replace(EVIDENCE, funding=btc.FUNDING.encode()))
    # An outpoint that names the hash over the witnesses, or over a length in a longer form, is no transaction's.
    longer = btc.FUNDING.stripped.replace(b"\x22" + btc.HTLC.program, b"\xfd\x22\x00" + btc.HTLC.program)
    for funding, problem in (
        (btc.FUNDING.encode(), "given with witnesses"),
        (longer, "not in its shortest form"),
        (btc.FUNDING.stripped + b"\x00", "followed by other bytes"),
        (btc.FUNDING.stripped[:-1], "ends too early"),
    ):
        prevout = OutPoint(double_sha256(funding), 1)
        spend = replace(CLAIM, inputs=(CLAIM.inputs[0], replace(CLAIM.inputs[1], prevout=prevout)))
        refused("funding", problem, replace(btc.evidence_of(spend), funding=funding))


def test_two_hashes_of_a_tree_are_no_funding() -> None:
    # CVE-2017-12842: the hash of an inner node. Consensus knows no output under it, so only an invented block has this.
    node = BLOCK.hashes[2] + BLOCK.hashes[3]
    spend = replace(CLAIM, inputs=(CLAIM.inputs[0], replace(CLAIM.inputs[1], prevout=OutPoint(double_sha256(node), 1))))
    with pytest.raises(ProofRefused) as caught:
        shown(replace(btc.evidence_of(spend), funding=node))
    assert caught.value.check == "funding"


def test_a_real_funding_of_64_bytes_is_read_as_the_transaction_that_it_is() -> None:
    # One input with a script of two bytes, one output with two bytes of script: too short for the leg's script.
    source = TxIn(OutPoint(b"\x09" * 32, 0), 0, b"\x51\x51")
    made_by = Transaction(2, (source,), (TxOut(btc.AMOUNT, b"\x51\x51"),), 0)
    assert len(made_by.stripped) == 64
    prevout = OutPoint(made_by.hash, 0)
    spend = replace(CLAIM, inputs=(CLAIM.inputs[0], replace(CLAIM.inputs[1], prevout=prevout)))
    refused("script", "the output has another script", btc.evidence_of(spend, made_by=made_by))


def test_a_funding_of_a_miner_and_one_without_any_witness_are_as_good_as_others() -> None:
    source = TxIn(OutPoint(bytes(32), 0xFFFF_FFFF), 0xFFFF_FFFF, b"\x03\x00\x00\x0c", (bytes(32),))
    for inputs in ((source,), (replace(source, witness=()),)):
        made_by = replace(btc.FUNDING, inputs=inputs)
        assert shown(btc.evidence_of(btc.spend(made_by=made_by), made_by=made_by)).outcome is LegOutcome.COLLECTED


def test_a_funding_and_a_spend_have_a_largest_size() -> None:
    # The largest ones are read, and then refused for what they are.
    refused("funding", "another transaction", replace(EVIDENCE, funding=bytes(400_000)))
    refused("inclusion", "no inputs", replace(EVIDENCE, transaction=bytes(400_000)))
    with pytest.raises(FormatError, match="'funding'"):
        shown(replace(EVIDENCE, funding=bytes(400_001)))
    with pytest.raises(FormatError, match="'transaction'"):
        shown(replace(EVIDENCE, transaction=bytes(400_001)))


def test_both_transactions_fit_into_one_file_up_to_a_size() -> None:
    for size in (85_000, 100_000):
        proof = btc.from_bitcoin(evidence=replace(EVIDENCE, transaction=bytes(400_000), funding=bytes(size)))
        with nullcontext() if size == 85_000 else pytest.raises(FormatError, match="1000000"):
            assert TransferProof.from_bytes(proof.to_bytes()) == proof


def test_a_batch_of_payments_that_nodes_relay_is_a_funding() -> None:
    # Nodes relay 400,000 units of weight, so 100,000 bytes without witnesses.
    many = tuple([TxOut(1_000 + number, b"\x00\x14" + bytes(20)) for number in range(3_200)])
    made_by = replace(btc.FUNDING, outputs=(*btc.FUNDING.outputs, *many))
    assert 390_000 < made_by.weight <= 400_000
    evidence = btc.evidence_of(btc.spend(made_by=made_by), made_by=made_by)
    assert shown(evidence).outcome is LegOutcome.COLLECTED
    proof = btc.from_bitcoin(evidence=evidence)
    assert TransferProof.from_bytes(proof.to_bytes()) == proof


@pytest.mark.parametrize(
    "leg",
    [
        replace(btc.LEG, locktime=btc.LOCKTIME + 1),
        replace(btc.LEG, payment_hash=b"\x07" * 32),
        replace(btc.LEG, payer=btc.PAYEE_RELEASE.public_key.format()),
        replace(btc.LEG, payee=btc.PAYER.public_key.format()),
        replace(btc.LEG, payee_release=btc.PAYER.public_key.format()),
    ],
)
def test_another_script_is_refused(leg: BitcoinLeg) -> None:
    refused("script", "the output has another script", EVIDENCE, leg)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("branch", Branch)
@pytest.mark.parametrize("amount", [btc.AMOUNT - 1, btc.AMOUNT + 1, 546])
def test_an_output_of_another_amount_is_refused(amount: int, branch: Branch, kind: int) -> None:
    made_by = btc.funding(amount)
    evidence = btc.evidence_of(btc.spend(branch, kind=kind, made_by=made_by), made_by=made_by)
    refused("amount", "another amount", evidence)


def test_a_witness_that_fits_no_branch_of_the_script_is_refused() -> None:
    signature, preimage, selector, script = CLAIM.inputs[1].witness
    for witness in (
        (signature, b"\x08" * 32, selector, script),
        (signature, preimage, selector, b"", script),
        (preimage, selector, script),
        (signature, preimage, selector, b"\x51"),
        (),
    ):
        transaction = CLAIM.with_witness(1, witness)
        assert not core_accepts(transaction)
        refused("script", "the witness spends another script", btc.evidence_of(transaction))


def test_a_signature_that_consensus_would_refuse_is_only_in_invented_blocks_which_no_node_confirms() -> None:
    signature, preimage, selector, script = CLAIM.inputs[1].witness
    for unsigned in ((b"", preimage, selector, script), (signature[:-1] + b"\x02", preimage, selector, script)):
        transaction = CLAIM.with_witness(1, unsigned)
        assert not core_accepts(transaction)
        proof = btc.from_bitcoin(evidence=btc.evidence_of(transaction))
        assert check_proof(proof, OFFLINE).source.level is ProofLevel.OFFLINE
        with pytest.raises(ProofUndecided):
            check_proof(proof, ProofPolicy(Requirement.AS_AGREED))


def test_evidence_of_another_kind_is_refused() -> None:
    with pytest.raises(ProofRefused) as caught:
        btc.LEG.check_evidence(LightningPaymentEvidence(made.PREIMAGE), OWED, EvidencePolicy())
    assert caught.value.check == "evidence"
