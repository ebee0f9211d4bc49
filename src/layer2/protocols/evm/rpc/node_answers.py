"""What a node answers about blocks, receipts and logs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

from layer2.contracts.l1_block import operator_fee
from layer2.errors import FormatError
from layer2.formats.evm_hex import parse_data, parse_quantity
from layer2.formats.evm_receipt import EvmLog
from layer2.model.transactions import Finality

__all__ = [
    "BlockHeader",
    "BlockRef",
    "FoundLog",
    "MinedReceipt",
    "NodeBlock",
    "SlotProof",
    "object_of",
    "read_logs",
    "read_receipt",
    "read_slot_proof",
]

BlockRef: TypeAlias = Finality | int | bytes
"""One of the three heads, a height, or the hash of a canonical block (32 bytes)."""


class BlockHeader(Protocol):
    """What the headers of all EVM chains have. Hashes and roots are 32 bytes."""

    @property
    def number(self) -> int:
        """The height."""
        ...

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        ...

    @property
    def parent_hash(self) -> bytes:
        """The hash of the block below it."""
        ...

    @property
    def hash(self) -> bytes:
        """The block's hash, computed from the header's fields."""
        ...

    @property
    def receipts_root(self) -> bytes:
        """The root of the trie of its receipts, in the chain's format."""
        ...

    @property
    def logs_bloom(self) -> bytes:
        """The filter over the addresses and topics of its logs: 256 bytes."""
        ...

    @property
    def base_fee_per_gas(self) -> int | None:
        """Wei; None on a chain without a base fee."""
        ...

    def encode(self) -> bytes:
        """The header as nodes and files contain it."""
        ...


@dataclass(frozen=True, slots=True)
class NodeBlock:
    """A block's header, which hashes to ``hash``."""

    header: BlockHeader
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


@dataclass(frozen=True, slots=True)
class SlotProof:
    """What a node states of one slot of a contract's storage after a block, with the nodes of both tries."""

    value: int
    account_proof: tuple[bytes, ...]
    """Nodes of the state trie, from the root to the account."""
    storage_proof: tuple[bytes, ...]
    """Nodes of the account's storage trie, from the root to the slot."""


def object_of(answer: object, what: str) -> Mapping[str, object]:
    """The answer, if it is an object; otherwise raises ``FormatError``."""
    if not isinstance(answer, dict):
        raise FormatError(f"JSON-RPC: {what} is not an object")
    return answer


def read_receipt(answer: object, _: str) -> MinedReceipt:
    """Read a receipt as in the answer of ``eth_getTransactionReceipt``.

    Raises:
        FormatError: a field is missing or malformed.
    """
    fields = object_of(answer, "a receipt")
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


def read_logs(answer: object, _: str) -> list[FoundLog]:
    """Read the answer of ``eth_getLogs``.

    Raises:
        FormatError: a field is missing or malformed.
    """
    if not isinstance(answer, list):
        raise FormatError("it is not a list")
    return [_found_log(item) for item in answer]


def read_slot_proof(answer: object, _: str) -> SlotProof:
    """Read the answer of ``eth_getProof`` about one slot. The nodes are not verified.

    The account and the slot in the answer are ignored: the nodes lead to them, or are refused.

    Raises:
        FormatError: a field is missing or malformed, or there is not exactly one slot.
    """
    fields = object_of(answer, "a proof")
    slots = fields.get("storageProof")
    if not isinstance(slots, list) or len(slots) != 1:
        raise FormatError("JSON-RPC: storageProof is not a list of the one slot")
    slot = object_of(slots[0], "a slot's proof")
    return SlotProof(
        value=parse_quantity(slot.get("value"), "value"),
        account_proof=_nodes(fields.get("accountProof"), "accountProof"),
        storage_proof=_nodes(slot.get("proof"), "proof"),
    )


def _nodes(answer: object, what: str) -> tuple[bytes, ...]:
    if not isinstance(answer, list):
        raise FormatError(f"JSON-RPC: {what} is not a list")
    return tuple([parse_data(node, what) for node in answer])


def _optional(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    return 0 if value is None else _quantity(value, name)


# Receipts repeat values: the prices of a block, and the gas of a kind of transaction.
_quantity = lru_cache(maxsize=2048)(parse_quantity)
_block_hash = lru_cache(maxsize=256)(parse_data)


def _found_log(answer: object) -> FoundLog:
    fields = object_of(answer, "a log")
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
