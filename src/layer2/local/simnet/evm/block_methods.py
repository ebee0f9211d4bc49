"""JSON-RPC methods that return blocks, transactions and receipts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from layer2.formats.evm_hex import format_data, format_quantity
from layer2.local.simnet.evm.answers import block_answer, receipt_answer, transaction_answer
from layer2.local.simnet.evm.arguments import RpcError, block_name, expect_bool, expect_bytes, expect_number
from layer2.local.simnet.evm.blocks import NamedBlocks
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.node import EvmNode

__all__ = ["BlockMethods"]


class BlockMethods:
    """Answers from the blocks and the pool of one node."""

    def __init__(self, node: EvmNode, blocks: NamedBlocks) -> None:
        self._node = node
        self._blocks = blocks
        self.methods: Mapping[str, Callable[..., object]] = {
            "eth_getBlockByNumber": lambda name, full: _block(self._by_number(name), full),
            "eth_getBlockByHash": lambda block_hash, full: _block(self._by_hash(block_hash), full),
            "eth_getBlockTransactionCountByNumber": lambda name: _count(self._by_number(name)),
            "eth_getBlockTransactionCountByHash": lambda block_hash: _count(self._by_hash(block_hash)),
            "eth_getTransactionByBlockNumberAndIndex": lambda name, index: _at(self._by_number(name), index),
            "eth_getTransactionByBlockHashAndIndex": lambda block_hash, index: _at(self._by_hash(block_hash), index),
            "eth_getUncleCountByBlockNumber": lambda name: _no_uncles(self._by_number(name)),
            "eth_getUncleCountByBlockHash": lambda block_hash: _no_uncles(self._by_hash(block_hash)),
            "eth_getTransactionByHash": self._get_transaction_by_hash,
            "eth_getTransactionReceipt": self._get_transaction_receipt,
            "eth_getBlockReceipts": self._get_block_receipts,
            "debug_getRawHeader": self._get_raw_header,
            "debug_getRawReceipts": self._get_raw_receipts,
        }

    def _by_number(self, name: object) -> MinedBlock | None:
        return self._blocks.argument(name, allow_hash=False)

    def _by_hash(self, block_hash: object) -> MinedBlock | None:
        return self._node.chain.block_by_hash(expect_bytes(block_hash, 0, 32))

    def _get_transaction_by_hash(self, transaction_hash: object) -> object:
        wanted = expect_bytes(transaction_hash, 0, 32)
        if position := self._node.chain.position(wanted):
            block, index = position
            return transaction_answer(block.transactions[index], block, index)
        pooled = self._node.pool.get(wanted)
        return None if pooled is None else transaction_answer(pooled.transaction, None, None)

    def _get_transaction_receipt(self, transaction_hash: object) -> object:
        position = self._node.chain.position(expect_bytes(transaction_hash, 0, 32))
        return None if position is None else receipt_answer(*position)

    def _get_block_receipts(self, name: object) -> object:
        block = self._blocks.argument(name)
        return None if block is None else [receipt_answer(block, index) for index in range(len(block.receipts))]

    def _get_raw_header(self, name: object) -> str:
        block = self._raw_block(name)
        return "0x" if block is None else format_data(block.raw_header)

    def _get_raw_receipts(self, name: object) -> list[str] | None:
        block = self._raw_block(name)
        return None if block is None else [format_data(receipt.encode()) for receipt in block.receipts]

    def _raw_block(self, argument: object) -> MinedBlock | None:
        name, _ = block_name(argument, 0)
        block = self._blocks.find(name)
        if block is None and isinstance(name, bytes):
            raise RpcError(-32000, f"header #{list(name)} not found".replace(",", ""))
        return block


def _block(block: MinedBlock | None, full: object) -> object:
    return None if block is None else block_answer(block, full_transactions=expect_bool(full, 1))


def _count(block: MinedBlock | None) -> str | None:
    return None if block is None else format_quantity(len(block.transactions))


def _at(block: MinedBlock | None, argument: object) -> object:
    index = expect_number(argument, 1)
    if block is None or index >= len(block.transactions):
        return None
    return transaction_answer(block.transactions[index], block, index)


def _no_uncles(block: MinedBlock | None) -> str | None:
    return None if block is None else "0x0"
