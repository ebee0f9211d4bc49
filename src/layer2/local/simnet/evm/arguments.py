"""Read the arguments of JSON-RPC calls, with op-geth's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from eth.abc import LogAPI
from eth.vm.forks.prague.transactions import Authorization
from eth_typing import Address

from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_receipt import bloom_bits
from layer2.local.simnet.evm.calls import CALL_GAS_LIMIT, AccessList, AccountOverride, CallRequest, Overrides

__all__ = [
    "INVALID_PARAMS",
    "METHOD_NOT_FOUND",
    "BlockName",
    "Fields",
    "LogFilter",
    "RpcError",
    "block_name",
    "call_request",
    "expect_address",
    "expect_bool",
    "expect_bytes",
    "expect_list",
    "expect_number",
    "expect_percentiles",
    "log_filter",
    "state_overrides",
    "storage_key",
]

INVALID_PARAMS = -32602
"""The code of an error in the arguments of a call."""
METHOD_NOT_FOUND = -32601
"""The code of an error in the name of a method."""

BlockName: TypeAlias = Literal["latest", "pending", "earliest", "safe", "finalized"] | int | bytes
"""A tag, a height, or a block hash."""

_QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]*)", re.ASCII | re.IGNORECASE)
_DATA = re.compile(r"0x([0-9a-f]{2})*", re.ASCII | re.IGNORECASE)
_MOST_TOPICS = 4
_LAST_PRECOMPILE = 0x11
_JSON_TYPES: dict[type, str] = {bool: "bool", int: "number", float: "number", dict: "object", list: "array"}
_GO_TYPES: dict[int | None, str] = {None: "hexutil.Bytes", 20: "common.Address", 32: "common.Hash"}


class RpcError(Exception):
    """A call is answered with an error; ``code`` and ``data`` are those of JSON-RPC 2.0."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


def expect_number(value: object, index: int, bits: int = 64) -> int:
    """Read argument ``index`` as a number of at most ``bits`` bits: hexadecimal, or a JSON integer."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        number = value
    elif not isinstance(value, str) or not value.startswith("0x"):
        raise _invalid(index, "hex string without 0x prefix")
    elif re.match("0x0.", value):
        raise _invalid(index, "hex number with leading zero digits")
    elif not _QUANTITY.fullmatch(value):
        raise _invalid(index, "invalid hex string")
    else:
        number = int(value, 16)
    if number.bit_length() > bits:
        raise _invalid(index, f"hex number > {bits} bits")
    return number


def expect_bytes(value: object, index: int, size: int | None = None) -> bytes:
    """Read argument ``index`` as bytes, of ``size`` bytes unless that is None."""
    kind = _GO_TYPES[size]
    if not isinstance(value, str) or not value.startswith("0x"):
        raise _invalid(index, f"json: cannot unmarshal hex string without 0x prefix into Go value of type {kind}")
    if len(value) % 2:
        raise _invalid(index, f"json: cannot unmarshal hex string of odd length into Go value of type {kind}")
    if not _DATA.fullmatch(value):
        raise _invalid(index, f"json: cannot unmarshal invalid hex string into Go value of type {kind}")
    read = bytes.fromhex(value[2:])
    if size is not None and len(read) != size:
        raise _invalid(index, f"hex string has length {2 * len(read)}, want {2 * size} for {kind}")
    return read


def expect_address(value: object, index: int) -> Address:
    """Read argument ``index`` as an address."""
    return Address(expect_bytes(value, index, 20))


def expect_bool(value: object, index: int) -> bool:
    """Read argument ``index`` as a truth value."""
    if not isinstance(value, bool):
        raise _invalid(index, "expected a bool")
    return value


def expect_list(value: object, index: int) -> list[object]:
    """Read argument ``index`` as a list; None is empty."""
    if value is not None and not isinstance(value, list):
        raise _invalid(index, "expected a list")
    return value or []


def expect_percentiles(value: object) -> list[float]:
    """Read argument 2 as ascending numbers from 0 to 100; None is an empty list."""
    items = expect_list(value, 2)
    numbers = [float(item) for item in items if isinstance(item, int | float) and not isinstance(item, bool)]
    if len(numbers) != len(items) or numbers != sorted(numbers) or not all(0 <= number <= 100 for number in numbers):
        raise RpcError(-32000, "invalid reward percentile")
    return numbers


class Fields:
    """The fields of an object in argument ``index``. A field that is null counts as missing, and is read as None.

    Raises, all methods: RpcError, with the code of an invalid argument.
    """

    def __init__(self, value: object, index: int) -> None:
        if not isinstance(value, dict):
            raise _invalid(index, "expected an object")
        self.values: Mapping[str, object] = value
        self._index = index

    def get(self, name: str) -> object:
        """The field's value, of any type."""
        return self.values.get(name)

    def number(self, name: str, bits: int = 64) -> int | None:
        """A number of at most ``bits`` bits."""
        value = self.get(name)
        return None if value is None else expect_number(value, self._index, bits)

    def data(self, name: str, size: int | None = None) -> bytes | None:
        """Bytes, of ``size`` bytes unless that is None."""
        value = self.get(name)
        return None if value is None else expect_bytes(value, self._index, size)

    def objects(self, name: str) -> list[Fields]:
        """A list of objects, empty if the field is missing."""
        return [Fields(item, self._index) for item in expect_list(self.get(name), self._index)]

    def words(self, name: str) -> dict[int, int] | None:
        """An object from words to words, each of 32 bytes."""
        value = self.get(name)
        if value is None:
            return None
        entries = Fields(value, self._index).values.items()
        return {_word(key, self._index): _word(item, self._index) for key, item in entries}


