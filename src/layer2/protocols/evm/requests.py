"""What a user asks an EVM layer to send."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

from layer2.errors import FormatError
from layer2.formats import canonical_json
from layer2.formats.evm_address import parse_address, to_checksum

__all__ = ["EvmTransaction", "EvmTransactionRequest", "request_digest"]


@dataclass(frozen=True, slots=True)
class EvmTransactionRequest:
    """A transaction without nonce, prices and signature: the client adds them.

    Raises:
        FormatError: an address that is none, a value or a gas limit that is no whole number or negative, or data that
            is not bytes.
    """

    to: str | None
    """``0x`` and 40 hex digits; None creates a contract."""
    value: int = 0
    """Wei."""
    data: bytes = b""
    gas_limit: int | None = None
    """None lets the node estimate it, and a fifth is added. The estimate shows ``data`` to the node."""

    def __post_init__(self) -> None:
        if self.to is not None:
            parse_address(self.to)
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise FormatError("EVM transaction: the value must be a whole number of wei, not negative")
        if self.gas_limit is not None and (not isinstance(self.gas_limit, int) or self.gas_limit < 0):
            raise FormatError("EVM transaction: the gas limit must be a whole number, not negative")
        if not isinstance(self.data, bytes):
            raise FormatError("EVM transaction: the data must be bytes")

    @property
    def recipient(self) -> bytes | None:
        """20 bytes, or None."""
        return None if self.to is None else parse_address(self.to)


EvmTransaction: TypeAlias = EvmTransactionRequest | bytes
"""A request, or a signed transaction of type 2 as ``eth_sendRawTransaction`` takes it."""


def request_digest(request: EvmTransaction) -> str:
    """What tells two requests apart: the sha256 of all that was asked for, as hex."""
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
