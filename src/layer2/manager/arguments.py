"""Checks of the arguments of a manager's public calls. A wrong type is an error with a remedy, before any request."""

from __future__ import annotations

import math
from typing import Final

from layer2.errors import InvalidAmount, InvalidRequest, ProtocolNotConfigured, ProtocolNotImplemented
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.proofs.challenge import HolderChallenge
from layer2.proofs.model import TransferProof
from layer2.terms.transfers import Quote, TransferState

__all__ = [
    "check_amount_types",
    "check_challenge_type",
    "check_flag",
    "check_implemented",
    "check_key",
    "check_proof_type",
    "check_quote_type",
    "check_recipient_type",
    "check_until",
    "not_configured",
    "read_timeout",
    "read_transfer_id",
]

_LONGEST_KEY: Final = 200
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
    if not isinstance(transfer_id, str):
        raise InvalidRequest(
            f"a transfer id must be a str, not {type(transfer_id).__name__}",
            code="transfer_id",
            remedy="pass the transfer_id of a Transfer",
        )
    return SwapId(transfer_id)


def check_quote_type(quote: Quote) -> None:
    """Check that a transfer is started from a quote.

    Raises:
        InvalidRequest: code ``quote``.
    """
    if not isinstance(quote, Quote):
        raise InvalidRequest(
            f"a transfer is started from a Quote, not from a {type(quote).__name__}",
            code="quote",
            remedy="quote = await layers.quote_transfer_async(...)",
        )


def check_amount_types(amount: int | None, send_amount: int | None, max_fee: int | None) -> None:
    """Check the types of amounts. Their values are checked with the request.

    Raises:
        InvalidAmount: ``amount`` or ``send_amount`` is not an int.
        InvalidRequest: code ``max_fee``: ``max_fee`` is not an int.
    """
    for name, value in (("amount", amount), ("send_amount", send_amount)):
        if value is not None and not _is_int(value):
            raise InvalidAmount(
                f"{name} is a {type(value).__name__}; it must be an int", remedy="pass an int, for BTC in satoshi"
            )
    if max_fee is not None and not _is_int(max_fee):
        raise InvalidRequest(
            f"max_fee is a {type(max_fee).__name__}; it must be an int",
            code="max_fee",
            remedy="pass an int, for BTC in satoshi",
        )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_recipient_type(recipient: str | None) -> None:
    """Check the type of a recipient. The destination's layer checks its content.

    Raises:
        InvalidRequest: code ``recipient``.
    """
    if recipient is not None and not isinstance(recipient, str):
        raise InvalidRequest(
            f"recipient must be a str, not {type(recipient).__name__}",
            code="recipient",
            remedy="pass a BOLT 11 invoice, or omit recipient to receive the money yourself",
        )


def check_flag(name: str, value: bool) -> None:
    """Check the type of a flag.

    Raises:
        InvalidRequest: the code is its name.
    """
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} is a {type(value).__name__}; it must be a bool", code=name, remedy=f"{name}=True")


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


def check_proof_type(proof: TransferProof) -> None:
    """Check that a proof was read before it is verified.

    Raises:
        InvalidRequest: code ``proof``.
    """
    if not isinstance(proof, TransferProof):
        raise InvalidRequest(
            f"a proof must be a TransferProof, not a {type(proof).__name__}",
            code="proof",
            remedy="read it first: TransferProof.load(file), or TransferProof.from_bytes(data)",
        )


def check_challenge_type(challenge: HolderChallenge) -> None:
    """Check that a challenge was read before it is answered.

    Raises:
        InvalidRequest: code ``challenge``.
    """
    if not isinstance(challenge, HolderChallenge):
        raise InvalidRequest(
            f"a challenge must be a HolderChallenge, not a {type(challenge).__name__}",
            code="challenge",
            remedy="read it first: HolderChallenge.from_bytes(data)",
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
