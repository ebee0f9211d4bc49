"""Both types of evidence of an EVM leg: what their blocks are, and what follows them."""

from __future__ import annotations

from layer2.contracts.htlc import HtlcLock
from layer2.errors.base import FormatError
from layer2.formats.evm_header import decode_header
from layer2.formats.rsk_header import decode_full_header
from layer2.formats.rsk_header import decode_header as decode_rsk_header
from layer2.legs import evm_evidence, rootstock_evidence
from layer2.legs.evidence import EvmReceiptEvidence, ReceiptEvidence, RootstockReceiptEvidence
from layer2.legs.evm_evidence import IncludedEvent
from layer2.legs.shown import BlockRef, LegShown

__all__ = ["block_of", "block_of_header", "next_block", "read_event", "shown_of"]


def shown_of(evidence: ReceiptEvidence, lock: HtlcLock, *, least_work: int | None = None) -> LegShown:
    """Check that evidence shows the end of exactly this lock, as ``evm_evidence`` and ``rootstock_evidence`` do.

    Args:
        least_work: the work of the headers that shows ``Shown.WORK``; None if no work is enough. Ethereum's headers
            have none.

    Raises:
        ProofRefused: it shows something else, or nothing.
        FormatError: a field of the lock does not fit its place in the contract's call.
    """
    if isinstance(evidence, RootstockReceiptEvidence):
        return rootstock_evidence.shown_of(evidence, lock, least_work=least_work)
    return evm_evidence.shown_of(evidence, lock)


def read_event(evidence: ReceiptEvidence, contract: bytes) -> IncludedEvent:
    """Follow evidence from its header to the event of a contract, as ``evm_evidence`` and ``rootstock_evidence`` do.

    Raises:
        ProofRefused: it shows no such event.
    """
    if isinstance(evidence, RootstockReceiptEvidence):
        return rootstock_evidence.read_event(evidence, contract)
    return evm_evidence.read_event(evidence, contract)


def block_of(evidence: ReceiptEvidence) -> BlockRef:
    """The block that the evidence names. Neither its receipts nor its work are checked.

    Raises:
        FormatError: there is no valid header.
    """
    if isinstance(evidence, EvmReceiptEvidence):
        return block_of_header(evidence, evidence.header)
    if not evidence.headers:
        raise FormatError("there is no header")
    header, _ = decode_full_header(evidence.headers[0])
    return BlockRef(header.number, header.hash, header.timestamp)


def block_of_header(evidence: ReceiptEvidence, encoded: bytes) -> BlockRef:
    """The block of a header of the evidence's chain, as nodes write it.

    Raises:
        FormatError: it is not a header.
    """
    if isinstance(evidence, EvmReceiptEvidence):
        header = decode_header(encoded)
        return BlockRef(header.number, header.hash, header.timestamp)
    short = decode_rsk_header(encoded)
    return BlockRef(short.number, short.hash, short.timestamp)


def next_block(evidence: ReceiptEvidence, newest: BlockRef, encoded: bytes) -> BlockRef:
    """The block after another one of the evidence's chain; raises as ``Leg.next_block``."""
    if isinstance(evidence, RootstockReceiptEvidence):
        return rootstock_evidence.next_block(newest, encoded)
    return evm_evidence.next_block(newest, encoded)
