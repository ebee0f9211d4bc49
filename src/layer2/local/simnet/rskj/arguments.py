"""Read the arguments of JSON-RPC calls as rskj does, with its errors.

Sources: rskj (``BlockIdentifierParam``, ``BlockRefParam``, ``BlockHashParam``, ``HexAddressParam``, ``CallArguments``,
``Web3InformationRetriever``, ``RskErrorResolver``).
"""

from __future__ import annotations

import re
from typing import Final

from eth_typing import Address

from layer2.local.simnet.evm.arguments import INVALID_PARAMS, RpcError
from layer2.local.simnet.evm.calls import CallRequest
from layer2.local.simnet.evm.chain import EvmChain, MinedBlock
from layer2.local.simnet.rskj.pool import INTERNAL_ERROR

__all__ = [
    "BLOCK_NOT_FOUND",
    "CALL_GAS_CAP",
    "ESTIMATE_GAS_CAP",
    "BlockArguments",
    "address_argument",
    "bytes_argument",
    "call_argument",
    "number_argument",
    "unexpected",
]

BLOCK_NOT_FOUND: Final = -32600
CALL_GAS_CAP: Final = 10_000_000
ESTIMATE_GAS_CAP: Final = 6_800_000

_HEX: Final = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_DECIMAL: Final = re.compile(r"[0-9]+", re.ASCII)
_DATA: Final = re.compile(r"(0x)?([0-9a-fA-F]{2})*", re.ASCII)
_CALL_FIELDS: Final = frozenset(
    {"from", "to", "gas", "gasLimit", "gasPrice", "value", "data", "input", "nonce", "chainId", "type"}
)


def unexpected() -> RpcError:
    """The error for an argument that rskj's code does not expect."""
    return RpcError(INTERNAL_ERROR, "Internal server error")


def bytes_argument(value: object, size: int | None = None) -> bytes:
    """Read bytes in hexadecimal, of ``size`` bytes unless that is None; raises ``RpcError``."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise _invalid(f"Invalid argument: {value}")
    read = bytes.fromhex(value.removeprefix("0x"))
    if size is not None and len(read) != size:
        raise _invalid(f"invalid argument 0: hex string has length {2 * len(read)}, want {2 * size}")
    return read


def address_argument(value: object) -> Address:
    """Read an address, whose checksum is not checked; raises ``RpcError``."""
    return Address(bytes_argument(value, 20))


def number_argument(value: object) -> int:
    """Read a number: hexadecimal or decimal, in a string; raises ``RpcError``."""
    if isinstance(value, str) and _HEX.fullmatch(value):
        return int(value, 16)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return int(value)
    raise _invalid(f"invalid argument: {value}")


def call_argument(value: object, gas_cap: int) -> CallRequest:
    """Read a message. A field that rskj does not know is refused, such as the two prices of EIP-1559.

    The price is not read: rskj charges nothing for the execution of a message.

    Raises:
        RpcError: it is malformed.
    """
    if not isinstance(value, dict):
        raise unexpected()
    for name, item in value.items():
        if name not in _CALL_FIELDS:
            raise _invalid(f'Unrecognized field "{name}" ({len(_CALL_FIELDS)} known properties)')
        if item is not None and not isinstance(item, str):
            raise unexpected()
    fields = {name: item for name, item in value.items() if item}
    payload = fields.get("data", fields.get("input", "0x"))
    gas = fields.get("gas", fields.get("gasLimit"))
    return CallRequest(
        sender=address_argument(fields["from"]) if "from" in fields else bytes(20),
        to=address_argument(fields["to"]) if "to" in fields else b"",
        value=number_argument(fields.get("value", "0x0")),
        data=bytes_argument(payload),
        gas=gas_cap if gas is None else min(number_argument(gas), gas_cap),
    )


class BlockArguments:
    """The blocks that arguments name. ``safe`` and ``finalized`` are read, and then refused, as rskj does."""

    def __init__(self, chain: EvmChain) -> None:
        self._chain = chain

    def by_name(self, value: object) -> MinedBlock | None:
        """The block of ``eth_getBlockByNumber`` or ``rsk_getRawBlockHeaderByNumber``; None if there is none.

        Raises:
            RpcError: the argument is malformed, or names a block that rskj does not know by name.
        """
        if not isinstance(value, str):
            raise unexpected()
        match value:
            case "latest" | "pending":
                return self._chain.head
            case "earliest":
                return self._chain.block_by_number(0)
            case "safe" | "finalized":
                raise _invalid(f"invalid blocknumber {value}")
            case _ if _HEX.fullmatch(value):
                if len(value) == 66:
                    return self._chain.block_by_hash(bytes.fromhex(value[2:]))
                return self._chain.block_by_number(int(value, 16))
            case _ if _DECIMAL.fullmatch(value):
                raise _invalid(f"invalid blocknumber {value}")
            case _:
                raise _invalid(f"Invalid block identifier '{value}'")

    def with_state(self, value: object) -> MinedBlock:
        """The block whose state is read (EIP-1898).

        A hash selects the height of its block. Unless the block must be canonical, another one may answer.

        Raises:
            RpcError: the argument is malformed, or there is no such block.
        """
        match value:
            case dict():
                return self._by_reference(value)
            case "latest" | "pending" | "earliest":
                pass
            case str() if _HEX.fullmatch(value) or _DECIMAL.fullmatch(value):
                pass
            case _:
                raise _invalid(f"Invalid block identifier '{value}'")
        block = self.by_name(value)
        if block is None:
            raise RpcError(BLOCK_NOT_FOUND, f"Block {value} not found")
        return block

    def _by_reference(self, fields: dict[str, object]) -> MinedBlock:
        if not fields.keys() & {"blockHash", "blockNumber"}:
            raise _invalid("Invalid block input")
        # rskj reads every value as a string, and fails at JSON's true and false.
        if not all(isinstance(item, str) for item in fields.values()):
            raise unexpected()
        canonical = str(fields.get("requireCanonical", "false")).lower()
        if canonical not in ("true", "false"):
            raise _invalid('Invalid input: requireCanonical must be a String "true" or "false"')
        name = fields.get("blockHash")
        if name is None:
            return self.with_state(fields["blockNumber"])
        block = self._chain.block_by_hash(bytes_argument(name, 32))
        if block is None:
            raise RpcError(BLOCK_NOT_FOUND, f"Block with hash {name} not found")
        if canonical == "true" and not self._chain.is_canonical(block):
            raise RpcError(BLOCK_NOT_FOUND, f"Block with hash {name} is not canonical and it is required")
        return self.with_state(hex(block.number))


def _invalid(message: str) -> RpcError:
    return RpcError(INVALID_PARAMS, message)
