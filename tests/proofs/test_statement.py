"""The provider's completion statement: what it is worth, and what makes it worthless."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from layer2.errors import FormatError, ProofRefused, ProofUndecided
from layer2.formats import canonical_json
from layer2.formats.tagged_signature import json_digest
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.shown import OpenPoint, PreimageMaker
from layer2.manager.verification import verify_proof
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import FINAL, OFFLINE, Confirmation, ProofLevel, ProofPolicy, Requirement
from layer2.proofs.report import ProofReport
from layer2.proofs.statement import StatedFinality, StatedLeg, StatedOutcome, statement_digest
from layer2.terms.documents import Scheme, Signature, SignedTerms
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made
from proofs.made_statements import FINALIZED, SETTLED, UNFUNDED, signed, stated, statement

BOB = Layer2ProtocolType.BOB
KNOWN = frozenset({made.PROVIDER_KEY})
STATED = ProofPolicy(Requirement.STATED, providers=KNOWN)
REFUNDED = StatedOutcome.REFUNDED


def levels(report: ProofReport) -> tuple[ProofLevel, ProofLevel]:
    return report.source.level, report.destination.level


def points(report: ProofReport) -> set[OpenPoint]:
    return {each.point for each in report.open_points}


def refused(proof: TransferProof, policy: ProofPolicy = OFFLINE) -> str:
    with pytest.raises(ProofRefused) as caught:
        check_proof(proof, policy)
    return caught.value.check


def written(proof: TransferProof) -> Any:
    return json.loads(proof.to_bytes())


def read(value: Any) -> TransferProof:
    return TransferProof.from_bytes(canonical_json.encode(value))


# What it is worth


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (made.to_lightning, StatedOutcome.COMPLETED),
        (made.to_bob, StatedOutcome.COMPLETED),
        (made.between_chains, StatedOutcome.COMPLETED),
        (made.refunded, REFUNDED),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_known_provider_states_both_legs(make: Callable[[], TransferProof], outcome: StatedOutcome) -> None:
    proof = stated(make(), outcome)
    report = check_proof(proof, STATED)
    assert levels(report) == (ProofLevel.STATED, ProofLevel.STATED)
    # It does not say that the block of the proof is the one that the provider saw.
    assert OpenPoint.HEADER in points(report)
    assert report.outcome.value == outcome.value
    assert report.statement == proof.statement.statement if proof.statement else None
    assert TransferProof.from_bytes(proof.to_bytes()) == proof


@pytest.mark.parametrize("policy", [OFFLINE, ProofPolicy(Requirement.STATED)], ids=["nothing", "stated"])
def test_the_statement_of_a_provider_that_the_policy_does_not_name_is_worth_nothing(policy: ProofPolicy) -> None:
    proof = stated(made.to_lightning())
    report = check_proof(proof, OFFLINE)
    assert levels(report) == (ProofLevel.OFFLINE, ProofLevel.OFFLINE)
    if policy.requires is Requirement.STATED:
        with pytest.raises(ProofUndecided, match="that the policy names"):
            check_proof(proof, policy)


def test_a_policy_that_requires_a_statement_accepts_no_proof_without_one() -> None:
    for proof in (made.to_lightning(), made.to_bob(), made.refunded(), made.between_chains()):
        with pytest.raises(ProofUndecided, match="completion statement"):
            check_proof(proof, STATED)


@pytest.mark.parametrize("requirement", [Requirement.AS_AGREED, Requirement.FINALIZED])
def test_a_statement_replaces_no_block(requirement: Requirement) -> None:
    for proof in (stated(made.to_lightning()), stated(made.refunded(), REFUNDED)):
        with pytest.raises(ProofUndecided, match="block 1234"):
            check_proof(proof, replace(STATED, requires=requirement))


def test_a_block_that_is_confirmed_is_known_better_than_a_statement() -> None:
    proof = stated(made.to_lightning())
    header = check_proof(proof, OFFLINE).source.header
    assert header is not None
    confirmed = Confirmation({(BOB, header.hash): Finality.FINALIZED})
    for policy in (STATED, replace(FINAL, providers=KNOWN)):
        assert levels(check_proof(proof, policy, confirmed=confirmed)) == (ProofLevel.FINALIZED, ProofLevel.STATED)


def test_a_leg_of_unknown_end_stays_below_a_confirmed_one() -> None:
    proof = made.to_lightning()
    header = check_proof(proof, OFFLINE).source.header
    assert header is not None
    confirmed = Confirmation({(BOB, header.hash): Finality.FINALIZED})
    with pytest.raises(ProofUndecided, match="LIGHTNING"):
        check_proof(proof, STATED, confirmed=confirmed)


def test_a_statement_replaces_no_evidence() -> None:
    proof = replace(stated(made.between_chains()), destination_leg=None)
    report = check_proof(proof, STATED)
    assert (report.outcome, report.destination.outcome) == (ProofOutcome.PARTIAL, None)
    assert levels(report) == (ProofLevel.STATED, ProofLevel.STATED)
    assert OpenPoint.LEG in points(report)
    with pytest.raises(ProofRefused, match="no leg shows how the transfer ended"):
        check_proof(replace(proof, source_leg=None), STATED)


async def test_a_statement_gives_a_verdict_only_to_those_who_accept_it() -> None:
    assert await verify_proof(stated(made.to_lightning()), STATED, {})
    with pytest.raises(ProofUndecided):
        await verify_proof(stated(made.to_lightning()), replace(FINAL, providers=KNOWN), {})
    assert not await verify_proof(replace(stated(made.between_chains()), destination_leg=None), STATED, {})
    assert not await verify_proof(stated(made.refunded(), REFUNDED), STATED, {})


def test_a_provider_that_acknowledges_its_receipt_answers_whether_it_was_paid() -> None:
    assert OpenPoint.PAYMENT in points(check_proof(made.to_bob(), replace(OFFLINE, providers=KNOWN)))
    assert OpenPoint.PAYMENT not in points(check_proof(stated(made.to_bob()), STATED))
    # What it paid itself is a claim in its own favour.
    assert OpenPoint.PAYMENT in points(check_proof(stated(made.to_lightning()), STATED))


# What contradicts the evidence


@pytest.mark.parametrize("policy", [OFFLINE, STATED, ProofPolicy(Requirement.NOTHING, providers=KNOWN)])
def test_a_statement_that_contradicts_the_evidence_refuses_the_proof(policy: ProofPolicy) -> None:
    assert refused(stated(made.refunded()), policy) == "statement"
    lies: dict[str, Any] = {"destination": SETTLED}
    assert refused(stated(made.to_lightning(), REFUNDED, **lies), policy) == "statement"


def test_a_leg_that_is_shown_was_funded() -> None:
    terms = made.terms(made.lightning_leg(amount=made.AMOUNT + made.FEE), made.evm_leg(amount=made.AMOUNT))
    assert isinstance(terms.destination, EvmLeg)
    destination = made.evidence_of(terms.destination, terms, event="Refunded")
    proof = TransferProof(made.signed(terms), None, destination)
    assert check_proof(stated(proof, REFUNDED, destination=FINALIZED), STATED).outcome is ProofOutcome.REFUNDED
    assert refused(stated(proof, REFUNDED, destination=UNFUNDED), STATED) == "statement"


# What makes it no statement of the provider


def test_a_statement_about_other_terms_is_refused() -> None:
    proof = made.to_lightning()
    other = statement(replace(proof.terms.terms, quote_id="ef" * 16))
    assert refused(replace(proof, statement=signed(other))) == "statement_terms"


def test_a_statement_that_another_key_signed_is_refused() -> None:
    proof = made.to_lightning()
    forged = signed(statement(proof.terms.terms), made.PAYEE)
    assert refused(replace(proof, statement=forged)) == "statement_signature"


def test_the_signature_of_the_terms_signs_no_statement() -> None:
    proof = made.to_lightning()
    forged = replace(signed(statement(proof.terms.terms)), signature=proof.terms.signature)
    assert refused(replace(proof, statement=forged)) == "statement_signature"


def test_a_provider_with_an_ecdsa_key_signs_its_statement_with_it() -> None:
    key = made.PROVIDER.public_key.format()
    terms = made.terms(provider=key)

    def ecdsa(digest: bytes) -> Signature:
        recoverable = made.PROVIDER.sign_recoverable(digest, hasher=None)
        return Signature(Scheme.ECDSA, recoverable[:64])

    of_terms = SignedTerms(terms, ecdsa(terms_hash(terms)))
    unsigned = statement(terms)
    proof = replace(made.to_lightning(terms), terms=of_terms)
    proof = replace(proof, statement=replace(signed(unsigned), signature=ecdsa(statement_digest(unsigned))))
    policy = replace(STATED, providers=frozenset({key}))
    assert levels(check_proof(TransferProof.from_bytes(proof.to_bytes()), policy))[0] is ProofLevel.STATED
    assert refused(replace(proof, statement=signed(unsigned)), policy) == "statement_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"received": made.AMOUNT},
        {"paid": made.AMOUNT + 1},
        {"received": 0, "paid": 0},
    ],
)
def test_the_amounts_of_a_completed_transfer_are_those_of_the_terms(change: dict[str, Any]) -> None:
    assert refused(stated(made.to_lightning(), **change)) == "statement_amounts"


@pytest.mark.parametrize("change", [{"received": 1}, {"paid": 1}])
def test_a_refunded_transfer_moved_nothing(change: dict[str, Any]) -> None:
    assert refused(stated(made.refunded(), REFUNDED, **change)) == "statement_amounts"


@pytest.mark.parametrize(
    "change",
    [
        {"source": SETTLED},
        {"source": UNFUNDED},
        {"source": replace(FINALIZED, block=None)},
        {"destination": FINALIZED},
        {"destination": UNFUNDED},
        {"destination": StatedLeg(FINALIZED.block, StatedFinality.SETTLED)},
    ],
)
def test_a_leg_ends_as_its_layer_lets_it(change: dict[str, Any]) -> None:
    assert refused(stated(made.to_lightning(), **change)) == "statement_finality"


def test_a_refund_of_nothing_is_not_stated() -> None:
    assert refused(stated(made.refunded(), REFUNDED, source=UNFUNDED)) == "statement_finality"
    with_block = StatedLeg(FINALIZED.block, StatedFinality.UNFUNDED)
    assert refused(stated(made.refunded(), REFUNDED, destination=with_block)) == "statement_finality"


def test_a_statement_is_not_older_than_its_terms() -> None:
    issued_at = made.terms().issued_at
    assert refused(stated(made.to_lightning(), stated_at=issued_at - 1)) == "statement_time"
    check_proof(stated(made.to_lightning(), stated_at=issued_at), STATED)


# The format


def test_the_signed_bytes_are_the_canonical_statement_under_its_own_tag() -> None:
    proof = stated(made.to_lightning())
    assert proof.statement is not None
    of_terms, of_statement = written(proof)["attestations"]
    assert of_terms["type"] == "terms_signature"
    assert of_statement == {
        "type": "completion_statement",
        "statement": {
            "version": 1,
            "terms_hash": terms_hash(proof.terms.terms).hex(),
            "outcome": "completed",
            "received": str(made.AMOUNT + made.FEE),
            "paid": str(made.AMOUNT),
            "source": {"block": {"number": 1234, "hash": "ab" * 32}, "finality": "finalized"},
            "destination": {"block": None, "finality": "settled"},
            "stated_at": proof.terms.terms.issued_at + 100,
        },
        "scheme": "bip340",
        "signature": proof.statement.signature.data.hex(),
    }
    digest = json_digest("layer2/completion/v1", of_statement["statement"])
    assert digest == statement_digest(proof.statement.statement)


def test_the_attestations_are_the_terms_signature_and_at_most_one_statement() -> None:
    value = written(stated(made.to_lightning()))
    of_terms, of_statement = value["attestations"]
    for wrong in (
        [],
        [of_statement],
        [of_statement, of_terms],
        [of_terms, of_terms],
        [of_terms, of_statement, of_statement],
        [of_terms, {**of_statement, "type": "other"}],
    ):
        with pytest.raises(FormatError):
            read({**value, "attestations": wrong})


@pytest.mark.parametrize("part", ["attestation", "statement", "source", "destination", "block"])
def test_no_field_is_missing_or_added(part: str) -> None:
    def place(value: Any) -> Any:
        attestation = value["attestations"][1]
        places = {
            "attestation": attestation,
            "statement": attestation["statement"],
            "source": attestation["statement"]["source"],
            "destination": attestation["statement"]["destination"],
            "block": attestation["statement"]["source"]["block"],
        }
        return places[part]

    proof = stated(made.to_lightning())
    for name in tuple(place(written(proof))):
        value = written(proof)
        del place(value)[name]
        with pytest.raises(FormatError):
            read(value)
    value = written(proof)
    place(value)["more"] = 1
    with pytest.raises(FormatError):
        read(value)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("version", 2),
        ("terms_hash", "AB" * 32),
        ("terms_hash", "ab" * 31),
        ("outcome", "partial"),
        ("received", 100_420),
        ("paid", "0100000"),
        ("stated_at", -1),
        ("stated_at", 2**53),
        ("stated_at", "1"),
        ("source", None),
        ("source", {"block": None, "finality": "safe"}),
        ("source", {"block": {"number": -1, "hash": "ab" * 32}, "finality": "finalized"}),
        ("source", {"block": {"number": 1, "hash": "0x" + "ab" * 32}, "finality": "finalized"}),
    ],
)
def test_a_statement_of_another_form_is_not_read(name: str, wrong: object) -> None:
    value = written(stated(made.to_lightning()))
    value["attestations"][1]["statement"][name] = wrong
    with pytest.raises(FormatError):
        read(value)


@pytest.mark.parametrize("name", ["bolt12_payer_proof", "anchored_header"])
def test_evidence_of_a_reserved_type_is_refused_by_name(name: str) -> None:
    value = written(made.to_lightning())
    value["destination_leg"] = {"type": name}
    with pytest.raises(FormatError, match=f"{name}.*reserved"):
        read(value)


# Who made the preimage


def test_the_report_names_who_made_the_preimage() -> None:
    assert check_proof(made.to_bob(), OFFLINE).preimage_maker is PreimageMaker.TAKER
    assert check_proof(made.between_chains(), OFFLINE).preimage_maker is PreimageMaker.TAKER
    assert check_proof(made.to_lightning(), OFFLINE).preimage_maker is PreimageMaker.UNKNOWN
    payee = made.PAYEE.public_key.format()
    declared = replace(OFFLINE, own_preimage_payees=frozenset({payee}))
    assert check_proof(made.to_lightning(), declared).preimage_maker is PreimageMaker.DECLARED_PAYEE
    assert check_proof(made.refunded(), declared).preimage_maker is PreimageMaker.DECLARED_PAYEE
    other = replace(OFFLINE, own_preimage_payees=frozenset({bytes(33)}))
    assert check_proof(made.refunded(), other).preimage_maker is PreimageMaker.UNKNOWN


def test_a_refund_does_not_show_that_a_payment_came_back() -> None:
    terms = made.terms(made.lightning_leg(amount=made.AMOUNT + made.FEE), made.evm_leg(amount=made.AMOUNT))
    assert isinstance(terms.destination, EvmLeg)
    destination = made.evidence_of(terms.destination, terms, event="Refunded")
    report = check_proof(TransferProof(made.signed(terms), None, destination), OFFLINE)
    assert report.outcome is ProofOutcome.REFUNDED
    (text,) = [each.text for each in report.open_points if each.point is OpenPoint.LEG]
    assert "that the taker paid on LIGHTNING, or has its money back" in text


def test_a_preimage_alone_is_still_no_end_of_a_transfer() -> None:
    proof = replace(made.to_lightning(), source_leg=None, destination_leg=LightningPaymentEvidence(made.PREIMAGE))
    for policy in (STATED, replace(FINAL, providers=KNOWN)):
        assert refused(stated(proof), policy) == "evidence"
