"""Checking a proof offline: what it shows, what it leaves open, or why it is refused.

A report is not a verdict about money: it lists what was shown and what was not. Whether a header belongs to a chain
is for a node to say; a manager asks its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from layer2.contracts.htlc import ClaimedEvent
from layer2.errors import FormatError, InvalidAmount, ProofRefused, TermsRefused
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.formats.evm_header import EvmHeader
from layer2.formats.signed_terms import check_terms_signature, terms_hash
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, rescaled
from layer2.proofs.evidence import EvmReceiptEvidence, LegEvidence, LightningPaymentEvidence
from layer2.proofs.evm_receipt import IncludedEvent, check_lock_event
from layer2.proofs.header_chain import check_ancestor
from layer2.proofs.lightning_payment import check_invoice, check_payment
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import ProofPolicy
from layer2.terms import EvmLeg, Leg, LightningLeg, Terms

__all__ = ["LegReport", "ProofReport", "Shown", "check_proof"]

_BOLT11_PREFIXES = {
    "mainnet": frozenset({"bc"}),
    "testnet": frozenset({"tb", "tbs"}),
    "regtest": frozenset({"bcrt"}),
}
_CHAIN_IDS = {
    # Chain ids of BOB: facts of the layer, https://docs.gobob.xyz (60808 mainnet, 808813 Sepolia). A local
    # network uses the mainnet's id on purpose, so only its Lightning prefix tells it apart.
    "mainnet": frozenset({60808}),
    "testnet": frozenset({808813}),
    "regtest": frozenset({60808}),
}


class Shown(Enum):
    """One thing that a leg's evidence shows."""

    INCLUDED = "included"
    """The end of the leg's lock is included under the header of the report."""
    GENUINE_CONTRACT = "genuine_contract"
    """The contract's address commits to the code that keeps the promises."""
    TRUSTED_HEADER = "trusted_header"
    """That header is the one that the policy trusts, or an ancestor of it."""
    PREIMAGE = "preimage"
    """The preimage of exactly the invoice in the terms: the payment could be collected."""
    INDEPENDENT_PAYEE = "independent_payee"
    """The invoice's signer is one whom the policy holds independent: so the payment was made."""


@dataclass(frozen=True, slots=True)
class LegReport:
    """What one leg's evidence shows. ``header`` is what an own node would have to confirm."""

    protocol: Layer2ProtocolType
    shown: frozenset[Shown]
    header: EvmHeader | None = None
    leg: Leg | None = None


@dataclass(frozen=True, slots=True)
class ProofReport:
    """What a proof shows offline."""

    outcome: ProofOutcome
    terms: Terms
    source: LegReport
    destination: LegReport
    provider_is_known: bool
    """The policy names the key that signed the terms."""
    open_points: tuple[str, ...]
    """What was not checked, each in a sentence. Without a trusted header the first is the header's place in the
    chain."""


def check_proof(proof: TransferProof, policy: ProofPolicy, *, headers: Sequence[bytes] = ()) -> ProofReport:
    """Check everything about a proof that needs no node.

    Args:
        proof: terms and evidence.
        policy: what is required.
        headers: RLP of the headers after that of the proof, oldest first, up to the policy's ``trusted_header`` and
            with it; none where the policy names none.

    Returns:
        What it shows. A refunded transfer's proof is a good proof of the refund, and its ``outcome`` says so.

    Raises:
        ProofRefused: ``check`` names the first check that failed.
    """
    terms = proof.terms.terms
    _check_terms(proof, policy)
    digest = terms_hash(terms)
    invoice = _invoice_of(terms)
    source = _check_leg(terms.source, proof.source_leg, terms, digest)
    destination = _check_leg(terms.destination, proof.destination_leg, terms, digest)
    included = source if source is not None else destination
    if included is None:
        raise ProofRefused("evidence", "no leg shows how the transfer ended")
    _check_contract(included, terms, policy)
    _check_header(included, policy, headers)
    outcome = _outcome(proof, included, invoice)
    return ProofReport(
        outcome=outcome,
        terms=terms,
        source=_report(terms.source, proof.source_leg, source, policy),
        destination=_report(terms.destination, proof.destination_leg, destination, policy),
        provider_is_known=policy.providers is not None,
        open_points=_open_points(terms, policy, included),
    )


def _check_terms(proof: TransferProof, policy: ProofPolicy) -> None:
    terms = proof.terms.terms
    try:
        check_terms_signature(proof.terms)
    except TermsRefused as error:
        raise ProofRefused("terms_signature", error.message) from error
    if policy.providers is not None and terms.provider not in policy.providers:
        raise ProofRefused("provider", f"the policy does not name the provider {terms.provider.hex()}")
    if policy.networks is not None and terms.network not in policy.networks:
        raise ProofRefused("network", f"the proof is of {terms.network!r}, which the policy does not count")
    if terms.network not in _BOLT11_PREFIXES:
        raise ProofRefused("network", f"{terms.network!r} is not a network")
    if terms.asset != BTC.code:
        raise ProofRefused("asset", f"the asset {terms.asset!r} is not known")
    if {type(terms.source), type(terms.destination)} != {EvmLeg, LightningLeg}:
        raise ProofRefused("legs", "one leg must be an EVM layer's and the other Lightning's")
    if terms.amount <= 0:
        raise ProofRefused("amount", "the amount is zero")
    for leg, amount in ((terms.source, terms.source_amount), (terms.destination, terms.amount)):
        match leg:
            case EvmLeg():
                _check_evm_terms(leg, amount, terms, policy)
            case LightningLeg():
                if leg.network not in _BOLT11_PREFIXES[terms.network]:
                    raise ProofRefused("network", f"Lightning's {leg.network!r} is not part of {terms.network}")


