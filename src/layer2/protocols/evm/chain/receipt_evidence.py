"""Creating evidence from the receipts of a node, in the format of its chain."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from layer2.errors import BadAnswer, FormatError
from layer2.formats import merkle_patricia
from layer2.formats.evm_receipt import EvmReceipt, receipt_from_rpc
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmReceiptEvidence, RootstockReceiptEvidence
from layer2.model.layers import Layer2ProtocolType
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.evm.chain.rootstock_evidence import RootstockReceipts
from layer2.protocols.evm.rpc.chain_format import RootstockFormat
from layer2.protocols.evm.rpc.node import EvmNode, FoundLog

__all__ = ["EvidenceSource", "ProvenReceipts", "evidence_source"]

_REMEMBERED_BLOCKS = 4


class EvidenceSource(Protocol):
    """Creates the evidence of logs."""

    async def evidence(self, found: FoundLog) -> EvmReceiptEvidence | RootstockReceiptEvidence:
        """Build the evidence of one log.

        Raises:
            BadAnswer: the node's answers do not prove the log; or a reorganisation removed its block (retryable).
            NodeRefused: the node does not have the block's receipts.
        """
        ...


def evidence_source(node: EvmNode, protocol: Layer2ProtocolType) -> EvidenceSource:
    """What creates evidence from this node's answers."""
    return RootstockReceipts(node) if isinstance(node.format, RootstockFormat) else ProvenReceipts(node, protocol)


@dataclass(frozen=True, slots=True)
class _ProvenBlock:
    """A block's receipts, which match the header's receiptsRoot."""

    header: bytes
    tx_hashes: tuple[object, ...]
    receipts: tuple[EvmReceipt, ...]
    proofs: list[tuple[bytes, ...]]


class ProvenReceipts:
    """Creates the evidence of logs from Ethereum's receipts. All logs of a block share one request and one trie.

    Args:
        node: the party's own node.
        protocol: the layer.
    """

    def __init__(self, node: EvmNode, protocol: Layer2ProtocolType) -> None:
        self._node = node
        self._protocol = protocol
        self._blocks: BoundedDict[bytes, _ProvenBlock] = BoundedDict(_REMEMBERED_BLOCKS)
        self._turn = asyncio.Lock()

    async def evidence(self, found: FoundLog) -> EvmReceiptEvidence:
        """Build the evidence of one log: its path through the trie of the block's receipts.

        Raises:
            BadAnswer: the receipts do not match the header's receiptsRoot, or do not contain the log; or a
                reorganisation removed the block (retryable).
        """
        # One at a time, so that concurrent calls for the same block share its trie. A hash commits to the receipts.
        async with self._turn:
            block = self._blocks.get(found.block_hash)
            if block is None:
                block = self._blocks[found.block_hash] = await self._read(found.block_hash)
        tx_id = "0x" + found.tx_hash.hex()
        for index, receipt in enumerate(block.receipts):
            if block.tx_hashes[index] == tx_id and found.log in receipt.logs:
                return EvmReceiptEvidence(
                    protocol=self._protocol,
                    header=block.header,
                    transaction_index=index,
                    receipt_proof=block.proofs[index],
                    log_index=receipt.logs.index(found.log),
                )
        raise self._bad("the log from the node is not in the receipts of its block")

    async def _read(self, block_hash: bytes) -> _ProvenBlock:
        block = await self._node.block(block_hash)
        written = await self._node.block_receipts(block_hash)
        if block is None or written is None:
            raise self._bad("the block of the log is no longer on the chain", retryable=True)
        try:
            receipts = tuple([receipt_from_rpc(receipt) for receipt in written])
        except FormatError as error:
            raise self._bad(f"a receipt of the block: {error.message}") from error
        proofs = merkle_patricia.prove_all([receipt.encode() for receipt in receipts])
        if not proofs or keccak256(proofs[0][0]) != block.header.receipts_root:
            raise self._bad("the block's receipts do not match its receiptsRoot")
        tx_hashes = tuple([receipt.get("transactionHash") for receipt in written])
        return _ProvenBlock(block.header.encode(), tx_hashes, receipts, proofs)

    def _bad(self, problem: str, *, retryable: bool = False) -> BadAnswer:
        return BadAnswer(problem, protocol=self._protocol.value, retryable=retryable)
