"""EVM block headers from Frontier to Prague (on the OP stack: to Isthmus and Jovian), and their hash.

Sources: Ethereum Yellow Paper, section 4.3; EIP-1559 (base fee), EIP-4895 (withdrawals), EIP-4844 (blob gas),
EIP-4788 (beacon root), EIP-7685 (requests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

from layer2.errors.base import FormatError
from layer2.formats import rlp
from layer2.formats.evm_hex import parse_data, parse_quantity
from layer2.formats.keccak import keccak256
from layer2.formats.rlp import RlpItem

__all__ = ["EvmHeader", "decode_header", "header_from_rpc"]

_FORKS = {15: "Frontier", 16: "London", 17: "Shanghai", 20: "Cancun", 21: "Prague"}
"""Each fork by the number of fields of its headers."""
_LONGEST_EXTRA_DATA = 32

_DATA = {
    "parent_hash": ("parentHash", 32),
    "ommers_hash": ("sha3Uncles", 32),
    "fee_recipient": ("miner", 20),
    "state_root": ("stateRoot", 32),
    "transactions_root": ("transactionsRoot", 32),
    "receipts_root": ("receiptsRoot", 32),
    "logs_bloom": ("logsBloom", 256),
    "extra_data": ("extraData", None),
    "prev_randao": ("mixHash", 32),
    "nonce": ("nonce", 8),
    "withdrawals_root": ("withdrawalsRoot", 32),
    "parent_beacon_block_root": ("parentBeaconBlockRoot", 32),
    "requests_hash": ("requestsHash", 32),
}
"""For each field of bytes: its name in the JSON-RPC, and its size."""
_NUMBERS = {
    "difficulty": ("difficulty", 256),
    "number": ("number", 64),
    "gas_limit": ("gasLimit", 64),
    "gas_used": ("gasUsed", 64),
    "timestamp": ("timestamp", 64),
    "base_fee_per_gas": ("baseFeePerGas", 256),
    "blob_gas_used": ("blobGasUsed", 64),
    "excess_blob_gas": ("excessBlobGas", 64),
}
"""For each number: its name in the JSON-RPC, and its width in bits."""


@dataclass(frozen=True, slots=True)
class EvmHeader:
    """A block header. Hashes and roots are 32 bytes; the fields after ``nonce`` are None before their fork.

    A header's hash does not show that its block is part of any chain.

    Raises:
        FormatError: a field of another size or width, or a set of fields of no known fork.
    """

    parent_hash: bytes
    ommers_hash: bytes
    fee_recipient: bytes
    """20 bytes."""
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    logs_bloom: bytes
    """256 bytes."""
    difficulty: int
    number: int
    gas_limit: int
    gas_used: int
    timestamp: int
    """Unix seconds."""
    extra_data: bytes
    """At most 32 bytes."""
    prev_randao: bytes
    nonce: bytes
    """8 bytes."""
    base_fee_per_gas: int | None = None
    """Wei, since London."""
    withdrawals_root: bytes | None = None
    """Since Shanghai; on the OP stack since Isthmus the storage root of the message passer."""
    blob_gas_used: int | None = None
    excess_blob_gas: int | None = None
    parent_beacon_block_root: bytes | None = None
    """Since Cancun, like the two fields above; on the OP stack the beacon root of the L1 origin."""
    requests_hash: bytes | None = None
    """Since Prague."""

    def __post_init__(self) -> None:
        values = _VALUES(self)
        given = len(values) - values.count(None)
        if given not in _FORKS or None in values[:given]:
            raise FormatError("EVM header: the set of fields is of no known fork")
        for value, (name, size, bits) in zip(values[:given], _SIZES, strict=False):
            if bits is None:
                if len(value) != size:
                    _check_other_size(name, value)
            elif value.bit_length() > bits or value < 0:
                raise FormatError(f"EVM header: {name} is not a number of {bits} bits")

    @property
    def hash(self) -> bytes:
        """The block's hash, 32 bytes, computed at each access."""
        return keccak256(self.encode())

    def encode(self) -> bytes:
        """The RLP of the header, whose keccak256 is the block's hash."""
        items: list[RlpItem] = [
            value if isinstance(value, bytes) else rlp.encode_int(value) for value in _VALUES(self) if value is not None
        ]
        return rlp.encode(items)


_ORDER = tuple([field.name for field in fields(EvmHeader)])
"""The fields in the order of the header's RLP."""
_VALUES = attrgetter(*_ORDER)
_SIZES = tuple(
    [(name, None, _NUMBERS[name][1]) if name in _NUMBERS else (name, _DATA[name][1], None) for name in _ORDER]
)
"""In that order: each field's name, the size of bytes, and the width of a number in bits."""


def decode_header(data: bytes) -> EvmHeader:
    """Read a header.

    Args:
        data: the RLP of a header, as from ``debug_getRawHeader``.

    Raises:
        FormatError: not the canonical encoding of a header of a known fork.
    """
    items = rlp.decode(data)
    if not isinstance(items, list) or len(items) not in _FORKS:
        raise FormatError("EVM header: not a list with the number of fields of a known fork")
    values: list[bytes | int] = []
    for item, (name, _, bits) in zip(items, _SIZES, strict=False):
        if bits is not None:
            values.append(rlp.decode_int(item, max_bytes=bits // 8))
        elif isinstance(item, bytes):
            values.append(item)
        else:
            raise FormatError(f"EVM header: {name} is a list")
    return _made(EvmHeader, values)


def header_from_rpc(block: Mapping[str, object]) -> EvmHeader:
    """Read the header in the answer of ``eth_getBlockByHash`` or ``eth_getBlockByNumber``.

    Args:
        block: the answer's object; everything outside the header is ignored.

    Returns:
        The header, which hashes to the answer's ``hash``.

    Raises:
        FormatError: a field is missing or malformed, or the fields do not hash to ``hash``: the answer is wrong, or the
            chain has an unknown fork.
    """
    values: list[bytes | int] = []
    for name in _ORDER:
        key = _DATA[name][0] if name in _DATA else _NUMBERS[name][0]
        value = block.get(key)
        if value is None and len(values) in _FORKS:
            break
        if name in _DATA:
            values.append(parse_data(value, key, size=_DATA[name][1]))
        else:
            values.append(parse_quantity(value, key, bits=_NUMBERS[name][1]))
    header = _made(EvmHeader, values)
    if header.hash != parse_data(block.get("hash"), "hash", size=32):
        raise FormatError("EVM header: the fields in the node's answer do not hash to its hash")
    return header


def _check_other_size(name: str, value: bytes) -> None:
    size = _DATA[name][1]
    if size is not None:
        raise FormatError(f"EVM header: {name} has {len(value)} bytes, expected {size}")
    if len(value) > _LONGEST_EXTRA_DATA:
        raise FormatError(f"EVM header: {name} is longer than {_LONGEST_EXTRA_DATA} bytes")


def _made(make: Callable[..., EvmHeader], values: Sequence[bytes | int]) -> EvmHeader:
    return make(*values)