def block_name(value: object, index: int, *, allow_hash: bool = True) -> tuple[BlockName, bool]:
    """Read argument ``index`` as a block (EIP-1898): its name, and whether it must be canonical."""
    match value:
        case str("latest" | "pending" | "earliest" | "safe" | "finalized" as tag):
            return tag, False
        case dict() if allow_hash:
            fields = Fields(value, index)
            if ("blockHash" in fields.values) is ("blockNumber" in fields.values):
                raise _invalid(index, "cannot specify both BlockHash and BlockNumber, choose one or the other")
            if "blockNumber" in fields.values:
                return block_name(fields.get("blockNumber"), index, allow_hash=False)
            must_be_canonical = expect_bool(fields.values.get("requireCanonical", False), index)
            return expect_bytes(fields.get("blockHash"), index, 32), must_be_canonical
        case str() if allow_hash and len(value) == 66:
            return expect_bytes(value, index, 32), False
        case _:
            number = expect_number(value, index)
            if number >> 63:
                raise _invalid(index, "blocknumber too high" if allow_hash else "block number larger than int64")
            return number, False


def storage_key(value: object) -> tuple[int, int]:
    """Read a storage slot as op-geth does: up to 32 bytes, padded or not. Returns the slot and the bytes it had."""
    if not isinstance(value, str):
        kind = _JSON_TYPES.get(type(value), "null")
        raise _invalid(1, f"json: cannot unmarshal {kind} into Go value of type string")
    digits = value[2:] if value[:2] in ("0x", "0X") else value
    digits = "0" * (len(digits) % 2) + digits
    if len(digits) > 64:
        raise RpcError(INVALID_PARAMS, f'storage key too long (want at most 32 bytes): "{value}"')
    if not _DATA.fullmatch("0x" + digits):
        raise RpcError(INVALID_PARAMS, f'invalid hex in storage key: "{value}"')
    return int(digits or "0", 16), len(digits) // 2


