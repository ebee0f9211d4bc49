"""Read the arguments of JSON-RPC calls, with op-geth's errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from eth.abc import LogAPI
from eth.vm.forks.prague.transactions import Authorization
from eth_typing import Address

from layer2.formats.evm_address import to_checksum
from layer2.local.simnet.evm.calls import CALL_GAS_LIMIT, AccessList, AccountOverride, CallRequest, Overrides

__all__ = [
    "BlockName",
    "LogFilter",
    "RpcError",
    "block_name",
    "call_request",
    "expect_bool",
    "expect_bytes",
    "expect_number",
    "expect_percentiles",
    "log_filter",
    "state_overrides",
    "storage_key",
]

_Tag: TypeAlias = Literal["latest", "pending", "earliest", "safe", "finalized"]
BlockName: TypeAlias = _Tag | int | bytes
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


def expect_number(value: Any, index: int) -> int:
    """Read argument ``index`` as a number: hexadecimal, or a JSON integer."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if not isinstance(value, str) or not value.startswith("0x"):
        raise _invalid(index, "hex string without 0x prefix")
    if re.match("0x0.", value):
        raise _invalid(index, "hex number with leading zero digits")
    if not _QUANTITY.fullmatch(value):
        raise _invalid(index, "invalid hex string")
    return int(value, 16)


def expect_bytes(value: Any, index: int, size: int | None) -> bytes:
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


def expect_bool(value: Any, index: int) -> bool:
    """Read argument ``index`` as a truth value."""
    if not isinstance(value, bool):
        raise _invalid(index, "expected a bool")
    return value


def expect_percentiles(value: Any) -> list[float]:
    """Read an argument as ascending numbers from 0 to 100; None is an empty list."""
    if value is None:
        return []
    numbers = isinstance(value, list) and all(type(item) in (int, float) for item in value)
    if not numbers or value != sorted(value) or any(not 0 <= item <= 100 for item in value):
        raise RpcError(-32000, "invalid reward percentile")
    return [float(item) for item in value]


def block_name(value: Any, index: int, *, allow_hash: bool = True) -> tuple[BlockName, bool]:
    """Read argument ``index`` as a block (EIP-1898): its name, and whether it must be canonical."""
    if value in get_args(_Tag):
        return value, False
    if allow_hash and isinstance(value, dict):
        if "blockHash" in value and "blockNumber" not in value:
            must_be_canonical = expect_bool(value.get("requireCanonical", False), index)
            return expect_bytes(value["blockHash"], index, 32), must_be_canonical
        if "blockNumber" in value and "blockHash" not in value:
            return block_name(value["blockNumber"], index, allow_hash=False)
        raise _invalid(index, "cannot specify both BlockHash and BlockNumber, choose one or the other")
    if allow_hash and isinstance(value, str) and len(value) == 66:
        return expect_bytes(value, index, 32), False
    return expect_number(value, index), False


def storage_key(value: Any) -> tuple[int, int]:
    """Read a storage slot as op-geth does: up to 32 bytes, padded or not. Returns the slot and the bytes it had."""
    if not isinstance(value, str):
        kind = _JSON_TYPES.get(type(value), "null")
        raise _invalid(1, f"json: cannot unmarshal {kind} into Go value of type string")
    digits = value[2:] if value[:2] in ("0x", "0X") else value
    digits = "0" * (len(digits) % 2) + digits
    if len(digits) > 64:
        raise RpcError(-32602, f'storage key too long (want at most 32 bytes): "{value}"')
    if not _DATA.fullmatch("0x" + digits):
        raise RpcError(-32602, f'invalid hex in storage key: "{value}"')
    return int(digits or "0", 16), len(digits) // 2


def call_request(value: Any, chain_id: int) -> CallRequest:
    """Read the first argument of ``eth_call`` or ``eth_estimateGas``.

    A nonce is checked and has no effect, as in op-geth.

    Raises:
        RpcError: a field is malformed, or the message is for another chain than ``chain_id``.
    """
    if not isinstance(value, dict):
        raise _invalid(0, "expected an object")
    if any(value.get(name) for name in ("blobs", "blobVersionedHashes", "maxFeePerBlobGas")):
        raise RpcError(-32000, "blob transactions are not supported")
    if value.get("chainId") is not None and (have := expect_number(value["chainId"], 0)) != chain_id:
        raise RpcError(-32000, f"chainId does not match node's (have={have}, want={chain_id})")
    expect_number(value.get("nonce") or "0x0", 0)
    # "data" is the older name; "input" takes precedence.
    payload = value.get("data") if value.get("input") is None else value["input"]
    to, delegations = value.get("to"), value.get("authorizationList")
    return CallRequest(
        sender=expect_bytes(value.get("from") or "0x" + "00" * 20, 0, 20),
        to=b"" if to is None else expect_bytes(to, 0, 20),
        value=expect_number(value.get("value") or "0x0", 0),
        data=expect_bytes(payload or "0x", 0, None),
        gas=min(expect_number(value.get("gas") or CALL_GAS_LIMIT, 0), CALL_GAS_LIMIT),
        **_gas_prices(value),
        access_list=_access_list(value.get("accessList") or []),
        authorizations=None if delegations is None else tuple([_authorization(item) for item in _items(delegations)]),
    )


