"""Proofs of many transfers, each with a preimage and a swap id of its own."""

from __future__ import annotations

import hashlib
from typing import Any

from layer2.model.transactions import Preimage, SwapId
from layer2.proofs.model import TransferProof
from layer2.terms.documents import Terms
from proofs import made_proofs as made

__all__ = ["completed", "preimage_of", "terms"]


def terms(number: int, **changes: Any) -> Terms:
    """Terms from BOB to Lightning with a preimage and a swap id of their own."""
    preimage = preimage_of(number)
    own: dict[str, Any] = {
        "swap_id": SwapId(f"{number:032x}"),
        "payment_hash": preimage.payment_hash,
        "destination": made.lightning_leg(made.invoice(preimage=preimage)),
    }
    return made.terms(**own | changes)


def preimage_of(number: int) -> Preimage:
    """A preimage for each number."""
    return Preimage(hashlib.sha256(number.to_bytes(4, "big")).digest())


def completed(number: int, agreed: Terms | None = None) -> TransferProof:
    """A completed transfer with the preimage of a number."""
    preimage = preimage_of(number)
    return made.to_lightning(terms(number) if agreed is None else agreed, payment=preimage, preimage=preimage)
