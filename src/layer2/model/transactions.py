"""Ids, statuses and secrets of single transactions, shared by all layers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, NewType, TypeVar

from layer2.errors.base import FormatError

__all__ = [
    "BitcoinTxId",
    "EvmTxId",
    "Finality",
    "LightningPaymentId",
    "Preimage",
    "SwapId",
    "TxState",
    "TxStatus",
]

BitcoinTxId = NewType("BitcoinTxId", str)
"""A transaction id as nodes display it: 64 hex digits."""
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
    """The finality of a block: the OP Stack's three heads. On Bitcoin and Rootstock, by the blocks above it."""

    LATEST = "latest"
    """The sequencer has published it, or a miner has mined it; it can still change."""
    SAFE = "safe"
    """Its batch was posted to Ethereum. On Rootstock, ``safe_depth`` blocks are above it."""
    FINALIZED = "finalized"
    """The Ethereum block of the batch is finalized. On Rootstock, ``final_depth`` blocks are above it."""

    def includes(self, other: Finality) -> bool:
        """Whether this finality is at least as strong as the other."""
        return _STRENGTH[self] >= _STRENGTH[other]


_STRENGTH = {finality: strength for strength, finality in enumerate(Finality)}


class TxState(Enum):
    """The state of a transaction or payment at a layer's node."""

    PENDING = "pending"
    """Known, but not included yet; on Lightning: in flight."""
    INCLUDED = "included"
    """In a block at ``depth``; on Lightning this state does not occur."""
    FINAL = "final"
    """Irreversible by the layer's rules; a Lightning payment that succeeded."""
    FAILED = "failed"
    """Ended without effect: reverted on chain, or a payment that has failed at the sender's node."""
    DROPPED = "dropped"
    """Another transaction replaced it (same account and nonce)."""
    UNKNOWN = "unknown"
    """The node does not know it. This does not mean failure: another node may know it, or it may appear later."""


@dataclass(frozen=True, slots=True)
class TxStatus(Generic[TxIdT]):
    """The status of one transaction, at one node and one moment."""

    tx_id: TxIdT
    state: TxState
    depth: int | None = None
    """Number of blocks from its block to the head, including both; None unless in a block."""
    block_number: int | None = None
    finality: Finality | None = None
    """The strongest head that contains it or its replacement; None if neither is in a block."""
    fee: int | None = None
    """Its cost in the smallest unit of the layer's fee asset (wei; millisatoshi), once known."""
    reason: str | None = None
    """The node's reason for a failure."""
    preimage: Preimage | None = None
    """On Lightning, the proof of a payment that succeeded."""
    block_hash: bytes | None = None
    """32 bytes; None unless in a block. A reorganisation can change it."""
    replaced_by: TxIdT | None = None
    """What replaced the transaction, if this client sent it. Of a DROPPED one: the transaction in a block that made it
    impossible. Of an UNKNOWN one on Bitcoin: the newest version, which is in no block yet."""
    parts: int | None = None
    """On Lightning, the number of its HTLCs: in flight, held, or settled; None if there never was one."""
    expiry_height: int | None = None
    """For a held Lightning invoice: the Bitcoin height at which the first of its HTLCs expires. Settle it well before
    that height, or the payer is refunded."""