def _check_evm_terms(leg: EvmLeg, amount: int, terms: Terms, policy: ProofPolicy) -> None:
    if leg.protocol is not Layer2ProtocolType.BOB:
        raise ProofRefused("legs", f"a lock on {leg.protocol.value} is not known")
    if leg.chain_id not in _CHAIN_IDS[terms.network]:
        raise ProofRefused("network", f"chain {leg.chain_id} is not part of {terms.network}")
    try:
        expected = rescaled(amount, BTC.decimals, leg.token_decimals)
    except InvalidAmount as error:
        raise ProofRefused("amount", error.message) from error
    if leg.amount != expected:
        raise ProofRefused("amount", "the lock's amount is another than the terms'")
    if policy.tokens is None:
        return
    decimals = policy.tokens.get(leg.chain_id, {}).get(leg.token)
    if decimals is None:
        raise ProofRefused("token", f"the token {leg.token.hex()} is not one that the policy counts")
    if leg.token_decimals != decimals:
        raise ProofRefused("token", f"the token has {decimals} decimals, the terms give it {leg.token_decimals}")


def _invoice_of(terms: Terms) -> Bolt11Invoice:
    if isinstance(terms.source, LightningLeg):
        return check_invoice(terms.source, terms.payment_hash, terms.source_amount)
    if isinstance(terms.destination, LightningLeg):
        return check_invoice(terms.destination, terms.payment_hash, terms.amount)
    raise ProofRefused("legs", "no leg is Lightning's")


def _check_leg(leg: Leg, evidence: LegEvidence | None, terms: Terms, digest: bytes) -> IncludedEvent | None:
    """Check the leg's evidence; return the event of an EVM leg."""
    match leg, evidence:
        case _, None:
            return None
        case EvmLeg(), EvmReceiptEvidence():
            try:
                return check_lock_event(evidence, leg, terms.payment_hash, digest)
            except FormatError as error:
                raise ProofRefused("lock", error.message) from error
        case LightningLeg(), LightningPaymentEvidence():
            check_payment(evidence, terms.payment_hash)
            return None
    raise ProofRefused("evidence", f"the evidence is of another kind than the {leg.protocol.value} leg")


def _check_contract(included: IncludedEvent, terms: Terms, policy: ProofPolicy) -> None:
    leg = terms.source if isinstance(terms.source, EvmLeg) else terms.destination
    if not isinstance(leg, EvmLeg):
        raise ProofRefused("legs", "no leg is an EVM layer's")
    if not included.contract_is_genuine and leg.contract not in policy.contracts.get(leg.chain_id, frozenset()):
        raise ProofRefused(
            "contract",
            f"the address {leg.contract.hex()} does not commit to the contract's code, and no policy names it",
        )


def _check_header(included: IncludedEvent, policy: ProofPolicy, headers: Sequence[bytes]) -> None:
    if policy.trusted_header is not None:
        check_ancestor(included.header, headers, policy.trusted_header)
    elif headers:
        raise ProofRefused("header_chain", "headers show nothing where the policy names no trusted one")


def _outcome(proof: TransferProof, included: IncludedEvent, invoice: Bolt11Invoice) -> ProofOutcome:
    payment = next(
        (leg for leg in (proof.source_leg, proof.destination_leg) if isinstance(leg, LightningPaymentEvidence)), None
    )
    if not isinstance(included.event, ClaimedEvent):
        if payment is not None:
            raise ProofRefused("outcome", "one leg shows a refund and the other a preimage")
        return ProofOutcome.REFUNDED
    if payment is None:
        raise ProofRefused("evidence", "the Lightning leg has no evidence")
    # Once a preimage is public anybody can sign an invoice for its hash, so the invoice must be older.
    if invoice.timestamp > included.header.timestamp:
        raise ProofRefused("invoice_time", "the invoice was made after the preimage was public")
    return ProofOutcome.COMPLETED


def _report(leg: Leg, evidence: LegEvidence | None, included: IncludedEvent | None, policy: ProofPolicy) -> LegReport:
    shown: set[Shown] = set()
    if included is not None:
        shown.add(Shown.INCLUDED)
        if included.contract_is_genuine:
            shown.add(Shown.GENUINE_CONTRACT)
        if policy.trusted_header is not None:
            shown.add(Shown.TRUSTED_HEADER)
    if isinstance(leg, LightningLeg) and evidence is not None:
        shown.add(Shown.PREIMAGE)
        if policy.payees is not None:
            if leg.payee not in policy.payees:
                raise ProofRefused("payee", "the invoice's signer is not one whom the policy holds independent")
            shown.add(Shown.INDEPENDENT_PAYEE)
    return LegReport(leg.protocol, frozenset(shown), included.header if included is not None else None, leg)


def _open_points(terms: Terms, policy: ProofPolicy, included: IncludedEvent) -> tuple[str, ...]:
    points: list[str] = []
    if policy.trusted_header is None:
        points.append(
            f"that block {included.header.number} (0x{included.header.hash.hex()}) is on the chain: ask your own node"
        )
    if policy.providers is None:
        points.append(f"who the provider {terms.provider.hex()} is: compare the key with one that you know")
    if policy.tokens is None:
        leg = terms.source if isinstance(terms.source, EvmLeg) else terms.destination
        assert isinstance(leg, EvmLeg), "every pair has an EVM side"
        points.append(
            f"that the token is the bitcoin that you mean, and that 0x{leg.token.hex()} has {leg.token_decimals} "
            "decimals"
        )
    if policy.payees is None:
        points.append(
            "that Lightning paid, and not only that it could: the invoice's signer may have made the preimage"
        )
    if policy.networks is None and terms.network != "mainnet":
        points.append(f"nothing of value moved: this is {terms.network}")
    return tuple(points)
