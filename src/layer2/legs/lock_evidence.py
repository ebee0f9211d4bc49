"""The three types of evidence of a lock's end: what they show, and what their blocks are."""

from __future__ import annotations

from typing import assert_never

from layer2.contracts.htlc import HtlcLock
from layer2.errors.base import FormatError
from layer2.formats.evm_header import decode_header
from layer2.formats.rsk_header import decode_full_header
from layer2.legs import evm_evidence, rootstock_evidence, storage_evidence
from layer2.legs.evidence import EvmEvidence, EvmReceiptEvidence, EvmStorageEvidence, RootstockReceiptEvidence
from layer2.legs.shown import BlockRef, LegShown

__all__ = ["block_of", "included_block", "shown_of"]


def shown_of(evidence: EvmEvidence, lock: HtlcLock, *, least_work: int | None = None) -> LegShown:
    """Check that evidence shows the end of exactly this lock, by the rule of its type.

    Args:
        least_work: the work of the headers that shows ``Shown.WORK``; None if no work is enough. Ethereum's headers
            have none.

    Raises:
        ProofRefused: it shows something else, or nothing.
        FormatError: a field of the lock does not fit its place in the contract's call.
    """
    match evidence:
        case EvmReceiptEvidence():
            return evm_evidence.shown_of(evidence, lock)
        case EvmStorageEvidence():
            return storage_evidence.shown_of(evidence, lock)
        case RootstockReceiptEvidence():
            return rootstock_evidence.shown_of(evidence, lock, least_work=least_work)
        case _:
            assert_never(evidence)


def included_block(evidence: EvmEvidence, contract: bytes) -> BlockRef:
    """Follow evidence from its header to the end of a lock in a contract, and return the header's block.

    Raises:
        ProofRefused: it shows no such end.
    """
    match evidence:
        case EvmReceiptEvidence():
            return evm_evidence.read_event(evidence, contract).block
        case EvmStorageEvidence():
            return storage_evidence.read_status(evidence, contract).block
        case RootstockReceiptEvidence():
            return rootstock_evidence.read_event(evidence, contract).block
        case _:
            assert_never(evidence)


def block_of(evidence: EvmEvidence) -> BlockRef:
    """The block that the evidence names. Neither what it includes nor its work is checked.

    Raises:
        FormatError: there is no valid header.
    """
    if not isinstance(evidence, RootstockReceiptEvidence):
        return evm_evidence.block_of(decode_header(evidence.header), evidence.header)
    if not evidence.headers:
        raise FormatError("there is no header")
    header, _ = decode_full_header(evidence.headers[0])
    return rootstock_evidence.block_of(header)