def _gas_prices(value: dict[str, Any]) -> dict[str, int]:
    price, most, tip = (value.get(name) for name in ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas"))
    if price is not None and (most is not None or tip is not None):
        raise RpcError(-32000, "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    most, tip = (most, tip) if price is None else (price, price)
    return {"gas_price": expect_number(most or "0x0", 0), "tip": expect_number(tip or "0x0", 0)}


def _access_list(value: Any) -> AccessList:
    return tuple(
        (
            Address(expect_bytes(item.get("address"), 0, 20)),
            tuple(int.from_bytes(expect_bytes(key, 0, 32), "big") for key in item.get("storageKeys") or []),
        )
        for item in _items(value)
    )


def _authorization(item: dict[str, Any]) -> Authorization:
    numbers = {
        name: expect_number(item.get(key), 0)
        for name, key in {"chain_id": "chainId", "nonce": "nonce", "y_parity": "yParity", "r": "r", "s": "s"}.items()
    }
    return Authorization(address=Address(expect_bytes(item.get("address"), 0, 20)), **numbers)


def _items(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _invalid(0, "expected a list of objects")
    return value


def state_overrides(value: Any, index: int) -> Overrides:
    """Read argument ``index`` as state overrides: what replaces the values of accounts; None is none."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise _invalid(index, "expected an object")
    accounts = [(expect_bytes(name, index, 20), item) for name, item in value.items()]
    return {address: _account_override(address, item, index) for address, item in accounts}


def _account_override(address: bytes, item: dict[str, Any], index: int) -> AccountOverride:
    if 0 < int.from_bytes(address, "big") <= _LAST_PRECOMPILE or item.get("movePrecompileToAddress") is not None:
        raise _invalid(index, "a precompiled contract cannot be overridden on the simnet")
    if item.get("state") is not None and item.get("stateDiff") is not None:
        raise RpcError(-32000, f"account {to_checksum(address)} has both 'state' and 'stateDiff'")
    balance, nonce, code = (item.get(key) for key in ("balance", "nonce", "code"))
    return AccountOverride(
        balance=None if balance is None else expect_number(balance, index),
        nonce=None if nonce is None else expect_number(nonce, index),
        code=None if code is None else expect_bytes(code, index, None),
        storage=_slots(item.get("state"), index),
        slots=_slots(item.get("stateDiff"), index),
    )


def _slots(value: Any, index: int) -> dict[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _invalid(index, "expected an object")
    words = [(expect_bytes(key, index, 32), expect_bytes(item, index, 32)) for key, item in value.items()]
    return {int.from_bytes(key, "big"): int.from_bytes(item, "big") for key, item in words}


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

    def matches(self, log: LogAPI) -> bool:
        """Whether address and topics of the log match; its block is not considered."""
        if self.addresses and bytes(log.address) not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(not allowed or topic in allowed for allowed, topic in zip(self.topics, log.topics, strict=False))


def log_filter(value: Any, index: int = 0) -> LogFilter:
    """Read argument ``index`` as the criteria of ``eth_getLogs``, of a filter or of a subscription to logs."""
    if not isinstance(value, dict):
        raise _invalid(index, "expected an object")
    block_hash = value.get("blockHash")
    if block_hash is not None and ("fromBlock" in value or "toBlock" in value):
        raise _invalid(index, "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
    topics = value.get("topics") or []
    if not isinstance(topics, list) or len(topics) > _MOST_TOPICS:
        raise _invalid(index, "exceed max topics")
    return LogFilter(
        block_hash=None if block_hash is None else expect_bytes(block_hash, index, 32),
        first=block_name(value.get("fromBlock") or "latest", index, allow_hash=False)[0],
        last=block_name(value.get("toBlock") or "latest", index, allow_hash=False)[0],
        addresses=frozenset(expect_bytes(item, index, 20) for item in _one_or_many(value.get("address"))),
        topics=tuple(
            frozenset(int.from_bytes(expect_bytes(item, index, 32), "big") for item in _one_or_many(topic))
            for topic in topics
        ),
    )


def _one_or_many(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _invalid(index: int, reason: str) -> RpcError:
    return RpcError(-32602, f"invalid argument {index}: {reason}")
