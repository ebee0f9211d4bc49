"""Requests to send a transaction on an EVM layer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

from layer2.errors import FormatError
from layer2.formats import canonical_json
from layer2.formats.evm_address import parse_address, read_address, to_checksum

__all__ = ["EvmTransaction", "EvmTransactionRequest", "request_digest"]


@dataclass(frozen=True, slots=True)
class EvmTransactionRequest:
    """A transaction without nonce, prices and signature, which the client adds.

    Raises:
        FormatError: the address is invalid, the value or the gas limit is not a non-negative whole number, or the data
            is not bytes.
    """

    to: str | None
    """``0x`` and 40 hex digits; None creates a contract."""
    value: int = 0
    """Wei."""
    data: bytes = b""
    gas_limit: int | None = None
    """None uses the node's estimate plus a fifth. The estimate shows ``data`` to the node."""

    def __post_init__(self) -> None:
        if self.to is not None:
            read_address(self.to)
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise FormatError("EVM transaction: the value must be a non-negative whole number of wei")
        if self.gas_limit is not None and (not isinstance(self.gas_limit, int) or self.gas_limit < 0):
            raise FormatError("EVM transaction: the gas limit must be a non-negative whole number")
        if not isinstance(self.data, bytes):
            raise FormatError("EVM transaction: the data must be bytes")

    @property
    def recipient(self) -> bytes | None:
        """20 bytes, or None."""
        return None if self.to is None else read_address(self.to)

    def check_network(self, chain_id: int) -> None:
        """Check that the address does not have the checksum of another network.

        Raises:
            FormatError: it has (``other_network``).
        """
        if self.to is not None:
            parse_address(self.to, chain_id)


EvmTransaction: TypeAlias = EvmTransactionRequest | bytes
"""A request, or the bytes of a signed transaction, as for ``eth_sendRawTransaction``: of type 2 on BOB, a legacy one
with the chain id on Rootstock."""


def request_digest(request: EvmTransaction) -> str:
    """The sha256 of all fields of a request, as hex."""
    if isinstance(request, bytes):
        return hashlib.sha256(request).hexdigest()
    recipient = request.recipient
    fields = {
        "to": None if recipient is None else to_checksum(recipient),
        "value": str(request.value),
        "data": request.data.hex(),
        "gas_limit": None if request.gas_limit is None else str(request.gas_limit),
    }
    return hashlib.sha256(canonical_json.encode(fields)).hexdigest()
