"""The rule for evidence from an EVM layer: one log, in one receipt, under one header."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.contracts.htlc import HTLC_ADDRESS, ClaimedEvent, HtlcLock, RefundedEvent, parse_event
from layer2.errors import FormatError, ProofRefused
from layer2.formats import merkle_patricia
from layer2.formats.evm_header import EvmHeader, decode_header
from layer2.formats.evm_receipt import decode_receipt
from layer2.proofs.evidence import EvmReceiptEvidence
from layer2.terms import EvmLeg

__all__ = ["IncludedEvent", "check_lock_event", "lock_of", "read_event"]


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
    """
    if evidence.protocol is not leg.protocol:
        raise ProofRefused("layer", f"the evidence is of {evidence.protocol.value}, the leg of {leg.protocol.value}")
    included = read_event(evidence, leg.contract)
    if included.event.lock_id != lock_of(leg, payment_hash, terms_hash).lock_id:
        raise ProofRefused("lock_id", "the event ends another lock than the one that the terms describe")
    if included.event.payment_hash != payment_hash:
        raise ProofRefused("payment_hash", "the event is under another payment hash than the terms")
    return included
