"""What a proof shows, and each way in which it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey

from layer2.errors import InvalidRequest, ProofRefused
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evidence import EvmReceiptEvidence, LightningPaymentEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.invoices import CLOCK_TOLERANCE
from layer2.legs.lightning import LightningLeg
from layer2.legs.shown import LegOutcome, OpenPoint, Shown
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import OFFLINE, ProofPolicy, Requirement
from proofs import made_proofs as made

STRICT = ProofPolicy(
    Requirement.NOTHING,
    providers=frozenset({made.PROVIDER_KEY}),
    networks=frozenset({"regtest"}),
    tokens={60808: {made.TOKEN: 8}, 33: {made.TOKEN: 8}},
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


def test_a_transfer_between_two_chains_shows_both_locks() -> None:
    report = check_proof(made.between_chains(), STRICT)
    assert report.outcome is ProofOutcome.COMPLETED
    assert report.source.header is not None
    assert report.destination.header is not None
    assert [leg.outcome for leg in (report.source, report.destination)] == [LegOutcome.COLLECTED] * 2
    points = [matter.point for matter in check_proof(made.between_chains(), OFFLINE).open_points]
    assert (points.count(OpenPoint.HEADER), points.count(OpenPoint.ASSET)) == (2, 2)
    assert OpenPoint.PAYMENT not in points


def test_a_refund_between_two_chains_needs_no_second_lock() -> None:
    terms = made.terms(made.evm_leg(), made.rootstock_leg())
    both = made.between_chains(terms, event="Refunded")
    assert check_proof(both, STRICT).outcome is ProofOutcome.REFUNDED
    one = check_proof(replace(both, destination_leg=None), STRICT)
    assert one.outcome is ProofOutcome.REFUNDED
    assert [matter.point for matter in one.open_points if matter.point is OpenPoint.LEG] == [OpenPoint.LEG]
    claimed = made.between_chains(terms)
    assert refusal(replace(both, destination_leg=claimed.destination_leg)) == "outcome"


def test_the_lock_of_one_chain_is_not_evidence_for_the_other() -> None:
    proof = made.between_chains()
    assert refusal(replace(proof, destination_leg=proof.source_leg)) == "layer"
    assert isinstance(proof.source_leg, EvmReceiptEvidence)
    relabelled = replace(proof.source_leg, protocol=Layer2ProtocolType.ROOTSTOCK)
    assert refusal(replace(proof, destination_leg=relabelled)) == "lock_id"


def test_two_legs_on_one_layer_are_refused() -> None:
    terms = made.terms(made.evm_leg(), made.evm_leg(amount=made.AMOUNT))
    assert refusal(made.between_chains(terms)) == "legs"


def test_what_the_policy_does_not_ask_is_reported_as_open() -> None:
    matters = check_proof(made.to_lightning(), OFFLINE).open_points
    assert {matter.point for matter in matters} == set(OpenPoint) - {OpenPoint.LEG, OpenPoint.PREIMAGE}
    points = " ".join(str(matter) for matter in matters)
    assert "is on the chain" in points
    assert made.PROVIDER_KEY.hex() in points
    assert "token" in points
    assert "the Lightning payment was made" in points
    assert "anything of value moved" in points


def test_only_what_no_file_can_show_has_to_be_declared() -> None:
    proof = made.between_chains()
    undeclared = [matter.point for matter in check_proof(proof, OFFLINE).undeclared]
    assert undeclared == [OpenPoint.PROVIDER, OpenPoint.ASSET, OpenPoint.ASSET, OpenPoint.TEST_MONEY]
    for field, points in {
        "providers": [OpenPoint.ASSET, OpenPoint.ASSET, OpenPoint.TEST_MONEY],
        "tokens": [OpenPoint.PROVIDER, OpenPoint.TEST_MONEY],
        "networks": [OpenPoint.PROVIDER, OpenPoint.ASSET, OpenPoint.ASSET],
    }.items():
        report = check_proof(proof, replace(OFFLINE, **{field: getattr(STRICT, field)}))
        assert [matter.point for matter in report.undeclared] == points
    # What stays open then is about the headers, which a node or a trusted header closes.
    strict = check_proof(proof, STRICT)
    assert strict.undeclared == ()
    assert {matter.point for matter in strict.open_points} == {OpenPoint.HEADER}


def test_a_payee_that_makes_its_own_preimages_shows_that_the_payment_was_made() -> None:
    policy = replace(STRICT, own_preimage_payees=frozenset({made.PAYEE.public_key.format()}))
    report = check_proof(made.to_lightning(), policy)
    assert Shown.INDEPENDENT_PAYEE in report.destination.shown
    assert OpenPoint.PAYMENT not in {matter.point for matter in report.open_points}
    policy = replace(STRICT, own_preimage_payees=frozenset({STRANGER.public_key.format()}))
    assert refusal(made.to_lightning(), policy) == "payee"


def test_the_hold_invoice_of_an_honest_provider_shows_no_payment_under_any_policy() -> None:
    # The forger obtains a hold invoice of its own hash from an honest node, never pays it, signs terms with its own
    # key, locks to itself and claims.
    terms = made.terms(
        made.lightning_leg(amount=made.AMOUNT + made.FEE),
        made.evm_leg(amount=made.AMOUNT),
        provider=STRANGER.public_key.format()[1:],
    )
    assert isinstance(terms.destination, EvmLeg)
    forged = TransferProof(
        made.signed(terms, STRANGER),
        LightningPaymentEvidence(made.PREIMAGE),
        made.evidence_of(terms.destination, terms),
    )
    honest = frozenset({made.PAYEE.public_key.format()})
    policy = replace(STRICT, providers=frozenset({terms.provider}), own_preimage_payees=honest)
    assert refusal(forged, policy) == "payee"
    report = check_proof(forged, replace(policy, own_preimage_payees=None))
    assert Shown.INDEPENDENT_PAYEE not in report.source.shown
    assert any(matter.point is OpenPoint.PAYMENT and "taker paid" in matter.text for matter in report.open_points)


def test_terms_signed_by_another_party_are_refused() -> None:
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


@pytest.mark.parametrize("make", [made.to_lightning, made.to_bob], ids=["destination", "source"])
def test_terms_are_issued_while_their_invoice_can_be_paid_by_the_tolerance_of_the_agreement(
    make: Callable[..., TransferProof],
) -> None:
    legs = make().terms.terms
    for issued_at, check in {
        made.INVOICE_TIME - CLOCK_TOLERANCE: None,
        made.INVOICE_TIME - CLOCK_TOLERANCE - 1: "invoice_time",
        made.INVOICE_TIME + made.INVOICE_EXPIRY: None,
        made.INVOICE_TIME + made.INVOICE_EXPIRY + 1: "invoice_time",
    }.items():
        proof = make(replace(legs, issued_at=issued_at))
        if check is None:
            assert check_proof(proof, STRICT).outcome is ProofOutcome.COMPLETED
        else:
            assert refusal(proof) == check


def test_a_refund_beside_a_preimage_is_refused() -> None:
    proof = replace(made.refunded(), destination_leg=LightningPaymentEvidence(made.PREIMAGE))
    assert refusal(proof) == "outcome"


def test_a_claim_without_evidence_of_the_other_leg_is_not_a_completed_transfer() -> None:
    for proof, missing in (
        (made.to_lightning(), "destination_leg"),
        (made.to_bob(), "source_leg"),
        (made.between_chains(), "source_leg"),
        (made.between_chains(), "destination_leg"),
    ):
        changes: dict[str, Any] = {missing: None}
        report = check_proof(replace(proof, **changes), STRICT)
        assert report.outcome is ProofOutcome.PARTIAL
        assert OpenPoint.LEG in {matter.point for matter in report.open_points}
        empty = report.source if missing == "source_leg" else report.destination
        assert (empty.outcome, empty.shown, empty.header) == (None, frozenset(), None)


def test_a_preimage_alone_shows_no_end() -> None:
    assert refusal(replace(made.to_lightning(), source_leg=None)) == "evidence"
    assert refusal(replace(made.to_bob(), destination_leg=None)) == "evidence"
    assert refusal(replace(made.to_bob(), source_leg=None, destination_leg=None)) == "evidence"


def test_no_evidence_of_a_bitcoin_leg_is_known() -> None:
    keys = [PrivateKey(bytes([number]) * 32).public_key.format() for number in (1, 2, 3)]
    leg = BitcoinLeg(
        prefix="bcrt",
        amount=made.AMOUNT,
        payer=keys[0],
        payee=keys[1],
        payee_release=keys[2],
        payment_hash=made.PREIMAGE.payment_hash,
        locktime=900_000,
        issued_height=800_000,
        depth=3,
        fee_floor=1000,
        finality=Finality.SAFE,
    )
    terms = made.terms(destination=leg)
    assert refusal(made.to_lightning(terms)) == "evidence"
    report = check_proof(replace(made.to_lightning(terms), destination_leg=None), STRICT)
    assert report.outcome is ProofOutcome.PARTIAL
    other = replace(leg, payment_hash=bytes(32))
    assert refusal(made.to_lightning(made.terms(destination=other))) == "payment_hash"


@pytest.mark.parametrize(
    "tokens", [{60808: frozenset({made.TOKEN})}, frozenset({made.TOKEN})], ids=["no decimals", "no chains"]
)
def test_a_policys_tokens_name_their_decimals(tokens: Any) -> None:
    with pytest.raises(InvalidRequest, match="decimals"):
        replace(STRICT, tokens=tokens)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("requires", "finalized", "a Requirement, not 'finalized'"),
        ("requires", None, "a Requirement, not None"),
        ("providers", {made.PROVIDER_KEY.hex()}, "32 or 33 bytes, not a str"),
        ("providers", made.PROVIDER_KEY.hex(), "32 or 33 bytes, not a str"),
        ("providers", {made.PROVIDER_KEY[1:]}, f"32 or 33 bytes, not {len(made.PROVIDER_KEY) - 1} bytes"),
        ("networks", "mainnet", "a set of names, not one text"),
        ("tokens", {60808: {made.TOKEN.hex(): 8}}, "20 bytes, not a str"),
        ("contracts", {60808: {"0x" + "44" * 20}}, "20 bytes, not a str"),
        ("own_preimage_payees", {bytes(32)}, "33 bytes, not 32 bytes"),
        ("trusted_headers", {Layer2ProtocolType.BOB: "ab" * 32}, "32 bytes, not a str"),
        ("trusted_headers", {"BOB": bytes(32)}, "a Layer2ProtocolType, not 'BOB'"),
        ("work", {"BITCOIN": 1}, "BITCOIN and ROOTSTOCK"),
    ],
)
def test_a_policy_of_another_form_is_an_error_of_the_caller_and_not_of_the_proof(
    field: str, value: Any, named: str
) -> None:
    # As text, a key would refuse each proof of the provider that it names, and a layer's name would be ignored.
    with pytest.raises(InvalidRequest, match=f"^.*{field}: .*{re.escape(named)}"):
        replace(OFFLINE, **{field: value})


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


def test_test_money_does_not_count_under_a_policy_for_mainnet() -> None:
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
    points = " ".join(str(matter) for matter in check_proof(made.to_lightning(terms), OFFLINE).open_points)
    assert f"{made.TOKEN.hex()} has 0 decimals" in points


def test_the_lock_must_hold_the_amount_of_the_terms_in_the_tokens_unit() -> None:
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
