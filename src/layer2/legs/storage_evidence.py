"""The rule for evidence from the state of an EVM layer: one lock's status, in the contract's storage, under one header.

The contract never changes the status of a lock that was claimed or refunded, so every later block shows it too.

Source: EIP-1186.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from layer2.contracts.htlc import HtlcLock, LockStatus, status_slot
from layer2.errors.base import FormatError, ProofRefused
from layer2.formats import merkle_patricia, rlp
from layer2.formats.evm_account import decode_account
from layer2.formats.evm_header import decode_header
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmStorageEvidence
from layer2.legs.evm_evidence import block_of, shown_in
from layer2.legs.shown import BlockRef, LegOutcome, LegShown, OpenMatter, OpenPoint

__all__ = ["IncludedStatus", "read_status", "shown_of"]

_OUTCOMES: Final = {
    LockStatus.CLAIMED.value: LegOutcome.COLLECTED,
    LockStatus.REFUNDED.value: LegOutcome.RETURNED,
}


@dataclass(frozen=True, slots=True)
class IncludedStatus:
    """How a lock ended, and the block under whose header its status is included."""

    outcome: LegOutcome
    block: BlockRef


def shown_of(evidence: EvmStorageEvidence, lock: HtlcLock) -> LegShown:
    """Check that the evidence shows the end of exactly this lock, and return what it shows.

    Raises:
        ProofRefused: it shows something else, or nothing.
        FormatError: a field of the lock does not fit its place in the contract's call.

    Does not show the preimage, nor in which block the lock ended.
    """
    included = read_status(evidence, lock.contract)
    if evidence.lock_id != lock.lock_id:
        raise ProofRefused("lock_id", "the status is of another lock than the one that the terms describe")
    preimage = OpenMatter(
        OpenPoint.PREIMAGE,
        f"the preimage with which the lock on {evidence.protocol.value} was claimed: the claim's event has it",
    )
    return LegShown(
        outcome=included.outcome,
        shown=shown_in(lock.contract),
        header=included.block,
        contract=lock.contract,
        open=(preimage,) if included.outcome is LegOutcome.COLLECTED else (),
    )


def read_status(evidence: EvmStorageEvidence, contract: bytes) -> IncludedStatus:
    """Follow the evidence from the header to the status of the lock that it names.

    Args:
        contract: 20 bytes; the storage of another contract is refused.

    Raises:
        ProofRefused: the account is not under the header's state root, the slot is not under the account's storage
            root, or the lock has not ended.

    Does not show that the header belongs to any chain.
    """
    try:
        header = decode_header(evidence.header)
    except FormatError as error:
        raise ProofRefused("header", error.message) from error
    try:
        value = merkle_patricia.verify_key(header.state_root, keccak256(contract), evidence.account_proof)
        account = decode_account(value)
    except FormatError as error:
        raise ProofRefused("state_inclusion", error.message) from error
    key = keccak256(status_slot(evidence.lock_id))
    try:
        value = merkle_patricia.verify_key(account.storage_root, key, evidence.storage_proof)
        status = rlp.decode_int(rlp.decode(value))
    except FormatError as error:
        raise ProofRefused("storage_inclusion", error.message) from error
    outcome = _OUTCOMES.get(status)
    if outcome is None:
        raise ProofRefused("lock_status", f"the lock's status is {status}: it is neither claimed nor refunded")
    return IncludedStatus(outcome, block_of(header, evidence.header))
