"""EVM receipts as blocks commit to them: status, cumulative gas, bloom and logs, and the OP stack's deposits.

Sources: Ethereum Yellow Paper, section 4.3.1; EIP-658 (status), EIP-2718 (envelope); OP stack specification,
deposits (type 0x7E, with nonce and version since Canyon).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from layer2.errors.base import FormatError
from layer2.formats import rlp
from layer2.formats.evm_hex import parse_data, parse_quantity
from layer2.formats.keccak import keccak256
from layer2.formats.rlp import RlpItem

__all__ = ["DEPOSIT_TYPE", "EvmLog", "EvmReceipt", "bloom_bits", "bloom_of", "decode_receipt", "receipt_from_rpc"]

DEPOSIT_TYPE = 0x7E
"""A transaction that the OP stack derives from its L1."""

_TYPES = frozenset({0x00, 0x01, 0x02, 0x04, DEPOSIT_TYPE})
_MOST_TOPICS = 4
_BLOOM_SIZE = 256
_EMPTY_BLOOM = bytes(_BLOOM_SIZE)
_LENGTHS = frozenset({4, 6})
"""The number of a receipt's parts, without and with a deposit's nonce and version."""
_UINT64 = 1 << 64
_THREE_PAIRS = struct.Struct(">HHH").unpack_from


@dataclass(frozen=True, slots=True)
class EvmLog:
    """A contract's log entry.

    Args:
        address: 20 bytes, the contract that emitted it.
        topics: at most four, 32 bytes each; the first identifies the event, unless it is anonymous.
        data: the words that are not topics.

    Raises:
        FormatError: a part of another size.
    """

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes

    def __post_init__(self) -> None:
        if len(self.address) != 20:
            raise FormatError(f"EVM log: an address of {len(self.address)} bytes, expected 20")
        if len(self.topics) > _MOST_TOPICS:
            raise FormatError(f"EVM log: {len(self.topics)} topics, the maximum is {_MOST_TOPICS}")
        for topic in self.topics:
            if len(topic) != 32:
                raise FormatError("EVM log: a topic that is not 32 bytes")


@dataclass(frozen=True, slots=True)
class EvmReceipt:
    """The result of a transaction, as its block's receiptsRoot commits to it.

    It contains no hash, sender or gas price of the transaction: the root does not commit to them.

    Args:
        tx_type: 0 (legacy), 1, 2, 4 or 0x7E (deposit).
        succeeded: False if the transaction was reverted; there are no logs then.
        cumulative_gas_used: gas of this transaction and of all earlier ones in the block.
        logs_bloom: 256 bytes, equal to ``bloom_of(logs)``.
        logs: in order.
        deposit_nonce: the sender's nonce, for a deposit since Canyon.
        deposit_receipt_version: 1, for a deposit since Canyon.

    Raises:
        FormatError: no receipt can have these values.
    """

    tx_type: int
    succeeded: bool
    cumulative_gas_used: int
    logs_bloom: bytes
    logs: tuple[EvmLog, ...]
    deposit_nonce: int | None = None
    deposit_receipt_version: int | None = None

    def __post_init__(self) -> None:
        if self.tx_type not in _TYPES:
            raise FormatError(f"EVM receipt: transaction type {self.tx_type} is not supported")
        if self.logs and not self.succeeded:
            raise FormatError("EVM receipt: a reverted transaction with logs")
        if self.logs_bloom != bloom_of(self.logs):
            raise FormatError("EVM receipt: the bloom is not that of the logs")
        nonce, version = self.deposit_nonce, self.deposit_receipt_version
        if (nonce is None) != (version is None):
            raise FormatError("EVM receipt: a deposit has both nonce and version (since Canyon) or none")
        if nonce is not None and self.tx_type != DEPOSIT_TYPE:
            raise FormatError("EVM receipt: a deposit nonce or version without a deposit")
        for number in (self.cumulative_gas_used, nonce, version):
            if number is not None and not 0 <= number < _UINT64:
                raise FormatError("EVM receipt: a number does not fit 64 bits")

    def encode(self) -> bytes:
        """The bytes that are this receipt's value in the trie of its block's receipts."""
        logs: list[RlpItem] = [[log.address, [*log.topics], log.data] for log in self.logs]
        items: list[RlpItem] = [
            rlp.encode_int(int(self.succeeded)),
            rlp.encode_int(self.cumulative_gas_used),
            self.logs_bloom,
            logs,
        ]
        if self.deposit_nonce is not None and self.deposit_receipt_version is not None:
            items += [rlp.encode_int(self.deposit_nonce), rlp.encode_int(self.deposit_receipt_version)]
        envelope = bytes((self.tx_type,)) if self.tx_type else b""
        return envelope + rlp.encode(items)


def bloom_of(logs: Sequence[EvmLog]) -> bytes:
    """Compute the bloom filter over the addresses and topics of logs.

    Returns:
        256 bytes.

    Source: Ethereum Yellow Paper, section 4.3.1 (``M3:2048``).
    """
    if not logs:
        return _EMPTY_BLOOM
    entries: set[bytes] = set()
    for log in logs:
        entries.add(log.address)
        entries.update(log.topics)
    bloom = 0
    for entry in entries:
        bloom |= bloom_bits(entry)
    return bloom.to_bytes(_BLOOM_SIZE, "big")


# The same contracts emit the same events repeatedly, so most hashes of a bloom are cached.
@lru_cache(maxsize=512)
def bloom_bits(entry: bytes) -> int:
    """The three bits, or fewer, that an address or a topic sets in a bloom filter, as a big-endian number."""
    first, second, third = _THREE_PAIRS(keccak256(entry))
    bits: int = 1 << (first & 0x7FF) | 1 << (second & 0x7FF) | 1 << (third & 0x7FF)
    return bits


def decode_receipt(data: bytes) -> EvmReceipt:
    """Read a receipt.

    Args:
        data: the value from the trie of receipts, as from ``debug_getRawReceipts``.

    Raises:
        FormatError: not the canonical encoding of a receipt of a known type, or its bloom does not match its logs.
    """
    if not data:
        raise FormatError("EVM receipt: no bytes")
    if data[0] == 0:
        raise FormatError("EVM receipt: a legacy receipt has no type before it")
    is_legacy = data[0] >= 0xC0
    items = rlp.decode(data if is_legacy else data[1:])
    if not isinstance(items, list) or len(items) not in _LENGTHS:
        raise FormatError("EVM receipt: a malformed list")
    status, gas, bloom, logs = items[:4]
    if not isinstance(bloom, bytes) or not isinstance(logs, list):
        raise FormatError("EVM receipt: a malformed list")
    return EvmReceipt(
        0 if is_legacy else data[0],
        _status(rlp.decode_int(status, max_bytes=1)),
        rlp.decode_int(gas, max_bytes=8),
        bloom,
        tuple([_log(log) for log in logs]),
        *[rlp.decode_int(number, max_bytes=8) for number in items[4:]],
    )


def receipt_from_rpc(receipt: Mapping[str, object]) -> EvmReceipt:
    """Read the receipt in an answer of ``eth_getTransactionReceipt`` or ``eth_getBlockReceipts``.

    Args:
        receipt: the answer's object; fields that blocks do not commit to are ignored.

    Raises:
        FormatError: a field is missing or malformed, or the bloom does not match the logs.

    It proves nothing by itself: the header's receiptsRoot follows only from all receipts of the block.
    """
    logs = receipt.get("logs")
    if not isinstance(logs, list):
        raise FormatError("JSON-RPC: logs is not a list")
    nonce, version = receipt.get("depositNonce"), receipt.get("depositReceiptVersion")
    return EvmReceipt(
        tx_type=parse_quantity(receipt.get("type"), "type", bits=8),
        succeeded=_status(parse_quantity(receipt.get("status"), "status", bits=8)),
        cumulative_gas_used=parse_quantity(receipt.get("cumulativeGasUsed"), "cumulativeGasUsed", bits=64),
        logs_bloom=parse_data(receipt.get("logsBloom"), "logsBloom", size=_BLOOM_SIZE),
        logs=tuple([_log_from_rpc(log) for log in logs]),
        deposit_nonce=None if nonce is None else parse_quantity(nonce, "depositNonce", bits=64),
        deposit_receipt_version=(
            None if version is None else parse_quantity(version, "depositReceiptVersion", bits=64)
        ),
    )


def _status(number: int) -> bool:
    if number > 1:
        raise FormatError("EVM receipt: a status that is neither 0 nor 1")
    return number == 1


def _log(item: RlpItem) -> EvmLog:
    if isinstance(item, list) and len(item) == 3:
        address, topics, data = item
        if isinstance(address, bytes) and isinstance(topics, list) and isinstance(data, bytes):
            words = tuple([topic for topic in topics if isinstance(topic, bytes)])
            if len(words) == len(topics):
                return EvmLog(address, words, data)
    raise FormatError("EVM log: a malformed list")


def _log_from_rpc(log: object) -> EvmLog:
    if not isinstance(log, dict) or not isinstance(log.get("topics"), list):
        raise FormatError("JSON-RPC: a log is not an object with topics")
    return EvmLog(
        address=parse_data(log.get("address"), "address", size=20),
        topics=tuple([parse_data(topic, "topic", size=32) for topic in log["topics"]]),
        data=parse_data(log.get("data"), "data"),
    )
