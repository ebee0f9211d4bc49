"""Ids, statuses and secrets of single transactions, shared by all layers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, NewType, TypeVar

from layer2.errors import FormatError

__all__ = [
    "EvmTxId",
    "Finality",
    "LightningPaymentId",
    "Preimage",
    "SwapId",
    "TxState",
    "TxStatus",
]

EvmTxId = NewType("EvmTxId", str)
"""Transaction hash, ``0x`` and 64 lower-case hex digits."""
LightningPaymentId = NewType("LightningPaymentId", str)
"""Payment hash, 64 lower-case hex digits (BOLT 11)."""
SwapId = NewType("SwapId", str)
"""128 random bits made by the taker, 32 lower-case hex digits. The swap's public id: it gives access to nothing."""

TxIdT = TypeVar("TxIdT")


@dataclass(frozen=True, slots=True)
class Preimage:
    """The 32-byte secret behind a payment hash. Its repr never shows it."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != 32:
            raise FormatError(f"a preimage has 32 bytes, not {len(self.secret)}")

    @property
    def payment_hash(self) -> bytes:
        """sha256 of the secret, 32 bytes."""
        return hashlib.sha256(self.secret).digest()


class Finality(Enum):
    """How settled a fact on a rollup is (OP Stack's three heads)."""

    LATEST = "latest"
    """The sequencer said so; it can still change."""
    SAFE = "safe"
    """Its batch was posted to Ethereum."""
    FINALIZED = "finalized"
    """The Ethereum block of the batch is finalized."""

    def includes(self, other: Finality) -> bool:
        """Whether what is settled like this is settled like the other too."""
        return _STRENGTH[self] >= _STRENGTH[other]


_STRENGTH = {finality: strength for strength, finality in enumerate(Finality)}


class TxState(Enum):
    """What a layer's own node says about a transaction or payment."""

    PENDING = "pending"
    """Known and not yet included; on Lightning: in flight."""
    INCLUDED = "included"
    """In a block at ``depth``; on Lightning this state does not occur."""
    FINAL = "final"
    """Irreversible by the layer's own measure; a Lightning payment that succeeded."""
    FAILED = "failed"
    """It ended without effect: reverted on chain, or a payment that the sender's node said has failed."""
    DROPPED = "dropped"
    """Another transaction took its place (same account and nonce)."""
    UNKNOWN = "unknown"
    """The node does not know it. That is not failure: it may be known elsewhere or appear later."""


@dataclass(frozen=True, slots=True)
class TxStatus(Generic[TxIdT]):
    """The status of one transaction, as one node said it at one moment."""

    tx_id: TxIdT
    state: TxState
    depth: int | None = None
    """Number of blocks from its own to the head, both counted; None unless in a block."""
    block_number: int | None = None
    finality: Finality | None = None
    """The strongest head that contains it, or the transaction that took its place; None where neither is in a block."""
    fee: int | None = None
    """What it cost in the smallest unit of the layer's fee asset (wei; millisatoshi), once known."""
    reason: str | None = None
    """Why it failed, in the node's words."""
    preimage: Preimage | None = None
    """On Lightning, the proof of a payment that succeeded."""
    block_hash: bytes | None = None
    """32 bytes; None unless in a block. It changes when a reorganisation includes the transaction anew."""
    replaced_by: TxIdT | None = None
    """Of a DROPPED transaction, the one in a block that has its nonce, where it is one of this record's own."""
    parts: int | None = None
    """On Lightning, how many HTLCs carry it: in flight, held, or settled; None where none ever did."""
    expiry_height: int | None = None
    """Of a held Lightning invoice, the Bitcoin height at which the first of its HTLCs runs out. It has to be settled
    well before, or the payer has everything back."""
