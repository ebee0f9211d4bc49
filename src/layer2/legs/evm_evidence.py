"""The rule for evidence from an EVM layer: one log, in one receipt, under one header."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.contracts.htlc import HTLC_ADDRESS, ClaimedEvent, HtlcLock, RefundedEvent, parse_event
from layer2.errors.base import FormatError, ProofRefused
from layer2.formats import merkle_patricia
from layer2.formats.evm_header import EvmHeader, decode_header
from layer2.formats.evm_receipt import decode_receipt
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.shown import BlockRef, LegOutcome, LegShown, Shown

__all__ = ["IncludedEvent", "read_event", "shown_of"]


@dataclass(frozen=True, slots=True)
class IncludedEvent:
    """A contract's event and the header under which it is included."""

    event: ClaimedEvent | RefundedEvent
    header: EvmHeader


def shown_of(evidence: EvmReceiptEvidence, lock: HtlcLock) -> LegShown:
    """Check that the evidence shows the end of exactly this lock, and return what it shows.

    Raises:
        ProofRefused: it shows something else, or nothing.
        FormatError: a field of the lock does not fit its place in the contract's call.
    """
    included = read_event(evidence, lock.contract)
    event, header = included.event, included.header
    if event.lock_id != lock.lock_id:
        raise ProofRefused("lock_id", "the event ends another lock than the one that the terms describe")
    if event.payment_hash != lock.payment_hash:
        raise ProofRefused("payment_hash", "the event is under another payment hash than the terms")
    # The genuine contract's address commits to its code; the verifier's policy lists others.
    shown = {Shown.INCLUDED, Shown.GENUINE_CONTRACT} if lock.contract == HTLC_ADDRESS else {Shown.INCLUDED}
    return LegShown(
        outcome=LegOutcome.COLLECTED if isinstance(event, ClaimedEvent) else LegOutcome.RETURNED,
        shown=frozenset(shown),
        header=BlockRef(header.number, header.hash, header.timestamp),
        contract=lock.contract,
    )


def read_event(evidence: EvmReceiptEvidence, contract: bytes) -> IncludedEvent:
    """Follow the evidence from the header to the event.

    Args:
        contract: 20 bytes; an event of another contract is refused.

    Raises:
        ProofRefused: the receipt is not under the header, the transaction failed, or the log does not end a lock.

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
    return IncludedEvent(event, header)
