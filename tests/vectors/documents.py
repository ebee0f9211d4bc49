"""Proofs as JSON values, from the page that specifies them and without this package's code."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any, TypeAlias

from vectors.keys import Key, tagged

__all__ = ["PAYMENT_HASH", "PREIMAGE", "Document", "canonical", "changed", "proof", "sign", "terms", "terms_hash"]

Document: TypeAlias = dict[str, Any]

PROVIDER = Key("provider")
PREIMAGE = hashlib.sha256(b"preimage").digest()
PAYMENT_HASH = hashlib.sha256(PREIMAGE).digest()
ISSUED_AT = 1_790_000_001
AMOUNT = 100_000
FEE = 420


def canonical(value: object) -> bytes:
    """RFC 8785, for names in ASCII and integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def changed(document: Document, **places: object) -> Document:
    """A copy with other values at places like ``terms__source__amount``."""
    result = copy.deepcopy(document)
    for place, value in places.items():
        *path, last = place.split("__")
        inner = result
        for name in path:
            inner = inner[name]
        inner[last] = value
    return result


def terms(source: Document, destination: Document, **changes: object) -> Document:
    """Terms on regtest between two legs."""
    return {
        "version": 1,
        "swap_id": "ab" * 16,
        "quote_id": "cd" * 16,
        "network": "regtest",
        "asset": "BTC",
        "payment_hash": PAYMENT_HASH.hex(),
        "amount": str(AMOUNT),
        "provider_fee": str(FEE),
        "network_fee": "0",
        "source": source,
        "destination": destination,
        "issued_at": ISSUED_AT,
        "fund_by": ISSUED_AT + 600,
        "counter_fund_by": ISSUED_AT + 1200,
        "collect_by": ISSUED_AT + 3600,
        "provider": PROVIDER.x.hex(),
    } | changes


def terms_hash(made: Document) -> bytes:
    return tagged("layer2/terms/v1", canonical(made))


def sign(made: Document, key: Key = PROVIDER) -> Document:
    """The provider's attestation, by the scheme of the key in the terms."""
    digest = terms_hash(made)
    if len(made["provider"]) == 64:
        return {"type": "terms_signature", "scheme": "bip340", "signature": key.schnorr(digest).hex()}
    return {"type": "terms_signature", "scheme": "ecdsa", "signature": key.ecdsa(digest)[0].hex()}


def proof(made: Document, source_leg: Document | None, destination_leg: Document | None) -> Document:
    """A proof with the provider's signature of the terms."""
    return {
        "version": 1,
        "terms": made,
        "attestations": [sign(made)],
        "source_leg": source_leg,
        "destination_leg": destination_leg,
    }
