"""Creating evidence from the storage of a contract, as a node proves it (``eth_getProof``)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from layer2.contracts.htlc import HtlcLock, LockStatus, status_slot
from layer2.errors import BadAnswer, FormatError, NodeRefused, ProofRefused
from layer2.legs.evidence import EvmStorageEvidence, write_evidence
from layer2.legs.storage_evidence import shown_of
from layer2.model.layers import Layer2ProtocolType
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock

__all__ = ["ProvenStorage"]

_ENDED = {LockStatus.CLAIMED.value, LockStatus.REFUNDED.value}


class ProvenStorage:
    """Creates the evidence of ended locks from their status. It needs neither logs nor receipts.

    Args:
        node: the party's own node, of a chain with Ethereum's tries.
        protocol: the layer.
    """

    def __init__(self, node: EvmNode, protocol: Layer2ProtocolType) -> None:
        self._node = node
        self._protocol = protocol

    async def evidence(self, lock: HtlcLock, blocks: Sequence[NodeBlock]) -> EvmStorageEvidence | None:
        """Build the evidence of a lock's end after the first of these blocks whose state shows it.

        Args:
            lock: all terms of the lock.
            blocks: at least one; the node has to prove the state of the last one only.

        Returns:
            The evidence, which shows the end of exactly this lock; None if it has not ended, according to the node.

        Raises:
            BadAnswer: the node's answer proves nothing (retryable).
            NodeRefused: the node does not have the state, or makes no proofs.
        """
        *earlier, last = blocks
        for block in earlier:
            with suppress(BadAnswer, NodeRefused):
                if (found := await self._after(block, lock)) is not None:
                    return found
        return await self._after(last, lock)

    async def _after(self, block: NodeBlock, lock: HtlcLock) -> EvmStorageEvidence | None:
        proof = await self._node.slot_proof(lock.contract, status_slot(lock.lock_id), block.hash)
        if proof.value not in _ENDED:
            return None
        evidence = EvmStorageEvidence(
            self._protocol, block.header.encode(), lock.lock_id, proof.account_proof, proof.storage_proof
        )
        try:
            write_evidence(evidence)
            shown_of(evidence, lock)
        except (FormatError, ProofRefused) as error:
            raise BadAnswer(
                f"the node's proof of the lock's status after block {block.number}: {error.message}",
                protocol=self._protocol.value,
                operation="eth_getProof",
                retryable=True,
            ) from error
        return evidence
