"""Typed calls to an EVM node. The shape of every answer and the hash of every header are checked.

Sources: the execution API specification; EIP-1898 (blocks by hash), EIP-234 (logs by block hash).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TypeVar

from layer2.errors import BadAnswer, FormatError, Outcome, WrongNetwork
from layer2.formats.evm_hex import format_data, format_quantity, parse_data, parse_quantity
from layer2.model.layers import HeadDepths
from layer2.model.transactions import EvmTxId, Finality
from layer2.protocols.evm.rpc.batches import SEND
from layer2.protocols.evm.rpc.chain_format import ChainFormat, EthereumFormat, block_argument
from layer2.protocols.evm.rpc.endpoints import NodeRpc
from layer2.protocols.evm.rpc.head_source import DepthHeads, HeadSource, TagHeads
from layer2.protocols.evm.rpc.node_answers import (
    BlockRef,
    FoundLog,
    MinedReceipt,
    NodeBlock,
    SlotProof,
    object_of,
    read_logs,
    read_receipt,
    read_slot_proof,
)

__all__ = ["BlockRef", "EvmNode", "FoundLog", "MinedReceipt", "NodeBlock", "SlotProof", "block_argument"]

T = TypeVar("T")


class EvmNode:
    """Typed calls to a node. All methods raise the errors of ``JsonRpc.call_dated``.

    Args:
        rpc: the connection, to one node or to the best of several.
        protocol: the layer's name, for errors.
        chain_format: the chain's headers and receipts; None is Ethereum's.
        depths: of the heads, on a chain whose nodes have only the newest one; None asks for them by name.
    """

    def __init__(
        self,
        rpc: NodeRpc,
        protocol: str,
        chain_format: ChainFormat | None = None,
        depths: HeadDepths | None = None,
    ) -> None:
        self.rpc = rpc
        self.protocol = protocol
        self.format = EthereumFormat() if chain_format is None else chain_format
        """The chain's headers and receipts."""
        self.heads: HeadSource = (
            TagHeads(self._named_block, protocol) if depths is None else DepthHeads(self._named_block, protocol, depths)
        )
        """Reads several heads at once."""
        self._has_tags = depths is None

    async def expect_chain(self, chain_id: int) -> None:
        """Check that the node serves this chain now. The node behind an address may have changed.

        Raises:
            WrongNetwork: it serves another chain.
        """
        served = await self.ask("eth_chainId", parse_quantity)
        if served != chain_id:
            raise WrongNetwork(
                f"the node at {self.rpc.endpoint} is on chain {served}, "
                f"the configuration says {self.protocol} ({chain_id})",
                code="chain_id",
                protocol=self.protocol,
                remedy="correct chain_id, or rpc_url",
            )

    async def block(self, ref: BlockRef) -> NodeBlock | None:
        """A block's header; None if the node does not have the block."""
        if isinstance(ref, Finality) and not self._is_named(ref):
            return await self.head(ref)
        return await self._named_block(ref)

    async def dated_block(self, ref: BlockRef) -> tuple[NodeBlock | None, float | None]:
        """A block's header and the ``Date`` of the same answer. A head must be one that nodes know by name."""
        method, params = self.format.block_call(ref)
        answer, date = await self.rpc.call_dated(method, *params)
        block = (
            None if answer is None else self._checked(method, lambda value, _: self.format.read_block(value), answer)
        )
        if block is not None and ref not in (block.hash, block.number) and not isinstance(ref, Finality):
            raise self._bad(method, "it answered with another block")
        return block, date

    async def head(self, finality: Finality) -> NodeBlock:
        """One of the three heads.

        Raises:
            BadAnswer: the node has no such head, for example before its first finalized block.
        """
        if not self._is_named(finality):
            return (await self.heads.heads([finality]))[0][0]
        block = await self._named_block(finality)
        if block is None:
            raise self._bad(self.format.block_call(finality)[0], f"it has no {finality.value} block")
        return block

    async def transaction_count(self, address: bytes, at: BlockRef | None) -> int:
        """The account's transaction count after a block; with None including those that are pending without a gap."""
        state = "pending" if at is None else await self._state_argument(at)
        return await self.ask("eth_getTransactionCount", parse_quantity, format_data(address), state)

    async def count_at_head(self, address: bytes, finality: Finality) -> tuple[int, NodeBlock]:
        """The account's transaction count at one of the three heads, and the head."""
        if self._is_named(finality):
            return await asyncio.gather(self.transaction_count(address, finality), self.head(finality))
        head = await self.head(finality)
        # Not by the head's finality: it may be another block by now.
        return await self.transaction_count(address, head.hash), head

    async def balance(self, address: bytes) -> int:
        """The account's balance in wei at the newest block."""
        return await self.ask("eth_getBalance", parse_quantity, format_data(address), "latest")

    async def code(self, address: bytes) -> bytes:
        """The code at an address at the newest block; empty if there is none."""
        return await self.ask("eth_getCode", parse_data, format_data(address), "latest")

    async def storage(self, address: bytes, slot: int, at: BlockRef = Finality.LATEST) -> int:
        """The value of a storage slot of a contract."""
        method = "eth_getStorageAt"
        state = await self._state_argument(at)
        word = await self.ask(method, parse_data, format_data(address), format_quantity(slot), state)
        if len(word) > 32:
            raise self._bad(method, f"a storage value has at most 32 bytes, not {len(word)}")
        return int.from_bytes(word, "big")

    async def slot_proof(self, address: bytes, slot: bytes, at: BlockRef) -> SlotProof:
        """The value of a storage slot (32 bytes) of a contract, and the nodes that prove it. They are not verified.

        Raises:
            NodeRefused: the node does not have the state after that block, or makes no proofs.
        """
        state = await self._state_argument(at)
        return await self.ask("eth_getProof", read_slot_proof, format_data(address), [format_data(slot)], state)

    async def call(
        self, to: bytes, data: bytes, *, sender: bytes | None = None, value: int = 0, at: BlockRef = Finality.LATEST
    ) -> bytes:
        """Execute a message without sending it, and return its output. The node sees the data: never a preimage.

        Raises:
            NodeRefused: the message reverts; with the reason.
        """
        state = await self._state_argument(at)
        return await self.ask("eth_call", parse_data, _message(to, data, sender, value), state)

    async def estimate_gas(self, to: bytes | None, data: bytes, *, sender: bytes, value: int) -> int:
        """The gas that a message needs now. The node sees the data: never a preimage."""
        return await self.ask("eth_estimateGas", parse_quantity, _message(to, data, sender, value))

    async def send(self, raw: bytes) -> bytes:
        """Submit a signed transaction and return the hash that the node answers."""
        return await self.ask(SEND, lambda value, what: parse_data(value, what, size=32), format_data(raw))

    async def knows_transaction(self, tx_hash: bytes) -> bool:
        """Whether the transaction is in a block or in the node's pool."""
        answer = await self.rpc.call("eth_getTransactionByHash", format_data(tx_hash))
        if answer is None:
            return False
        if not isinstance(answer, dict) or answer.get("hash") != format_data(tx_hash):
            raise self._bad("eth_getTransactionByHash", "it answered with another transaction")
        return True

    async def receipt(self, tx_hash: bytes) -> MinedReceipt | None:
        """The receipt of a transaction; None if it is not in a block."""
        method = "eth_getTransactionReceipt"
        answer = await self.rpc.call(method, format_data(tx_hash))
        if answer is None:
            return None
        receipt = self._checked(method, read_receipt, answer)
        if receipt.tx_hash != tx_hash:
            raise self._bad(method, "it answered with the receipt of another transaction")
        return receipt

    async def receipts_of(self, ref: int | bytes, tx_ids: Container[str]) -> dict[EvmTxId, MinedReceipt] | None:
        """Receipts of some transactions that are in a block; None if the node does not have the block.

        Args:
            ref: the height of a canonical block, or the hash of any block.
            tx_ids: the transactions to look for.

        Raises:
            BadAnswer: the receipts are of another block, or contain a transaction twice.
        """
        receipts = await (
            self.block_receipts(ref) if self.format.has_block_receipts else self._single_receipts(ref, tx_ids)
        )
        if receipts is None:
            return None
        method = "eth_getBlockReceipts"
        found: dict[EvmTxId, MinedReceipt] = {}
        block_hash = receipts[0].get("blockHash") if receipts else None
        for fields in receipts:
            tx_id = fields.get("transactionHash")
            if fields.get("blockHash") != block_hash:
                raise self._bad(method, "the receipts are of several blocks")
            if isinstance(tx_id, str) and tx_id in tx_ids:
                receipt = self._checked(method, read_receipt, fields)
                if tx_id in found or ref not in (receipt.block_number, receipt.block_hash):
                    raise self._bad(method, "the receipts are not those of the block")
                found[EvmTxId(tx_id)] = receipt
        return found

    async def block_receipts(self, ref: int | bytes) -> list[Mapping[str, object]] | None:
        """The receipts of a block in order, as JSON; None if the node does not have the block.

        Nodes that have no method for it may leave out the payment to miners. Compare the receipts with the header.
        """
        if not self.format.has_block_receipts:
            return await self._single_receipts(ref, None)
        method = "eth_getBlockReceipts"
        answer = await self.rpc.call(method, format_data(ref) if isinstance(ref, bytes) else format_quantity(ref))
        if answer is None:
            return None
        if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
            raise self._bad(method, "it is not a list of objects")
        return answer

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int
    ) -> list[FoundLog]:
        """Logs of a contract in blocks by height, oldest first. An empty list does not prove that there are none."""
        criteria = {
            "address": format_data(address),
            "topics": [_topic(topic) for topic in topics],
            "fromBlock": format_quantity(first),
            "toBlock": format_quantity(last),
        }
        return await self.ask("eth_getLogs", read_logs, criteria)

    async def ask(self, method: str, parse: Callable[[object, str], T], *params: object) -> T:
        """Call any method.

        Args:
            method: the method's name.
            parse: reads the answer; its second argument is a name of the answer for errors.
            params: the parameters, as JSON.

        Raises:
            BadAnswer: ``parse`` raised a ``FormatError``.
        """
        return self._checked(method, parse, await self.rpc.call(method, *params))

    async def _single_receipts(
        self, ref: int | bytes, tx_ids: Container[str] | None
    ) -> list[Mapping[str, object]] | None:
        """Receipts of a block's transactions, asked for one by one in a batch: of all of them, or of some."""
        method, name = (
            ("eth_getBlockByHash", format_data(ref))
            if isinstance(ref, bytes)
            else ("eth_getBlockByNumber", format_quantity(ref))
        )
        block = await self.rpc.call(method, name, False)
        if block is None:
            return None
        fields = self._checked(method, object_of, block)
        listed = fields.get("transactions")
        if not isinstance(listed, list) or not all(isinstance(tx_id, str) for tx_id in listed):
            raise self._bad(method, "its transactions are not a list of hashes")
        wanted = [tx_id for tx_id in listed if tx_ids is None or tx_id in tx_ids]
        receipts = await asyncio.gather(*[self.rpc.call("eth_getTransactionReceipt", tx_id) for tx_id in wanted])
        method = "eth_getTransactionReceipt"
        found = [self._checked(method, object_of, receipt) for receipt in receipts if receipt is not None]
        if [(receipt.get("transactionHash"), receipt.get("blockHash")) for receipt in found] != [
            (tx_id, fields.get("hash")) for tx_id in wanted
        ]:
            raise self._bad(method, "the receipts are not those of the block, which may have left the chain")
        return found

    async def _named_block(self, ref: BlockRef) -> NodeBlock | None:
        return (await self.dated_block(ref))[0]

    async def _state_argument(self, ref: BlockRef) -> str | dict[str, object]:
        if isinstance(ref, Finality) and not self._is_named(ref):
            ref = (await self.head(ref)).hash
        return self.format.state_argument(ref)

    def _is_named(self, finality: Finality) -> bool:
        """Whether nodes know the head by name."""
        return self._has_tags or finality is Finality.LATEST

    def _checked(self, method: str, parse: Callable[[object, str], T], answer: object) -> T:
        try:
            return parse(answer, "result")
        except FormatError as error:
            raise self._bad(method, error.message) from error

    def _bad(self, method: str, problem: str) -> BadAnswer:
        return BadAnswer(
            f"the node at {self.rpc.endpoint}, {method}: {problem}",
            protocol=self.protocol,
            operation=method,
            retryable=method != SEND,
            # Whatever the node answered to a send, it may have accepted the transaction.
            outcome=Outcome.UNKNOWN if method == SEND else Outcome.NOT_SENT,
        )


def _message(to: bytes | None, data: bytes, sender: bytes | None, value: int) -> dict[str, str]:
    fields = {"input": format_data(data), "value": format_quantity(value)}
    if to is not None:
        fields["to"] = format_data(to)
    if sender is not None:
        fields["from"] = format_data(sender)
    return fields


def _topic(topic: bytes | Sequence[bytes] | None) -> str | list[str] | None:
    if topic is None or isinstance(topic, bytes):
        return None if topic is None else format_data(topic)
    return [format_data(one) for one in topic]
