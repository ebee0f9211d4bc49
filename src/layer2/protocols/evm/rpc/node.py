"""Typed calls to an EVM node. The shape of every answer and the hash of every header are checked.

Sources: the execution API specification; EIP-1898 (blocks by hash), EIP-234 (logs by block hash).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, TypeVar

from layer2.contracts.l1_block import operator_fee
from layer2.errors import BadAnswer, FormatError, Outcome, WrongNetwork
from layer2.formats.evm_header import EvmHeader, header_from_rpc
from layer2.formats.evm_hex import format_data, format_quantity, parse_data, parse_quantity
from layer2.formats.evm_receipt import EvmLog
from layer2.model.transactions import EvmTxId, Finality
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.evm.rpc.batches import SEND
from layer2.protocols.evm.rpc.endpoints import NodeRpc

__all__ = ["BlockRef", "EvmNode", "FoundLog", "MinedReceipt", "NodeBlock", "block_argument"]

BlockRef: TypeAlias = Finality | int | bytes
"""One of the three heads, a height, or the hash of a canonical block (32 bytes)."""

T = TypeVar("T")

_REMEMBERED_BLOCKS = 64


@dataclass(frozen=True, slots=True)
class NodeBlock:
    """A block's header, which hashes to ``hash``."""

    header: EvmHeader
    hash: bytes

    @property
    def number(self) -> int:
        """The block's height."""
        return self.header.number

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        return self.header.timestamp


@dataclass(frozen=True, slots=True)
class MinedReceipt:
    """A node's receipt of a transaction in a block."""

    tx_hash: bytes
    block_hash: bytes
    block_number: int
    index: int
    succeeded: bool
    fee: int
    """Total in wei: execution, L1 data, and the operator's fee."""


@dataclass(frozen=True, slots=True)
class FoundLog:
    """A log and its position on the chain."""

    log: EvmLog
    tx_hash: bytes
    block_hash: bytes
    block_number: int


class EvmNode:
    """Typed calls to a node. All methods raise the errors of ``JsonRpc.call_dated``.

    Args:
        rpc: the connection, to one node or to the best of several.
        protocol: the layer's name, for errors.
    """

    def __init__(self, rpc: NodeRpc, protocol: str) -> None:
        self.rpc = rpc
        self.protocol = protocol
        self._blocks: BoundedDict[str, NodeBlock] = BoundedDict(_REMEMBERED_BLOCKS)

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
        return (await self.dated_block(ref))[0]

    async def dated_block(self, ref: BlockRef) -> tuple[NodeBlock | None, float | None]:
        """A block's header and the ``Date`` of the same answer."""
        if isinstance(ref, bytes):
            method, name = "eth_getBlockByHash", format_data(ref)
        else:
            method, name = "eth_getBlockByNumber", _name(ref)
        answer, date = await self.rpc.call_dated(method, name, False)
        block = None if answer is None else self._checked(method, self._block, answer)
        if block is not None and ref not in (block.hash, block.number) and not isinstance(ref, Finality):
            raise self._bad(method, "it answered with another block")
        return block, date

    async def head(self, finality: Finality) -> NodeBlock:
        """One of the three heads.

        Raises:
            BadAnswer: the node has no such head, for example before its first finalized block.
        """
        block = await self.block(finality)
        if block is None:
            raise self._bad("eth_getBlockByNumber", f"it has no {finality.value} block")
        return block

    async def transaction_count(self, address: bytes, at: BlockRef | None) -> int:
        """The account's transaction count after a block; with None including those that are pending without a gap."""
        state = "pending" if at is None else block_argument(at)
        return await self.ask("eth_getTransactionCount", parse_quantity, format_data(address), state)

    async def balance(self, address: bytes) -> int:
        """The account's balance in wei at the newest block."""
        return await self.ask("eth_getBalance", parse_quantity, format_data(address), "latest")

    async def code(self, address: bytes) -> bytes:
        """The code at an address at the newest block; empty if there is none."""
        return await self.ask("eth_getCode", parse_data, format_data(address), "latest")

    async def storage(self, address: bytes, slot: int, at: BlockRef = Finality.LATEST) -> int:
        """The value of a storage slot of a contract."""
        method = "eth_getStorageAt"
        word = await self.ask(method, parse_data, format_data(address), format_quantity(slot), block_argument(at))
        if len(word) > 32:
            raise self._bad(method, f"a storage value has at most 32 bytes, not {len(word)}")
        return int.from_bytes(word, "big")

    async def call(
        self, to: bytes, data: bytes, *, sender: bytes | None = None, value: int = 0, at: BlockRef = Finality.LATEST
    ) -> bytes:
        """Execute a message without sending it, and return its output. The node sees the data: never a preimage.

        Raises:
            NodeRefused: the message reverts; with the reason.
        """
        return await self.ask("eth_call", parse_data, _message(to, data, sender, value), block_argument(at))

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
        receipt = self._checked(method, _receipt, answer)
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
        receipts = await self.block_receipts(ref)
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
                receipt = self._checked(method, _receipt, fields)
                if tx_id in found or ref not in (receipt.block_number, receipt.block_hash):
                    raise self._bad(method, "the receipts are not those of the block")
                found[EvmTxId(tx_id)] = receipt
        return found

    async def block_receipts(self, ref: int | bytes) -> list[Mapping[str, object]] | None:
        """The receipts of a block in order, as JSON; None if the node does not have the block."""
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
        return await self.ask("eth_getLogs", _found_logs, criteria)

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

    def _block(self, answer: object, _: str) -> NodeBlock:
        fields = _object(answer, "a block")
        name = fields.get("hash")
        # A hash commits to every field of its header, so a known header is not checked again.
        if isinstance(name, str) and name in self._blocks:
            return self._blocks[name]
        header = header_from_rpc(fields)
        block = NodeBlock(header, header.hash)
        self._blocks[format_data(block.hash)] = block
        return block

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


