"""Proofs of many transfers, each with a preimage and a swap id of its own."""

from __future__ import annotations

import hashlib
from typing import Any

from coincurve import PrivateKey

from layer2.legs.lightning import LightningLeg
from layer2.model.transactions import Preimage, SwapId
from layer2.proofs.model import TransferProof
from layer2.terms.documents import Terms
from proofs import made_proofs as made

__all__ = ["completed", "from_lightning", "preimage_of", "terms", "to_lightning"]


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


def to_lightning(number: int, swap: int, amount: int, *, payee: PrivateKey = made.PAYEE) -> TransferProof:
    """A completed transfer from BOB to Lightning with the preimage of a number, and an id and an amount of its own."""
    agreed = terms(
        number,
        swap_id=SwapId(f"{swap:032x}"),
        amount=amount,
        source=made.evm_leg(amount=amount + made.FEE),
        destination=_paid(number, amount, payee),
    )
    return completed(number, agreed)


def from_lightning(number: int, swap: int, amount: int, *, payee: PrivateKey = made.PROVIDER) -> TransferProof:
    """A completed transfer from Lightning to BOB: the payment is of the amount, to the provider's node."""
    agreed = terms(
        number,
        swap_id=SwapId(f"{swap:032x}"),
        amount=amount - made.FEE,
        source=_paid(number, amount, payee),
        destination=made.evm_leg(amount=amount - made.FEE),
    )
    preimage = preimage_of(number)
    return made.to_bob(agreed, payment=preimage, preimage=preimage)


def _paid(number: int, amount: int, payee: PrivateKey) -> LightningLeg:
    text = made.invoice(amount=amount, preimage=preimage_of(number), payee=payee)
    return made.lightning_leg(text, amount=amount, payee=payee.public_key.format())
