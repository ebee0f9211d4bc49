"""Checks of the arguments of a manager's public calls. A wrong type is an error with a remedy, before any request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from layer2.errors import InvalidAmount, InvalidRequest, ProtocolNotConfigured, ProtocolNotImplemented
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.proofs.challenge import HolderChallenge
from layer2.proofs.model import TransferProof
from layer2.terms.transfers import Quote, TransferState

__all__ = [
    "check_implemented",
    "check_key",
    "check_type",
    "check_until",
    "not_configured",
    "read_timeout",
    "read_transfer_id",
]

_LONGEST_KEY: Final = 200
_AMOUNTS: Final = frozenset({"amount", "send_amount"})
_IN_SATOSHI: Final = "pass an int, for BTC in satoshi"
_TYPES: Final[Mapping[str, tuple[type, str]]] = {
    "amount": (int, _IN_SATOSHI),
    "send_amount": (int, _IN_SATOSHI),
    "max_fee": (int, _IN_SATOSHI),
    "quote": (Quote, "quote = await layers.quote_transfer_async(...)"),
    "recipient": (str, "pass a BOLT 11 invoice, or omit recipient to receive the money yourself"),
    "transfer_id": (str, "pass the transfer_id of a Transfer"),
    "proof": (TransferProof, "read it first: TransferProof.load(file), or TransferProof.from_bytes(data)"),
    "challenge": (HolderChallenge, "read it first: HolderChallenge.from_bytes(data)"),
    "funded_by_others": (bool, "funded_by_others=True"),
    "from_storage": (bool, "from_storage=True"),
}
"""By argument of a public call: its type, and what to do about another one."""
_UNTIL: Final = (TransferState.ARRIVED, TransferState.COMPLETED)


def check_key(key: str | None) -> None:
    """Check an idempotency key.

    Raises:
        InvalidRequest: code ``idempotency_key``.
    """
    if key is not None and (not isinstance(key, str) or not 1 <= len(key) <= _LONGEST_KEY or not key.isprintable()):
        raise InvalidRequest(
            f"an idempotency key must be a str of 1 to {_LONGEST_KEY} printable characters",
            code="idempotency_key",
            remedy="omit it, or pass an id from your own system, such as an order number",
        )


def read_timeout(timeout: float | None, default: float | None) -> float | None:
    """The time limit of a call in seconds.

    Args:
        default: used if ``timeout`` is None.

    Raises:
        InvalidRequest: code ``timeout``.
    """
    if timeout is None:
        return default
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or math.isnan(timeout) or timeout < 0:
        raise InvalidRequest(
            f"timeout is {timeout!r}; it must be a number of seconds, 0 or more", code="timeout", remedy="timeout=30"
        )
    return timeout


def read_transfer_id(transfer_id: str) -> SwapId:
    """The id of a transfer. The journal decides whether it exists.

    Raises:
        InvalidRequest: code ``transfer_id``.
    """
    check_type("transfer_id", transfer_id)
    return SwapId(transfer_id)


def check_type(name: str, value: object) -> None:
    """Check the type of an argument of a public call.

    Args:
        name: the argument's, which has a type in ``_TYPES``.

    Raises:
        InvalidAmount: an amount is not an int.
        InvalidRequest: another argument has another type. The code is its name.
    """
    kind, remedy = _TYPES[name]
    # To Python, a bool is an int.
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return
    article = "an" if kind is int else "a"
    message = f"{name} must be {article} {kind.__name__}, not a {type(value).__name__}"
    if name in _AMOUNTS:
        raise InvalidAmount(message, remedy=remedy)
    raise InvalidRequest(message, code=name, remedy=remedy)


def check_until(until: TransferState) -> None:
    """Check the state that a call waits for.

    Raises:
        InvalidRequest: code ``until``.
    """
    if until not in _UNTIL:
        raise InvalidRequest(
            f"until is {until!r}; it must be TransferState.COMPLETED or TransferState.ARRIVED",
            code="until",
            remedy="until=TransferState.ARRIVED",
        )


def not_configured(protocol_type: Layer2ProtocolType) -> ProtocolNotConfigured:
    """The error for a layer without a table in the configuration."""
    table = f"[{protocol_type.value.lower()}]"
    return ProtocolNotConfigured(
        f"the configuration has no table {table}", protocol=protocol_type.value, remedy=f"add {table}"
    )


def check_implemented(network: str, *protocol_types: Layer2ProtocolType) -> None:
    """Check that this version has clients for these layers.

    Raises:
        InvalidRequest: code ``protocol``: an argument is not a ``Layer2ProtocolType``.
        ProtocolNotImplemented: this version has no client for a layer on the network.
    """
    for protocol_type in protocol_types:
        if not isinstance(protocol_type, Layer2ProtocolType):
            raise InvalidRequest(
                f"{protocol_type!r} is not a layer",
                code="protocol",
                remedy="pass a Layer2ProtocolType, such as Layer2ProtocolType.BOB",
            )
        facts = LAYERS.get(protocol_type)
        if facts is None or network not in facts.clients_on:
            raise ProtocolNotImplemented(
                f"this version has no client for {protocol_type.value} on {network}", protocol=protocol_type.value
            )
