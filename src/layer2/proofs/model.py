"""The portable proof of a transfer: signed terms and evidence of each leg, and nothing that claims itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from layer2.layers import Layer2ProtocolType
from layer2.transactions import Preimage

__all__ = ["EvmReceiptEvidence", "LegEvidence", "LightningPaymentEvidence", "ProofOutcome"]

PROOF_VERSION = 1


class ProofOutcome(Enum):
    """What the evidence speaks of. It is computed from the evidence, never stored."""

    COMPLETED = "completed"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class EvmReceiptEvidence:
    """One log of one receipt of one block of an EVM layer, with the way to the block's header."""

    protocol: Layer2ProtocolType
    header: bytes
    """RLP of the block's header."""
    transaction_index: int
    receipt_proof: tuple[bytes, ...]
    """Nodes of the receipts trie from the root to the receipt (Merkle-Patricia)."""
    log_index: int
    """Index of the log within the receipt, from 0."""


@dataclass(frozen=True, slots=True)
class LightningPaymentEvidence:
    """The preimage of the invoice that the terms name.

    It shows that the payment could be collected. Whether the payer's node paid is shown only as far as the
    invoice's signer is independent of the one who made the preimage.
    """

    preimage: Preimage = field(repr=False)


LegEvidence: TypeAlias = EvmReceiptEvidence | LightningPaymentEvidence