def _name(ref: Finality | int) -> str:
    return ref.value if isinstance(ref, Finality) else format_quantity(ref)


def block_argument(ref: BlockRef) -> str | dict[str, object]:
    """The block as a parameter of a call that reads its state (EIP-1898)."""
    if isinstance(ref, bytes):
        return {"blockHash": format_data(ref), "requireCanonical": True}
    return _name(ref)


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


def _object(answer: object, what: str) -> Mapping[str, object]:
    if not isinstance(answer, dict):
        raise FormatError(f"JSON-RPC: {what} is not an object")
    return answer


def _receipt(answer: object, _: str) -> MinedReceipt:
    fields = _object(answer, "a receipt")
    get = fields.get
    try:
        gas_used, status = _quantity(get("gasUsed"), "gasUsed"), _quantity(get("status"), "status")
        if status > 1:
            raise FormatError("JSON-RPC: a receipt's status is neither 0 nor 1")
        # OP stack: the fees for L1 data (Fjord) and for the operator are added to the execution. Only the receipts of
        # Jovian and later have the footprint's scalar.
        scalar, constant = _optional(fields, "operatorFeeScalar"), _optional(fields, "operatorFeeConstant")
        jovian = get("daFootprintGasScalar") is not None
        fee = (
            gas_used * _quantity(get("effectiveGasPrice"), "effectiveGasPrice")
            + _optional(fields, "l1Fee")
            + operator_fee(gas_used, scalar, constant, jovian=jovian)
        )
        number = _quantity(get("blockNumber"), "blockNumber")
        index = _quantity(get("transactionIndex"), "transactionIndex")
        block_hash = _block_hash(get("blockHash"), "blockHash", size=32)
    except TypeError:
        raise FormatError("JSON-RPC: a receipt has an object or a list in place of a number or a hash") from None
    tx_hash = parse_data(get("transactionHash"), "transactionHash", size=32)
    return MinedReceipt(tx_hash, block_hash, number, index, status == 1, fee)


def _optional(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    return 0 if value is None else _quantity(value, name)


# Receipts repeat values: the prices of a block, and the gas of a kind of transaction.
_quantity = lru_cache(maxsize=2048)(parse_quantity)
_block_hash = lru_cache(maxsize=256)(parse_data)


def _found_logs(answer: object, _: str) -> list[FoundLog]:
    if not isinstance(answer, list):
        raise FormatError("it is not a list")
    return [_found_log(item) for item in answer]


def _found_log(answer: object) -> FoundLog:
    fields = _object(answer, "a log")
    topics = fields.get("topics")
    if not isinstance(topics, list):
        raise FormatError("JSON-RPC: a log's topics are not a list")
    return FoundLog(
        log=EvmLog(
            address=parse_data(fields.get("address"), "address", size=20),
            topics=tuple([parse_data(topic, "topic", size=32) for topic in topics]),
            data=parse_data(fields.get("data"), "data"),
        ),
        tx_hash=parse_data(fields.get("transactionHash"), "transactionHash", size=32),
        block_hash=parse_data(fields.get("blockHash"), "blockHash", size=32),
        block_number=parse_quantity(fields.get("blockNumber"), "blockNumber"),
    )
