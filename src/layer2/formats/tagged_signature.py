"""Tagged hashes and Schnorr signatures (BIP 340) over 32-byte digests, and the digest of a JSON value.

The tag names what is signed. Two purposes never share a tag, so a signature for one is invalid for the other.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

from coincurve import PrivateKey, PublicKey, PublicKeyXOnly
from coincurve.ecdsa import cdata_to_der, der_to_cdata, deserialize_compact, serialize_compact
from coincurve.utils import GROUP_ORDER_INT

from layer2.errors.base import FormatError
from layer2.formats import canonical_json
from layer2.formats.canonical_json import JsonValue

__all__ = [
    "compact_ecdsa",
    "has_low_s",
    "is_public_key",
    "json_digest",
    "sign",
    "tagged_hash",
    "verify",
    "verify_ecdsa",
]


def is_public_key(data: bytes) -> bool:
    """Whether the bytes are a compressed public key of secp256k1, 33 bytes."""
    try:
        return PublicKey(data).format() == data
    except ValueError:
        return False


def tagged_hash(tag: str, data: bytes) -> bytes:
    """SHA-256 of the tag's own SHA-256 twice and then the data: 32 bytes.

    Source: BIP 340, "Design", tagged hashes.
    """
    prefix = sha256(tag.encode("utf-8")).digest()
    return sha256(prefix + prefix + data).digest()


def json_digest(tag: str, value: JsonValue) -> bytes:
    """The tagged hash of the canonical form of a value: 32 bytes.

    Raises:
        FormatError: the value has no canonical form; see ``canonical_json.encode``.
    """
    return tagged_hash(tag, canonical_json.encode(value))


def sign(secret: bytes, digest: bytes, aux_randomness: bytes) -> bytes:
    """Sign a digest; the same arguments give the same signature.

    Args:
        secret: the private key, 32 bytes. Never appears in an error.
        digest: 32 bytes, a tagged hash.
        aux_randomness: 32 bytes, fresh for each signature if possible. Not a secret, and not needed against forgery; it
            hinders attacks that measure the signer.

    Returns:
        64 bytes.

    Raises:
        FormatError: a wrong length, or a secret that is zero or not below the curve's order.

    Source: BIP 340.
    """
    for name, data in (("secret", secret), ("digest", digest), ("aux_randomness", aux_randomness)):
        if len(data) != 32:
            raise FormatError(f"a BIP 340 {name} must be 32 bytes")
    try:
        return PrivateKey(secret).sign_schnorr(digest, aux_randomness)
    except ValueError:
        raise FormatError("a BIP 340 secret must be above zero and below the curve's order") from None


def verify(public_key_x: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether the key made the signature over the digest. Ignoring the result accepts forgeries.

    Args:
        public_key_x: 32 bytes, the x coordinate of the public key.
        digest: 32 bytes, a tagged hash that the caller computed.
        signature: 64 bytes.

    Returns:
        False also if the key or the signature has another length or is not on the curve: both come from other parties.

    Raises:
        FormatError: the digest is not 32 bytes, which is an error of the caller.

    Source: BIP 340.
    """
    if len(digest) != 32:
        raise FormatError("a BIP 340 digest must be 32 bytes")
    if len(public_key_x) != 32 or len(signature) != 64:
        return False
    try:
        return _x_only_key(public_key_x).verify(signature, digest)
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _x_only_key(public_key_x: bytes) -> PublicKeyXOnly:
    # Computing y takes a fifth of a verification, and a few parties sign almost everything.
    return PublicKeyXOnly(public_key_x)


def verify_ecdsa(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether the key made the ECDSA signature over the digest. Ignoring the result accepts forgeries.

    Args:
        public_key: 33 bytes, compressed (SEC 1).
        digest: 32 bytes, a tagged hash that the caller computed.
        signature: 64 bytes, r and s, with s in the lower half of the order, so that a signature has one form only.

    Returns:
        False also if the key or the signature has another length or form.

    Raises:
        FormatError: the digest is not 32 bytes.
    """
    if len(digest) != 32:
        raise FormatError("a digest must be 32 bytes")
    if len(public_key) != 33 or len(signature) != 64 or not has_low_s(signature):
        return False
    try:
        return PublicKey(public_key).verify(cdata_to_der(deserialize_compact(signature)), digest, hasher=None)
    except ValueError:
        return False


def has_low_s(signature: bytes) -> bool:
    """Whether s of an ECDSA signature is in the lower half of the order. With the other half it has a second form.

    Args:
        signature: begins with r and s, 64 bytes.
    """
    return int.from_bytes(signature[32:64], "big") <= GROUP_ORDER_INT // 2


def compact_ecdsa(der: bytes) -> bytes:
    """r and s, 64 bytes, of an ECDSA signature in DER.

    Raises:
        FormatError: it is not such a signature.
    """
    try:
        signature: bytes = serialize_compact(der_to_cdata(der))
    except ValueError:
        raise FormatError("it is not an ECDSA signature in DER") from None
    return signature
