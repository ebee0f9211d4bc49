"""Creating evidence from a Rootstock node's answers: a receipt, its trie nodes, and headers with their work.

Source: rskj d987a4c, ``RskModuleImpl`` and ``BlockResultDTO``. No other receipts of the block are needed, so a node
that does not show the payment to miners can answer too.
"""

from __future__ import annotations

import asyncio
from typing import Final

from layer2.errors import BadAnswer, FormatError, ProofRefused
from layer2.formats import rsk_trie
from layer2.formats.evm_hex import format_data, format_quantity, parse_data, parse_quantity
from layer2.formats.rsk_header import MergedMining, decode_header, encode_full_header
from layer2.legs.evidence import RootstockReceiptEvidence
from layer2.legs.rootstock_evidence import read_headers
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.protocols.evm.rpc.node import EvmNode, FoundLog
from layer2.protocols.evm.rpc.node_answers import object_of

__all__ = ["RootstockReceipts"]

_LATER_HEADERS: Final = 12
"""Headers above the block, if the chain has them. More of them show more work; each has about 2,000 characters."""


class RootstockReceipts:
    """Creates the evidence of logs.

    Args:
        node: the party's own node.
    """

    def __init__(self, node: EvmNode) -> None:
        self._node = node

    async def evidence(self, found: FoundLog) -> RootstockReceiptEvidence:
        """Build the evidence of one log.

        Raises:
            BadAnswer: the receipt is not under the block's header, does not contain the log, or the headers are no
                chain with work; or a reorganisation removed the block (retryable).
        """
        node, tx_id, name = self._node, format_data(found.tx_hash), format_data(found.block_hash)
        written, nodes, block, head = await asyncio.gather(
            node.rpc.call("eth_getTransactionReceipt", tx_id),
            node.rpc.call("rsk_getTransactionReceiptNodesByHash", name, tx_id),
            node.block(found.block_hash),
            node.head(Finality.LATEST),
        )
        if block is None or written is None or nodes is None:
            raise self._bad("the block of the log is no longer on the chain", retryable=True)
        try:
            fields = object_of(written, "a receipt")
            receipt, encoded = node.format.read_receipt(fields)
            if fields.get("transactionHash") != tx_id or fields.get("blockHash") != name:
                raise self._bad("the transaction of the log is in another block now", retryable=True)
            index = parse_quantity(fields.get("transactionIndex"), "transactionIndex")
            proof = _nodes(nodes)
            rsk_trie.verify(block.header.receipts_root, index, proof, encoded)
        except FormatError as error:
            raise self._bad(f"the receipt of the log: {error.message}") from error
        if found.log not in receipt.logs:
            raise self._bad("the log from the node is not in the receipt of its transaction")
        last = max(block.number, min(head.number, block.number + _LATER_HEADERS))
        return RootstockReceiptEvidence(
            headers=await self._headers(block.number, last, found.block_hash),
            transaction_index=index,
            receipt=encoded,
            receipt_proof=proof,
            log_index=receipt.logs.index(found.log),
        )

    async def _headers(self, first: int, last: int, block_hash: bytes) -> tuple[bytes, ...]:
        """The headers of these heights in their full form. The first must have this hash."""
        heights = [format_quantity(height) for height in range(first, last + 1)]
        # One batch, so that one node answers.
        shorts, blocks = await asyncio.gather(
            asyncio.gather(*[self._node.rpc.call("rsk_getRawBlockHeaderByNumber", height) for height in heights]),
            asyncio.gather(*[self._node.rpc.call("eth_getBlockByNumber", height, False) for height in heights]),
        )
        if None in shorts or None in blocks:
            raise self._bad("the chain changed while its headers were read", retryable=True)
        try:
            encoded = tuple([_full_header(short, block) for short, block in zip(shorts, blocks, strict=True)])
            if read_headers(encoded)[0].hash != block_hash:
                raise self._bad("the block of the log is no longer on the chain", retryable=True)
        except (FormatError, ProofRefused) as error:
            raise self._bad(f"the headers from the node: {error.message}", retryable=True) from error
        return encoded

    def _bad(self, problem: str, *, retryable: bool = False) -> BadAnswer:
        return BadAnswer(problem, protocol=Layer2ProtocolType.ROOTSTOCK.value, retryable=retryable)


def _nodes(answer: object) -> tuple[bytes, ...]:
    if not isinstance(answer, list):
        raise FormatError("JSON-RPC: the nodes of the receipt's trie are not a list")
    return tuple([parse_data(node, "a node") for node in answer])


def _full_header(short: object, block: object) -> bytes:
    """A header in its full form: a node's short form lacks the Merkle path and the coinbase, which its JSON has.

    Raises:
        FormatError: a part is missing or malformed, or the two are of different blocks.
    """
    header, fields = decode_header(parse_data(short, "a header")), object_of(block, "a block")
    if parse_data(fields.get("hash"), "hash", size=32) != header.hash:
        raise FormatError("a header and a block at one height differ")
    path = parse_data(fields.get("bitcoinMergedMiningMerkleProof"), "bitcoinMergedMiningMerkleProof")
    coinbase = "bitcoinMergedMiningCoinbaseTransaction"
    return encode_full_header(header, MergedMining(path, parse_data(fields.get(coinbase), coinbase)))
