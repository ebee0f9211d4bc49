"""The rule for evidence from an EVM layer: one log, in one receipt, under one header."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.contracts.htlc import HTLC_ADDRESS, ClaimedEvent, HtlcLock, RefundedEvent, parse_event
from layer2.errors.base import FormatError, ProofRefused
from layer2.formats import merkle_patricia
from layer2.formats.evm_header import EvmHeader, decode_header
from layer2.formats.evm_receipt import EvmReceipt, decode_receipt
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.shown import BlockRef, LegOutcome, LegShown, Shown

__all__ = [
    "IncludedEvent",
    "block_of",
    "event_of",
    "read_event",
    "shown_event",
    "shown_in",
    "shown_of",
]


@dataclass(frozen=True, slots=True)
class IncludedEvent:
    """A contract's event and the block under whose header it is included."""

    event: ClaimedEvent | RefundedEvent
    block: BlockRef


def shown_of(evidence: EvmReceiptEvidence, lock: HtlcLock) -> LegShown:
    """Check that the evidence shows the end of exactly this lock, and return what it shows.

    Raises:
        ProofRefused: it shows something else, or nothing.
        FormatError: a field of the lock does not fit its place in the contract's call.
    """
    return shown_event(read_event(evidence, lock.contract), lock)


def shown_event(included: IncludedEvent, lock: HtlcLock) -> LegShown:
    """Check that an event ends exactly this lock, and return what it shows.

    Raises:
        ProofRefused: ``lock_id`` or ``payment_hash``.
    """
    event = included.event
    if event.lock_id != lock.lock_id:
        raise ProofRefused("lock_id", "the event ends another lock than the one that the terms describe")
    if event.payment_hash != lock.payment_hash:
        raise ProofRefused("payment_hash", "the event is under another payment hash than the terms")
    return LegShown(
        outcome=LegOutcome.COLLECTED if isinstance(event, ClaimedEvent) else LegOutcome.RETURNED,
        shown=shown_in(lock.contract),
        header=included.block,
        contract=lock.contract,
    )


def shown_in(contract: bytes) -> frozenset[Shown]:
    """What included evidence of a lock's end shows, by the contract of the lock."""
    # The genuine contract's address commits to its code; the verifier's policy lists others.
    return frozenset({Shown.INCLUDED, Shown.GENUINE_CONTRACT} if contract == HTLC_ADDRESS else {Shown.INCLUDED})


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
    block = block_of(header, evidence.header)
    return IncludedEvent(event_of(receipt, evidence.log_index, contract), block)


def event_of(receipt: EvmReceipt, log_index: int, contract: bytes) -> ClaimedEvent | RefundedEvent:
    """The contract's claim or refund in a receipt.

    Raises:
        ProofRefused: the transaction failed, or the log does not end a lock of this contract.
    """
    if not receipt.succeeded:
        raise ProofRefused("receipt_status", "the transaction failed")
    if log_index >= len(receipt.logs):
        raise ProofRefused("log_index", "the receipt has no such log")
    log = receipt.logs[log_index]
    try:
        event = parse_event(log.address, log.topics, log.data, contract=contract)
    except FormatError as error:
        raise ProofRefused("event", error.message) from error
    if not isinstance(event, ClaimedEvent | RefundedEvent):
        raise ProofRefused("event", "the log is neither a claim nor a refund by the contract of the terms")
    return event


def block_of(header: EvmHeader, encoded: bytes) -> BlockRef:
    """The block of a header that was decoded from these bytes."""
    # The decoder accepts one encoding only, so these bytes are what the hash covers.
    return BlockRef(header.number, keccak256(encoded), header.timestamp)
