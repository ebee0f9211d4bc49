"""The rule for evidence from Rootstock: one log, in one receipt, under headers on which Bitcoin's miners spent work.

Sources: ``formats.rsk_header``, ``formats.rsk_trie``, ``formats.rsk_receipt``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from layer2.contracts.htlc import HtlcLock
from layer2.errors.base import FormatError, ProofRefused
from layer2.formats import rsk_trie
from layer2.formats.rsk_header import RskHeader, check_work, decode_full_header
from layer2.formats.rsk_receipt import decode_rsk_receipt
from layer2.legs.chain_header import block_after, of_rootstock
from layer2.legs.evidence import RootstockReceiptEvidence
from layer2.legs.evm_evidence import IncludedEvent, event_of, shown_event
from layer2.legs.shown import BlockRef, LegShown, Shown

__all__ = ["block_of", "read_event", "read_headers", "shown_of"]


def shown_of(evidence: RootstockReceiptEvidence, lock: HtlcLock, *, least_work: int | None) -> LegShown:
    """Check that the evidence shows the end of exactly this lock, and return what it shows.

    Args:
        least_work: the work that the headers must have together to show ``Shown.WORK``; None if no work is enough.

    Raises:
        ProofRefused: it shows something else, or nothing.
        FormatError: a field of the lock does not fit its place in the contract's call.

    Does not show that the block is valid, nor that it is in Rootstock's longest chain: inventing its headers costs the
    work that they have, which miners of Bitcoin can spend while they mine Bitcoin's blocks.
    """
    headers = read_headers(evidence.headers)
    shown = shown_event(_included(evidence, headers[0], lock.contract), lock)
    work = sum(each.difficulty for each in headers)
    enough = least_work is not None and work >= least_work
    return LegShown(
        outcome=shown.outcome,
        shown=shown.shown | ({Shown.WORK} if enough else set()),
        header=shown.header,
        contract=shown.contract,
        later=tuple([each.hash for each in headers[1:]]),
        work=work,
    )


def read_event(evidence: RootstockReceiptEvidence, contract: bytes) -> IncludedEvent:
    """Follow the evidence from the headers to the event.

    Args:
        contract: 20 bytes; an event of another contract is refused.

    Raises:
        ProofRefused: a header has no work, the receipt is not under the first one, the transaction failed, or the log
            does not end a lock.

    Does not show that the header belongs to any chain.
    """
    return _included(evidence, read_headers(evidence.headers)[0], contract)


def read_headers(encoded: Sequence[bytes]) -> list[RskHeader]:
    """Read headers in their full form: at least one, each with its work, and each the parent of the next.

    Raises:
        ProofRefused: ``header``.
    """
    headers: list[RskHeader] = []
    for each in encoded:
        try:
            header, mining = decode_full_header(each)
            check_work(header, mining)
        except FormatError as error:
            raise ProofRefused("header", error.message) from error
        headers.append(header)
    if not headers:
        raise ProofRefused("header", "there is no header")
    try:
        for parent, child in pairwise(headers):
            block_after(block_of(parent), of_rootstock(child))
    except FormatError as error:
        raise ProofRefused("header", error.message) from error
    return headers


def _included(evidence: RootstockReceiptEvidence, header: RskHeader, contract: bytes) -> IncludedEvent:
    try:
        rsk_trie.verify(header.receipts_root, evidence.transaction_index, evidence.receipt_proof, evidence.receipt)
        receipt = decode_rsk_receipt(evidence.receipt)
    except FormatError as error:
        raise ProofRefused("receipt_inclusion", error.message) from error
    return IncludedEvent(event_of(receipt, evidence.log_index, contract), block_of(header))


def block_of(header: RskHeader) -> BlockRef:
    """The block of a header."""
    return BlockRef(header.number, header.hash, header.timestamp)
