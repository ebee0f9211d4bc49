"""The arguments of JSON-RPC calls, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from eth.abc import LogAPI

from layer2.local.simnet.evm.chain import CALL_GAS_LIMIT, CallRequest

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
]

_Tag: TypeAlias = Literal["latest", "pending", "earliest", "safe", "finalized"]
BlockName: TypeAlias = _Tag | int | bytes
"""A tag, a height, or a block hash."""

_QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]*)", re.ASCII | re.IGNORECASE)
_DATA = re.compile(r"0x([0-9a-f]{2})*", re.ASCII | re.IGNORECASE)
_MOST_TOPICS = 4
_GO_TYPES: dict[int | None, str] = {None: "hexutil.Bytes", 20: "common.Address", 32: "common.Hash"}


class RpcError(Exception):
    """A call's answer is an error; ``code`` and ``data`` as JSON-RPC 2.0 has them."""

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
    """Read argument ``index`` as bytes, of that size where one is given."""
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
    """Read an argument as rising numbers from 0 to 100; None is none."""
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


def call_request(value: Any) -> CallRequest:
    """Read the first argument of ``eth_call`` or ``eth_estimateGas``."""
    if not isinstance(value, dict):
        raise _invalid(0, "expected an object")
    # "data" is the older name; where both are given, "input" counts.
    payload = value.get("data") if value.get("input") is None else value["input"]
    price = value.get("maxFeePerGas", value.get("gasPrice"))
    to = value.get("to")
    return CallRequest(
        sender=expect_bytes(value.get("from") or "0x" + "00" * 20, 0, 20),
        to=b"" if to is None else expect_bytes(to, 0, 20),
        value=expect_number(value.get("value") or "0x0", 0),
        data=expect_bytes(payload or "0x", 0, None),
        gas=min(expect_number(value.get("gas") or CALL_GAS_LIMIT, 0), CALL_GAS_LIMIT),
        gas_price=expect_number(price or "0x0", 0),
    )


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs ``eth_getLogs`` asks for."""

    block_hash: bytes | None
    first: BlockName
    last: BlockName
    addresses: frozenset[bytes]
    """Of the emitting contracts; empty is all."""
    topics: tuple[frozenset[int], ...]
    """What each position may hold; empty is anything."""

    def matches(self, log: LogAPI) -> bool:
        """Whether the log is one that was asked for, wherever its block is."""
        if self.addresses and bytes(log.address) not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(not allowed or topic in allowed for allowed, topic in zip(self.topics, log.topics, strict=False))


def log_filter(value: Any) -> LogFilter:
    """Read the argument of ``eth_getLogs``."""
    if not isinstance(value, dict):
        raise _invalid(0, "expected an object")
    block_hash = value.get("blockHash")
    if block_hash is not None and ("fromBlock" in value or "toBlock" in value):
        raise _invalid(0, "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
    topics = value.get("topics") or []
    if not isinstance(topics, list) or len(topics) > _MOST_TOPICS:
        raise RpcError(-32602, "exceed max topics")
    return LogFilter(
        block_hash=None if block_hash is None else expect_bytes(block_hash, 0, 32),
        first=block_name(value.get("fromBlock") or "latest", 0, allow_hash=False)[0],
        last=block_name(value.get("toBlock") or "latest", 0, allow_hash=False)[0],
        addresses=frozenset(expect_bytes(item, 0, 20) for item in _one_or_many(value.get("address"))),
        topics=tuple(
            frozenset(int.from_bytes(expect_bytes(item, 0, 32), "big") for item in _one_or_many(topic))
            for topic in topics
        ),
    )


def _one_or_many(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _invalid(index: int, reason: str) -> RpcError:
    return RpcError(-32602, f"invalid argument {index}: {reason}")
