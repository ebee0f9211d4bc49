"""Lightning legs with invoices of the library bolt11."""

from __future__ import annotations

import bolt11
from bolt11 import Bolt11, MilliSatoshi, Tag, TagChar, Tags
from bolt11.models.features import Feature, Features, FeatureState

from vectors.documents import AMOUNT, ISSUED_AT, PAYMENT_HASH, PREIMAGE, Document
from vectors.keys import Key

__all__ = ["PAYEE", "invoice", "leg", "payment"]

PAYEE = Key("payee")


def invoice(
    amount: int = AMOUNT, *, key: Key = PAYEE, currency: str = "bcrt", payment_hash: bytes = PAYMENT_HASH
) -> str:
    """An invoice over an amount in satoshi, dated one second before the terms."""
    features = Features.from_feature_list(
        {Feature.var_onion_optin: FeatureState.required, Feature.payment_secret: FeatureState.required}
    )
    tags = Tags(
        [
            Tag(TagChar.payment_hash, payment_hash.hex()),
            Tag(TagChar.payment_secret, "00" * 32),
            Tag(TagChar.description, "swap"),
            Tag(TagChar.expire_time, 3600),
            Tag(TagChar.min_final_cltv_expiry, 80),
            Tag(TagChar.features, features),
        ]
    )
    made = Bolt11(currency=currency, amount_msat=MilliSatoshi(amount * 1000), date=ISSUED_AT - 1, tags=tags)
    return bolt11.encode(made, key.secret.to_bytes(32, "big").hex())


def leg(amount: int = AMOUNT, **changes: object) -> Document:
    return {
        "kind": "lightning",
        "prefix": "bcrt",
        "invoice": invoice(amount),
        "payee": PAYEE.compressed.hex(),
        "amount_msat": str(amount * 1000),
        "cltv_limit": 200,
        "min_blocks_left": 0,
        "fee_limit_msat": "10000",
    } | changes


def payment() -> Document:
    return {"type": "lightning_payment", "preimage": PREIMAGE.hex()}
