"""Evidence from receipts: making it from a node's answers, and asking whether it is canonical at a node."""

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
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.rpc.node import EvmNode, FoundLog

__all__ = ["ProvenReceipts", "header_chain", "is_canonical"]

_REMEMBERED_BLOCKS = 4
_HEADERS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _ProvenBlock:
    """A block's receipts, which give the header's receiptsRoot."""

    header: bytes
    tx_hashes: tuple[object, ...]
    receipts: tuple[EvmReceipt, ...]
    proofs: list[tuple[bytes, ...]]


class ProvenReceipts:
    """Makes the evidence of logs. All logs of a block share one request for its receipts, and one trie.

    Args:
        node: the party's own node.
        protocol: which layer it is.
    """

    def __init__(self, node: EvmNode, protocol: Layer2ProtocolType) -> None:
        self._node = node
        self._protocol = protocol
        self._blocks: dict[bytes, _ProvenBlock] = {}
        self._turn = asyncio.Lock()

    async def evidence(self, found: FoundLog) -> EvmReceiptEvidence:
        """Build the evidence of one log: the block's trie of receipts anew, and the way through it.

        Raises:
            BadAnswer: the receipts do not give the header's receiptsRoot, or the log is not among them; or the
                block is gone, in a reorganisation (retryable).
        """
        # A turn each, so that those who wait for a block find it made. A hash commits to a block's receipts.
        async with self._turn:
            block = self._blocks.get(found.block_hash)
            if block is None:
                block = self._blocks[found.block_hash] = await self._read(found.block_hash)
                if len(self._blocks) > _REMEMBERED_BLOCKS:
                    del self._blocks[next(iter(self._blocks))]
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
        raise self._bad("the log that the node gave is not in the receipts of its block")

    async def _read(self, block_hash: bytes) -> _ProvenBlock:
        block = await self._node.block(block_hash)
        written = await self._node.block_receipts(block_hash)
        if block is None or written is None:
            raise self._bad("the block of the log is not on the chain any more", retryable=True)
        try:
            receipts = tuple([receipt_from_rpc(receipt) for receipt in written])
        except FormatError as error:
            raise self._bad(f"a receipt of the block: {error.message}") from error
        proofs = merkle_patricia.prove_all([receipt.encode() for receipt in receipts])
        if not proofs or keccak256(proofs[0][0]) != block.header.receipts_root:
            raise self._bad("the block's receipts do not give its receiptsRoot")
        tx_hashes = tuple([receipt.get("transactionHash") for receipt in written])
        return _ProvenBlock(block.header.encode(), tx_hashes, receipts, proofs)

    def _bad(self, problem: str, *, retryable: bool = False) -> BadAnswer:
        return BadAnswer(problem, protocol=self._protocol.value, retryable=retryable)


async def header_chain(
    node: EvmNode, watcher: HeadWatcher, evidence: EvmReceiptEvidence, until: Finality
) -> tuple[bytes, ...]:
    """The headers after that of the evidence, up to one of the node's heads and with it; RLP, oldest first.

    Raises:
        InvalidRequest: the evidence has no readable header, or there are more headers than one chain may have.
        ProofUndecided: the evidence's block is not among the ancestors of that head, or not yet.
    """
    try:
        header = decode_header(evidence.header)
    except FormatError as error:
        raise InvalidRequest(f"the evidence has no header: {error.message}") from error
    head = (await watcher.read()).at(until)
    if head.number - header.number > MAX_HEADERS:
        raise InvalidRequest(f"{head.number - header.number} headers are more than one chain may have ({MAX_HEADERS})")
    headers: list[bytes] = []
    for first in range(header.number + 1, head.number + 1, _HEADERS_AT_ONCE):
        heights = range(first, min(first + _HEADERS_AT_ONCE, head.number + 1))
        blocks = await asyncio.gather(*[node.block(height) for height in heights])
        headers += [block.header.encode() for block in blocks if block is not None]
    try:
        check_ancestor(header, headers, head.hash)
    except ProofRefused as error:
        raise ProofUndecided(
            f"block {header.number} of the evidence is not below the node's {until.value} head {head.number}, or not "
            "yet; or the chain was reorganised meanwhile"
        ) from error
    return tuple(headers)


async def is_canonical(
    node: EvmNode, watcher: HeadWatcher, evidence: EvmReceiptEvidence, contract: bytes, finality: Finality
) -> bool:
    """Whether evidence of a lock's end holds and its block is on the node's chain at that finality.

    Raises:
        ProofUndecided: its block is not that final yet, or the node's chain does not reach it.
    """
    try:
        header = read_event(evidence, contract).header
    except ProofRefused:
        return False
    await watcher.read()
    # The block and the heads that make it final are asked for together, so of one node: behind one address another may
    # follow a branch that was left.
    block, head, finalized = await asyncio.gather(
        node.block(header.number), node.head(finality), node.head(Finality.FINALIZED)
    )
    if block is None:
        raise ProofUndecided("the node's chain does not reach the evidence's block yet")
    if block.hash == header.hash:
        if header.number <= head.number:
            return True
        raise ProofUndecided(f"the evidence's block is on the chain, and not {finality.value} yet")
    if header.number <= finalized.number:
        return False
    raise ProofUndecided("the node has another block at this height, which is not finalized yet")
