"""Transfers as the journal would show them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import SwapId
from layer2.terms.transfers import Actor, Transfer, TransferRequest, TransferState

__all__ = ["NOW", "REQUEST", "transfer"]

NOW = 1_800_000_000
"""15 January 2027, 08:00:00 UTC."""
REQUEST = TransferRequest(BTC, 100_000, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING)

_FUNDED = Transfer(
    transfer_id=SwapId("00" * 16),
    request=REQUEST,
    idempotency_key=None,
    state=TransferState.FUNDED,
    version=4,
    provider_name="local",
    send_amount=100_420,
    fee=420,
    next_actor=Actor.PROVIDER,
    deadline=NOW + 600,
    refundable_from=NOW + 900,
    funds="100,420 sat on BOB are locked",
    source_tx_id="0x" + "ab" * 32,
    destination_tx_id=None,
    reason=None,
    attention=None,
    final_at=None,
    created_at=NOW - 60,
    updated_at=NOW - 30,
)


def transfer(**changes: Any) -> Transfer:
    """A transfer that is funded, with some fields changed."""
    return replace(_FUNDED, **changes)
