"""A verifier that knows only the page about proofs, and other libraries, comes to the same verdicts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import rlp  # type: ignore[import-untyped]  # ships no types
from eth_utils.crypto import keccak

from docs.examples import ROOT
from docs.second_rootstock import hash_with_work
from docs.second_verifier import CLAIMED, REFUNDED, canonical, id_of_lock, outcome_of, tagged
from formats.rsk_vectors import vectors
from layer2.contracts.bitcoin_htlc import Branch
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import ProofRefused
from layer2.formats.bitcoin_transaction import Transaction
from layer2.formats.rsk_header import check_work, decode_full_header, encode_full_header
from layer2.legs.evidence import BitcoinSpendEvidence, EvmStorageEvidence, LightningPaymentEvidence
from layer2.legs.evm import EvmLeg
from layer2.model.transactions import Preimage
from layer2.proofs.checking import check_proof
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import OFFLINE
from layer2.proofs.statement import StatedOutcome
from layer2.terms.documents import Scheme, Signature, SignedTerms
from layer2.terms.signing import terms_hash
from proofs import made_bitcoin as btc
from proofs import made_proofs as made
from proofs import made_rootstock as rsk
from proofs import made_storage
from proofs.made_statements import SETTLED, signed, stated, statement


@pytest.mark.xdist_group("docs")
def test_a_real_proof_holds_for_both(reader: Path) -> None:
    data = (reader / "transfer.json").read_bytes()
    assert outcome_of(data) == check_proof(TransferProof.from_bytes(data), OFFLINE).outcome.value == "completed"


def one_leg() -> TransferProof:
    return replace(made.between_chains(), source_leg=None)


def signed_by_ecdsa() -> TransferProof:
    terms = made.terms(provider=made.PROVIDER.public_key.format())
    data = made.PROVIDER.sign_recoverable(terms_hash(terms), hasher=None)[:64]
    return replace(made.to_lightning(terms), terms=SignedTerms(terms, Signature(Scheme.ECDSA, data)))


def from_bitcoin_to_bob() -> TransferProof:
    destination = made.evm_leg(amount=made.AMOUNT)
    terms = made.terms(btc.LEG, destination)
    return TransferProof(made.signed(terms), btc.evidence_of(btc.spend()), made.evidence_of(destination, terms))


def refunded_on_bitcoin() -> TransferProof:
    return replace(btc.from_bitcoin(evidence=btc.evidence_of(btc.spend(Branch.REFUND))), destination_leg=None)


def released_on_bitcoin() -> TransferProof:
    return replace(btc.from_bitcoin(evidence=btc.evidence_of(btc.spend(Branch.RELEASE))), destination_leg=None)


ROOTSTOCK = rsk.terms(rsk.leg(contract=HTLC_ADDRESS))
ROOTSTOCK_VALUES = rsk.receipts_with(rsk.event_log(rsk.leg(contract=HTLC_ADDRESS), ROOTSTOCK))
ROOTSTOCK_EVIDENCE = rsk.evidence_under(ROOTSTOCK_VALUES, rsk.chain(ROOTSTOCK_VALUES))


def from_rootstock() -> TransferProof:
    return rsk.from_rootstock(ROOTSTOCK)


def refunded_on_rootstock() -> TransferProof:
    return replace(rsk.from_rootstock(ROOTSTOCK, event="Refunded"), destination_leg=None)


def shown_by_the_storage(status: int = made_storage.CLAIMED) -> TransferProof:
    proof = made.to_lightning()
    terms = proof.terms.terms
    assert isinstance(terms.source, EvmLeg)
    return replace(proof, source_leg=made_storage.evidence_of(terms.source, terms, status))


def refunded_in_the_storage() -> TransferProof:
    return replace(shown_by_the_storage(made_storage.REFUNDED), destination_leg=None)


def still_locked() -> TransferProof:
    return shown_by_the_storage(made_storage.LOCKED)


def another_lock_in_the_storage() -> TransferProof:
    proof = shown_by_the_storage()
    right, other = proof.source_leg, made_storage.evidence_of(made.evm_leg(deadline=5), proof.terms.terms)
    assert isinstance(right, EvmStorageEvidence)
    return replace(proof, source_leg=replace(other, lock_id=right.lock_id))


def stated_to_lightning() -> TransferProof:
    return stated(made.to_lightning())


def stated_refund() -> TransferProof:
    return stated(made.refunded(), StatedOutcome.REFUNDED)


MADE = [
    made.to_lightning,
    made.to_bob,
    made.refunded,
    made.between_chains,
    one_leg,
    signed_by_ecdsa,
    btc.from_bitcoin,
    from_bitcoin_to_bob,
    refunded_on_bitcoin,
    released_on_bitcoin,
    from_rootstock,
    refunded_on_rootstock,
    shown_by_the_storage,
    refunded_in_the_storage,
    stated_to_lightning,
    stated_refund,
]


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_made_proofs_have_the_same_outcome_for_both(make: Callable[[], TransferProof]) -> None:
    proof = make()
    assert outcome_of(proof.to_bytes()) == check_proof(proof, OFFLINE).outcome.value


OTHER = Preimage(b"\x01" * 32)
FORGERIES = {
    "lock_status": still_locked,
    "storage_inclusion": another_lock_in_the_storage,
    "terms_signature": lambda: replace(made.to_lightning(), terms=made.signed(made.terms(), made.PAYEE)),
    "preimage": lambda: made.to_lightning(payment=OTHER),
    "lock_id": lambda: replace(
        made.to_lightning(), source_leg=made.evidence_of(made.evm_leg(deadline=5), made.terms())
    ),
    "event": lambda: made.to_lightning(emitter=bytes(20)),
    "receipt_status": lambda: made.to_lightning(succeeded=False),
    "outcome": lambda: replace(made.refunded(), destination_leg=LightningPaymentEvidence(made.PREIMAGE)),
    "evidence": lambda: replace(made.to_lightning(), source_leg=None),
    "layer": lambda: replace(made.between_chains(), destination_leg=made.between_chains().source_leg),
    "legs": lambda: made.between_chains(made.terms(made.evm_leg(), made.evm_leg(amount=made.AMOUNT))),
    "invoice_time": lambda: made.to_lightning(made.terms(issued_at=made.INVOICE_TIME + made.INVOICE_EXPIRY + 1)),
    "invoice_hash": lambda: made.to_lightning(made.terms(destination=made.lightning_leg(made.invoice(preimage=OTHER)))),
    "invoice_amount": lambda: made.to_lightning(
        made.terms(destination=made.lightning_leg(made.invoice(amount=made.AMOUNT + 1)))
    ),
    "invoice_ambiguous": lambda: made.to_lightning(
        made.terms(destination=made.lightning_leg(made.ambiguous_invoice()))
    ),
    "amount": lambda: made.to_lightning(made.terms(made.evm_leg(amount=made.AMOUNT))),
    "contract": lambda: made.to_lightning(made.terms(made.evm_leg(contract=bytes(19) + b"\x01"))),
    "network": lambda: made.to_lightning(made.terms(made.evm_leg(chain_id=1))),
}
SPEND = btc.evidence_of(btc.spend())


def spend_of(made_by: Transaction) -> BitcoinSpendEvidence:
    """The spend of another output than the leg's, with the leg's witness."""
    return btc.evidence_of(btc.spend(made_by=made_by), made_by=made_by)


BITCOIN_FORGERIES = {
    "header": lambda: btc.from_bitcoin(evidence=replace(SPEND, headers=(SPEND.headers[0], SPEND.headers[2]))),
    "inclusion": lambda: btc.from_bitcoin(evidence=replace(SPEND, index=3)),
    "input": lambda: btc.from_bitcoin(evidence=replace(SPEND, input=2)),
    "funding": lambda: btc.from_bitcoin(evidence=replace(SPEND, funding=btc.FUNDING.encode())),
    "script": lambda: btc.from_bitcoin(evidence=spend_of(btc.funding(script=b"\x52" + btc.HTLC.program[1:]))),
    "amount": lambda: btc.from_bitcoin(evidence=spend_of(btc.funding(btc.AMOUNT - 1))),
    "payment_hash": lambda: btc.from_bitcoin(btc.terms(replace(btc.LEG, payment_hash=OTHER.payment_hash))),
    "outcome": lambda: btc.from_bitcoin(evidence=btc.evidence_of(btc.spend(Branch.REFUND))),
}
ROOTSTOCK_FORGERIES = {
    "header": lambda: rsk.with_evidence(from_rootstock(), headers=ROOTSTOCK_EVIDENCE.headers[::2]),
    "receipt_inclusion": lambda: rsk.with_evidence(from_rootstock(), transaction_index=1),
    "receipt_status": lambda: rsk.from_rootstock(ROOTSTOCK, succeeded=False),
    "layer": lambda: replace(made.to_lightning(), source_leg=ROOTSTOCK_EVIDENCE),
    "lock_id": lambda: replace(
        from_rootstock(), terms=made.signed(replace(ROOTSTOCK, issued_at=ROOTSTOCK.issued_at + 1))
    ),
}

STATEMENT_FORGERIES = {
    "statement_terms": lambda: stated(made.to_lightning(), terms_hash=bytes(32)),
    "statement_signature": lambda: replace(
        made.to_lightning(), statement=signed(statement(made.to_lightning().terms.terms), made.PAYEE)
    ),
    "statement_amounts": lambda: stated(made.to_lightning(), paid=made.AMOUNT + 1),
    "statement_finality": lambda: stated(made.to_lightning(), source=SETTLED),
    "statement_time": lambda: stated(made.to_lightning(), stated_at=0),
    "statement": lambda: stated(made.refunded()),
}


@pytest.mark.parametrize(
    ("check", "make"),
    [*FORGERIES.items(), *BITCOIN_FORGERIES.items(), *ROOTSTOCK_FORGERIES.items(), *STATEMENT_FORGERIES.items()],
    ids=[*FORGERIES, *BITCOIN_FORGERIES, *ROOTSTOCK_FORGERIES, *STATEMENT_FORGERIES],
)
def test_what_one_refuses_the_other_refuses(check: str, make: Callable[[], TransferProof]) -> None:
    proof = make()
    with pytest.raises(ProofRefused) as caught:
        check_proof(proof, OFFLINE)
    assert caught.value.check == check
    with pytest.raises(ValueError, match=r"^\d+ "):
        outcome_of(proof.to_bytes())


@pytest.mark.parametrize("vector", vectors()["full_headers"])
def test_blocks_of_the_mainnet_have_their_work_for_both(vector: dict[str, str]) -> None:
    encoded = bytes.fromhex(vector["encoded"])
    header, mining = decode_full_header(encoded)
    check_work(header, mining)
    assert hash_with_work(rlp.decode(encoded)) == header.hash
    with pytest.raises(ValueError, match="7 header"):
        hash_with_work(rlp.decode(encode_full_header(header, replace(mining, merkle_path=mining.merkle_path[32:]))))


def test_the_page_names_every_check_that_the_code_makes() -> None:
    source = ROOT / "src" / "layer2"
    files = [*sorted((source / "proofs").glob("*.py")), *sorted((source / "legs").glob("*.py"))]
    code = "".join(path.read_text() for path in files)
    checks = set(re.findall(r'ProofRefused\(\s*"([a-z_]+)"', code))
    assert len(checks) > 20
    page = (ROOT / "docs" / "proof-format.md").read_text()
    assert {check for check in checks if f"`{check}`" not in page} == set()


def test_the_page_s_values_of_one_vector_are_what_the_other_verifier_computes() -> None:
    page = (ROOT / "docs" / "proof-format.md").read_text().partition("### Values of one vector\n")[2]
    lines = (ROOT / "src" / "layer2" / "proofs" / "vectors" / "v1.jsonl").read_text().splitlines()
    files = {line["name"]: line["proof"].encode() for line in map(json.loads, lines) if "proof" in line}
    file = files["outcome/bob-to-lightning"]
    proof, stated = json.loads(file), json.loads(files["statement/bob-to-lightning"])
    terms, evidence = proof["terms"], proof["source_leg"]
    assert stated["terms"] == terms
    header = bytes.fromhex(evidence["header"])
    hash_of_terms = tagged("layer2/terms/v1", canonical(terms))
    computed = {
        "length of the canonical JSON of the terms": str(len(canonical(terms))),
        "`terms_hash`": f"`{hash_of_terms.hex()}`",
        "hash of the block": f"`{keccak(header).hex()}`",
        "receipts root": f"`{rlp.decode(header)[5].hex()}`",
        "key in the trie of receipts": f"`{rlp.encode(evidence['transaction_index']).hex()}`",
        "topic of `Claimed`": f"`{CLAIMED.hex()}`",
        "topic of `Refunded`": f"`{REFUNDED.hex()}`",
        "id of the lock": f"`{id_of_lock(terms, hash_of_terms, terms['source']).hex()}`",
        "`proof_id`": f"`{tagged('layer2/proof/v1', file).hex()}`",
    }
    assert dict(re.findall(r"^\| (.+?) \| (.+?) \|$", page, re.MULTILINE)) == computed
    assert f"`{tagged('layer2/completion/v1', canonical(stated['attestations'][1]['statement'])).hex()}`" in page
