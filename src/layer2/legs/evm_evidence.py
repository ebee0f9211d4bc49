"""The rule for evidence from an EVM layer: one log, in one receipt, under one header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layer2.contracts.htlc import HTLC_ADDRESS, ClaimedEvent, HtlcLock, RefundedEvent, parse_event
from layer2.errors import FormatError, InvalidAmount, ProofRefused
from layer2.formats import merkle_patricia
from layer2.formats.evm_header import EvmHeader, decode_header
from layer2.formats.evm_receipt import decode_receipt
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.shown import BlockRef, EvidencePolicy, LegOutcome, LegShown, OpenMatter, OpenPoint, Owed, Shown
from layer2.model.money import BTC, rescaled

if TYPE_CHECKING:
    from layer2.legs.evm import EvmLeg

__all__ = ["IncludedEvent", "check_lock", "check_lock_event", "lock_of", "read_event", "shown_of"]


@dataclass(frozen=True, slots=True)
class IncludedEvent:
    """A contract's event and the header under which it is included."""

    event: ClaimedEvent | RefundedEvent
    header: EvmHeader
    contract_is_genuine: bool
    """The contract's address commits to its code; otherwise the verifier's policy must vouch for it."""


def lock_of(leg: EvmLeg, payment_hash: bytes, terms_hash: bytes) -> HtlcLock:
    """The lock that the terms describe; its ``lock_id`` commits to every field of it."""
    return HtlcLock(
        chain_id=leg.chain_id,
        contract=leg.contract,
        payment_hash=payment_hash,
        token=leg.token,
        amount=leg.amount,
        payee=leg.payee,
        payer=leg.payer,
        deadline=leg.deadline,
        terms_hash=terms_hash,
    )


def check_lock(leg: EvmLeg, owed: Owed, policy: EvidencePolicy) -> tuple[OpenMatter, ...]:
    """Check that the lock of the terms holds what they owe, in a token and a contract that count.

    Returns:
        What that leaves open.

    Raises:
        ProofRefused: ``amount``, ``token`` or ``contract``.
    """
    try:
        expected = rescaled(owed.amount, BTC.decimals, leg.token_decimals)
    except InvalidAmount as error:
        raise ProofRefused("amount", error.message) from error
    if leg.amount != expected:
        raise ProofRefused("amount", "the lock's amount is another than the terms'")
    if leg.contract != HTLC_ADDRESS and leg.contract not in policy.contracts.get(leg.chain_id, frozenset()):
        raise ProofRefused(
            "contract",
            f"the address {leg.contract.hex()} does not commit to the contract's code, and no policy names it",
        )
    if policy.tokens is None:
        text = (
            f"that the token is the bitcoin that you mean, and that 0x{leg.token.hex()} has {leg.token_decimals} "
            f"decimals: compare it with a list of {leg.layer.value}'s tokens that you trust"
        )
        return (OpenMatter(OpenPoint.ASSET, text),)
    decimals = policy.tokens.get(leg.chain_id, {}).get(leg.token)
    if decimals is None:
        raise ProofRefused("token", f"the token {leg.token.hex()} is not one that the policy counts")
    if leg.token_decimals != decimals:
        raise ProofRefused("token", f"the token has {decimals} decimals, the terms give it {leg.token_decimals}")
    return ()


def shown_of(evidence: EvmReceiptEvidence, leg: EvmLeg, owed: Owed) -> LegShown:
    """Check that the evidence shows the end of exactly the lock of the terms, and return what it shows.

    Raises:
        ProofRefused: it shows something else, or nothing.
    """
    try:
        included = check_lock_event(evidence, leg, owed.payment_hash, owed.terms_hash)
    except FormatError as error:
        raise ProofRefused("lock", error.message) from error
    claimed = isinstance(included.event, ClaimedEvent)
    genuine = {Shown.GENUINE_CONTRACT} if included.contract_is_genuine else set()
    header = included.header
    return LegShown(
        outcome=LegOutcome.COLLECTED if claimed else LegOutcome.RETURNED,
        shown=frozenset({Shown.INCLUDED} | genuine),
        header=BlockRef(header.number, header.hash, header.timestamp),
        contract=leg.contract,
    )


def read_event(evidence: EvmReceiptEvidence, contract: bytes) -> IncludedEvent:
    """Follow the evidence from the header to the event.

    Args:
        contract: 20 bytes; an event of another contract is none.

    Raises:
        ProofRefused: the receipt is not under the header, the transaction failed, or the log is no end of a lock.

    Does not show that the header belongs to any chain.
    """
    try:
        header = decode_header(evidence.header)
    except FormatError as error:
        raise ProofRefused("header", error.message) from error
    try:
        value = merkle_patricia.verify(header.receipts_root, evidence.transaction_index, evidence.receipt_proof)
        receipt = decode_receipt(value)
    except FormatError as error:
        raise ProofRefused("receipt_inclusion", error.message) from error
    if not receipt.succeeded:
        raise ProofRefused("receipt_status", "the transaction failed")
    if evidence.log_index >= len(receipt.logs):
        raise ProofRefused("log_index", "the receipt has no such log")
    log = receipt.logs[evidence.log_index]
    try:
        event = parse_event(log.address, log.topics, log.data, contract=contract)
    except FormatError as error:
        raise ProofRefused("event", error.message) from error
    if not isinstance(event, ClaimedEvent | RefundedEvent):
        raise ProofRefused("event", "the log is neither a claim nor a refund by the contract of the terms")
    return IncludedEvent(event, header, contract == HTLC_ADDRESS)


def check_lock_event(
    evidence: EvmReceiptEvidence, leg: EvmLeg, payment_hash: bytes, terms_hash: bytes
) -> IncludedEvent:
    """Check that the evidence shows the end of exactly the lock that the terms describe.

    Raises:
        ProofRefused: it shows something else, or nothing.
        FormatError: a field of the leg does not fit its place in the contract's call.
    """
    if evidence.protocol is not leg.protocol:
        raise ProofRefused("layer", f"the evidence is of {evidence.protocol.value}, the leg of {leg.protocol.value}")
    included = read_event(evidence, leg.contract)
    if included.event.lock_id != lock_of(leg, payment_hash, terms_hash).lock_id:
        raise ProofRefused("lock_id", "the event ends another lock than the one that the terms describe")
    if included.event.payment_hash != payment_hash:
        raise ProofRefused("payment_hash", "the event is under another payment hash than the terms")
    return included
