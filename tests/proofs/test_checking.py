"""What a proof shows, and each way in which it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey

from layer2.errors import ProofRefused
from layer2.proofs.checking import Shown, check_proof
from layer2.proofs.model import EvmReceiptEvidence, LightningPaymentEvidence, ProofOutcome, TransferProof
from layer2.proofs.policy import OFFLINE, HeaderRequirement, ProofPolicy
from layer2.terms import EvmLeg, LightningLeg
from layer2.transactions import Preimage
from proofs import made_proofs as made

STRICT = ProofPolicy(
    HeaderRequirement.NOT_CHECKED,
    providers=frozenset({made.PROVIDER_KEY}),
    networks=frozenset({"regtest"}),
    tokens={60808: {made.TOKEN: 8}},
)
STRANGER = PrivateKey(b"\x07" * 32)


def refusal(proof: TransferProof, policy: ProofPolicy = STRICT) -> str:
    with pytest.raises(ProofRefused) as caught:
        check_proof(proof, policy)
    return caught.value.check


def test_a_completed_transfer_to_lightning_shows_both_legs() -> None:
    report = check_proof(made.to_lightning(), STRICT)
    assert report.outcome is ProofOutcome.COMPLETED
    assert report.source.shown == {Shown.INCLUDED, Shown.GENUINE_CONTRACT}
    assert report.destination.shown == {Shown.PREIMAGE}
    assert report.source.header is not None
    assert report.source.header.number == 1234


def test_a_completed_transfer_to_bob_shows_both_legs() -> None:
    report = check_proof(made.to_bob(), STRICT)
    assert report.outcome is ProofOutcome.COMPLETED
    assert report.source.shown == {Shown.PREIMAGE}
    assert report.destination.shown == {Shown.INCLUDED, Shown.GENUINE_CONTRACT}


def test_a_refund_is_proved_as_a_refund() -> None:
    report = check_proof(made.refunded(), STRICT)
    assert report.outcome is ProofOutcome.REFUNDED
    assert made.refunded().outcome is ProofOutcome.REFUNDED
    assert made.to_lightning().outcome is ProofOutcome.COMPLETED


def test_what_the_policy_does_not_ask_is_reported_as_open() -> None:
    points = " ".join(check_proof(made.to_lightning(), OFFLINE).open_points)
    assert "is on the chain" in points
    assert made.PROVIDER_KEY.hex() in points
    assert "token" in points
    assert "Lightning paid" in points
    assert "nothing of value moved" in points


def test_an_independent_payee_shows_that_the_payment_was_made() -> None:
    policy = replace(STRICT, payees=frozenset({made.PAYEE.public_key.format()}))
    assert Shown.INDEPENDENT_PAYEE in check_proof(made.to_lightning(), policy).destination.shown
    policy = replace(STRICT, payees=frozenset({STRANGER.public_key.format()}))
    assert refusal(made.to_lightning(), policy) == "payee"


def test_terms_signed_by_somebody_else_are_refused() -> None:
    proof = made.to_lightning()
    forged = replace(proof, terms=made.signed(proof.terms.terms, STRANGER))
    assert refusal(forged) == "terms_signature"


def test_terms_of_a_provider_that_the_policy_does_not_name_are_refused() -> None:
    terms = made.terms(provider=STRANGER.public_key.format()[1:])
    assert isinstance(terms.source, EvmLeg)
    proof = TransferProof(
        made.signed(terms, STRANGER), made.evidence_of(terms.source, terms), LightningPaymentEvidence(made.PREIMAGE)
    )
    assert check_proof(proof, OFFLINE).outcome is ProofOutcome.COMPLETED
    assert refusal(proof) == "provider"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 200_000),
        ("provider_fee", 1),
        ("network_fee", 1),
        ("payment_hash", bytes(32)),
        ("swap_id", "00" * 16),
        ("issued_at", 1),
        ("collect_by", 1),
        ("network", "mainnet"),
        ("asset", "ETH"),
    ],
)
def test_any_changed_term_breaks_the_signature(field: str, value: Any) -> None:
    proof = made.to_lightning()
    changed = replace(proof.terms.terms, **{field: value})
    assert refusal(replace(proof, terms=replace(proof.terms, terms=changed))) == "terms_signature"


def test_two_valid_but_unrelated_legs_are_refused() -> None:
    one = made.to_lightning()
    other_preimage = Preimage(b"\x09" * 32)
    text = made.invoice(preimage=other_preimage)
    other_terms = made.terms(destination=made.lightning_leg(text), payment_hash=other_preimage.payment_hash)
    other = made.to_lightning(other_terms, preimage=other_preimage, payment=other_preimage)
    check_proof(one, STRICT)
    check_proof(other, STRICT)
    assert refusal(replace(one, source_leg=other.source_leg)) == "lock_id"
    assert refusal(replace(one, destination_leg=other.destination_leg)) == "preimage"


def test_a_lock_under_the_same_hash_and_other_terms_is_refused() -> None:
    terms = made.terms()
    other = made.terms(swap_id="01" * 16)
    assert isinstance(other.source, EvmLeg)
    proof = replace(made.to_lightning(terms), source_leg=made.evidence_of(other.source, other))
    assert refusal(proof) == "lock_id"


@pytest.mark.parametrize(
    "change",
    [
        {"payer": bytes(20)},
        {"payee": bytes.fromhex("44" * 20)},
        {"token": bytes.fromhex("44" * 20)},
        {"deadline": 1},
        {"amount": 1},
        {"chain_id": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_lock_that_differs_in_any_detail_is_refused(change: dict[str, object]) -> None:
    terms = made.terms()
    proof = replace(made.to_lightning(terms), source_leg=made.evidence_of(made.evm_leg(**change), terms))
    assert refusal(proof) == "lock_id"


def test_an_event_of_another_contract_is_refused() -> None:
    assert refusal(made.to_lightning(emitter=bytes.fromhex("55" * 20))) == "event"


def test_a_contract_whose_address_does_not_commit_to_its_code_needs_the_policy() -> None:
    contract = bytes.fromhex("55" * 20)
    proof = made.to_lightning(made.terms(source=made.evm_leg(contract=contract)))
    assert refusal(proof) == "contract"
    report = check_proof(proof, replace(STRICT, contracts={60808: frozenset({contract})}))
    assert Shown.GENUINE_CONTRACT not in report.source.shown


def test_a_failed_transaction_shows_nothing() -> None:
    assert refusal(made.to_lightning(succeeded=False)) == "receipt_status"


def test_an_invoice_made_after_the_preimage_was_public_is_refused() -> None:
    text = made.invoice(time=made.BLOCK_TIME + 1)
    assert refusal(made.to_lightning(made.terms(destination=made.lightning_leg(text)))) == "invoice_time"


def test_a_refund_beside_a_preimage_is_refused() -> None:
    proof = replace(made.refunded(), destination_leg=LightningPaymentEvidence(made.PREIMAGE))
    assert refusal(proof) == "outcome"


@pytest.mark.parametrize("leg", ["source_leg", "destination_leg"])
def test_a_completed_proof_without_evidence_of_a_leg_is_refused(leg: str) -> None:
    missing: dict[str, Any] = {leg: None}
    assert refusal(replace(made.to_lightning(), **missing)) == "evidence"
    assert refusal(replace(made.to_bob(), **missing)) == "evidence"


def test_evidence_of_one_layer_does_not_count_for_the_other() -> None:
    proof = made.to_lightning()
    swapped = replace(proof, source_leg=proof.destination_leg, destination_leg=proof.source_leg)
    assert refusal(swapped) == "evidence"


INVOICES: dict[str, tuple[Callable[[], object], str]] = {
    "without an amount": (lambda: made.lightning_leg(made.invoice(amount=None)), "invoice_amount"),
    "for another amount": (lambda: made.lightning_leg(made.invoice(amount=99_999)), "invoice_amount"),
    "under another hash": (lambda: made.lightning_leg(made.invoice(preimage=Preimage(bytes(32)))), "invoice_hash"),
    "of another network": (lambda: made.lightning_leg(made.invoice(prefix="bc")), "invoice_network"),
    "signed by another node": (lambda: made.lightning_leg(payee=b"\x02" * 33), "invoice_payee"),
    "with a second secret": (lambda: made.lightning_leg(made.ambiguous_invoice()), "invoice_ambiguous"),
    "in upper case": (lambda: made.lightning_leg(made.invoice().upper()), "invoice"),
    "that is none": (lambda: made.lightning_leg("lnbcrt1"), "invoice"),
}


@pytest.mark.parametrize("case", INVOICES)
def test_the_terms_may_not_name_an_invoice(case: str) -> None:
    leg, check = INVOICES[case]
    destination = leg()
    assert isinstance(destination, LightningLeg)
    assert refusal(made.to_lightning(made.terms(destination=destination))) == check


def test_test_money_does_not_count_where_the_policy_says_mainnet() -> None:
    assert refusal(made.to_lightning(), replace(STRICT, networks=frozenset({"mainnet"}))) == "network"


def test_a_regtest_invoice_does_not_become_mainnet_by_the_terms_saying_so() -> None:
    assert refusal(made.to_lightning(made.terms(network="mainnet")), OFFLINE) == "network"


def test_a_token_that_the_policy_does_not_name_is_refused() -> None:
    policy = replace(STRICT, tokens={60808: {bytes(20): 8}})
    assert refusal(made.to_lightning(), policy) == "token"
    assert refusal(made.to_lightning(), replace(STRICT, tokens={1: {made.TOKEN: 8}})) == "token"


def test_terms_cannot_make_dust_count_as_bitcoin_by_giving_the_token_other_decimals() -> None:
    amount, fee = 300_000_000, 100_000_000
    dust = made.evm_leg(amount=4, token_decimals=0)
    destination = made.lightning_leg(amount=amount)
    terms = made.terms(source=dust, destination=destination, amount=amount, provider_fee=fee, network_fee=0)
    assert refusal(made.to_lightning(terms)) == "token"
    points = " ".join(check_proof(made.to_lightning(terms), OFFLINE).open_points)
    assert f"{made.TOKEN.hex()} has 0 decimals" in points


def test_the_lock_must_hold_what_the_terms_say_in_the_tokens_own_unit() -> None:
    assert refusal(made.to_lightning(made.terms(source=made.evm_leg(amount=made.AMOUNT)))) == "amount"
    amount = (made.AMOUNT + made.FEE) * 10**10
    policy = replace(STRICT, tokens={60808: {made.TOKEN: 18}})
    check_proof(made.to_lightning(made.terms(source=made.evm_leg(amount=amount, token_decimals=18))), policy)
    assert refusal(made.to_lightning(made.terms(source=made.evm_leg(amount=amount)))) == "amount"


def test_a_receipt_of_another_block_is_refused() -> None:
    proof, other = made.to_lightning(), made.to_lightning(neighbours=9)
    assert isinstance(proof.source_leg, EvmReceiptEvidence)
    assert isinstance(other.source_leg, EvmReceiptEvidence)
    mixed = replace(proof.source_leg, header=other.source_leg.header)
    assert refusal(replace(proof, source_leg=mixed)) == "receipt_inclusion"
    moved = replace(proof.source_leg, transaction_index=1)
    assert refusal(replace(proof, source_leg=moved)) == "receipt_inclusion"
    beyond = replace(proof.source_leg, log_index=1)
    assert refusal(replace(proof, source_leg=beyond)) == "log_index"