def call_request(value: object, chain_id: int) -> CallRequest:
    """Read the first argument of ``eth_call`` or ``eth_estimateGas``.

    A nonce is checked and has no effect, as in op-geth.

    Raises:
        RpcError: a field is malformed, or the message is for another chain than ``chain_id``.
    """
    fields = Fields(value, 0)
    if any(fields.get(name) for name in ("blobs", "blobVersionedHashes", "maxFeePerBlobGas")):
        raise RpcError(-32000, "blob transactions are not supported")
    if (have := fields.number("chainId", 256)) not in (None, chain_id):
        raise RpcError(-32000, f"chainId does not match node's (have={have}, want={chain_id})")
    fields.number("nonce")
    price, most, tip = (fields.number(name, 256) for name in ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas"))
    if price is not None:
        if most is not None or tip is not None:
            raise RpcError(-32000, "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
        most = tip = price
    gas = fields.number("gas")
    # "data" is the older name; "input" takes precedence.
    payload = fields.data("data" if fields.get("input") is None else "input")
    delegates = fields.get("authorizationList") is not None
    return CallRequest(
        sender=fields.data("from", 20) or bytes(20),
        to=fields.data("to", 20) or b"",
        value=fields.number("value", 256) or 0,
        data=payload or b"",
        gas=CALL_GAS_LIMIT if gas is None else min(gas, CALL_GAS_LIMIT),
        gas_price=most or 0,
        tip=tip or 0,
        access_list=_access_list(fields.objects("accessList")),
        authorizations=tuple(map(_authorization, fields.objects("authorizationList"))) if delegates else None,
    )


def _access_list(items: list[Fields]) -> AccessList:
    return tuple(
        [
            (
                expect_address(item.get("address"), 0),
                tuple([_word(key, 0) for key in expect_list(item.get("storageKeys"), 0)]),
            )
            for item in items
        ]
    )


def _authorization(item: Fields) -> Authorization:
    chain_id, r, s = (expect_number(item.get(name), 0, 256) for name in ("chainId", "r", "s"))
    nonce, y_parity = (expect_number(item.get(name), 0) for name in ("nonce", "yParity"))
    return Authorization(chain_id, expect_address(item.get("address"), 0), nonce, y_parity, r, s)


def state_overrides(value: object, index: int) -> Overrides:
    """Read argument ``index`` as state overrides: what replaces the values of accounts; None is none."""
    values = {} if value is None else Fields(value, index).values
    accounts = [(expect_bytes(name, index, 20), Fields(item, index)) for name, item in values.items()]
    return {address: _account_override(address, fields, index) for address, fields in accounts}


def _account_override(address: bytes, fields: Fields, index: int) -> AccountOverride:
    if 0 < int.from_bytes(address, "big") <= _LAST_PRECOMPILE or fields.get("movePrecompileToAddress") is not None:
        raise _invalid(index, "a precompiled contract cannot be overridden on the simnet")
    storage, slots = fields.words("state"), fields.words("stateDiff")
    if storage is not None and slots is not None:
        raise RpcError(-32000, f"account {to_checksum(address)} has both 'state' and 'stateDiff'")
    return AccountOverride(fields.number("balance", 256), fields.number("nonce"), fields.data("code"), storage, slots)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs ``eth_getLogs``, a filter or a subscription asks for."""

    block_hash: bytes | None
    first: BlockName
    last: BlockName
    addresses: frozenset[bytes]
    """The emitting contracts; empty selects all."""
    topics: tuple[frozenset[int], ...]
    """The values allowed at each position; empty allows any."""

    def can_match(self, bloom: int) -> bool:
        """Whether a block or a receipt with that bloom filter can have a log that matches."""
        words = [{topic.to_bytes(32, "big") for topic in allowed} for allowed in self.topics]
        return all(
            not allowed or any(bloom_bits(value) & ~bloom == 0 for value in allowed)
            for allowed in (self.addresses, *words)
        )

    def matches(self, log: LogAPI) -> bool:
        """Whether address and topics of the log match; its block is not considered."""
        if self.addresses and bytes(log.address) not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(not allowed or topic in allowed for allowed, topic in zip(self.topics, log.topics, strict=False))


def log_filter(value: object, index: int = 0) -> LogFilter:
    """Read argument ``index`` as the criteria of ``eth_getLogs``, of a filter or of a subscription to logs."""
    fields = Fields(value, index)
    block_hash = fields.data("blockHash", 32)
    if block_hash is not None and ("fromBlock" in fields.values or "toBlock" in fields.values):
        raise _invalid(index, "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
    topics = expect_list(fields.get("topics"), index)
    if len(topics) > _MOST_TOPICS:
        raise _invalid(index, "exceed max topics")
    return LogFilter(
        block_hash,
        first=block_name(fields.get("fromBlock") or "latest", index, allow_hash=False)[0],
        last=block_name(fields.get("toBlock") or "latest", index, allow_hash=False)[0],
        addresses=frozenset(expect_bytes(item, index, 20) for item in _one_or_many(fields.get("address"))),
        topics=tuple([frozenset(_word(item, index) for item in _one_or_many(topic)) for topic in topics]),
    )


def _one_or_many(value: object) -> list[object]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _word(value: object, index: int) -> int:
    return int.from_bytes(expect_bytes(value, index, 32), "big")


def _invalid(index: int, reason: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"invalid argument {index}: {reason}")
