"""Evidence from receipts: creating it from a node's answers, and checking whether a node's chain contains it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from layer2.errors import BadAnswer, FormatError, InvalidRequest, ProofRefused, ProofUndecided
from layer2.formats import merkle_patricia
from layer2.formats.evm_header import decode_header
from layer2.formats.evm_receipt import EvmReceipt, receipt_from_rpc
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.evm_evidence import read_event
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.proofs.header_chain import MAX_HEADERS, check_ancestor
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.rpc.node import EvmNode, FoundLog

__all__ = ["ProvenReceipts", "header_chain", "is_canonical"]

_REMEMBERED_BLOCKS = 4
_HEADERS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _ProvenBlock:
    """A block's receipts, which match the header's receiptsRoot."""

    header: bytes
    tx_hashes: tuple[object, ...]
    receipts: tuple[EvmReceipt, ...]
    proofs: list[tuple[bytes, ...]]


class ProvenReceipts:
    """Creates the evidence of logs. All logs of a block share one request for its receipts, and one trie.

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


async def header_chain(
    node: EvmNode, watcher: HeadWatcher, evidence: EvmReceiptEvidence, until: Finality
) -> tuple[bytes, ...]:
    """The headers from the block after the evidence up to one of the node's heads, as RLP, oldest first.

    Raises:
        InvalidRequest: the evidence has no valid header, or the chain of headers would be too long.
        ProofUndecided: the evidence's block is not, or not yet, an ancestor of that head.
    """
    try:
        header = decode_header(evidence.header)
    except FormatError as error:
        raise InvalidRequest(f"the evidence has no valid header: {error.message}") from error
    head = (await watcher.read()).at(until)
    if head.number - header.number > MAX_HEADERS:
        raise InvalidRequest(f"the chain would have {head.number - header.number} headers, the limit is {MAX_HEADERS}")
    headers: list[bytes] = []
    for first in range(header.number + 1, head.number + 1, _HEADERS_AT_ONCE):
        heights = range(first, min(first + _HEADERS_AT_ONCE, head.number + 1))
        blocks = await asyncio.gather(*[node.block(height) for height in heights])
        headers += [block.header.encode() for block in blocks if block is not None]
    try:
        check_ancestor(header, headers, head.hash)
    except ProofRefused as error:
        raise ProofUndecided(
            f"block {header.number} of the evidence is not, or not yet, an ancestor of the node's {until.value} head "
            f"{head.number}; the chain may have been reorganised"
        ) from error
    return tuple(headers)


async def is_canonical(
    node: EvmNode, watcher: HeadWatcher, evidence: EvmReceiptEvidence, contract: bytes, finality: Finality
) -> bool:
    """Whether evidence of a lock's end is valid and its block is on the node's chain with that finality.

    Raises:
        ProofUndecided: the block does not have that finality yet, or the node's chain does not reach it.
    """
    try:
        header = read_event(evidence, contract).header
    except ProofRefused:
        return False
    await watcher.read()
    # One batch reads the block and the heads, so one node answers: another node behind the same address may follow an
    # abandoned branch.
    block, head, finalized = await asyncio.gather(
        node.block(header.number), node.head(finality), node.head(Finality.FINALIZED)
    )
    if block is None:
        raise ProofUndecided("the node's chain does not reach the evidence's block yet")
    if block.hash == header.hash:
        if header.number <= head.number:
            return True
        raise ProofUndecided(f"the evidence's block is on the chain, but not {finality.value} yet")
    if header.number <= finalized.number:
        return False
    raise ProofUndecided("the node has another block at this height, but it is not finalized yet")
