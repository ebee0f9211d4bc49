"""Messages that the owner of an Ethereum account signs in a wallet (``personal_sign``).

Source: EIP-191, version 0x45. No transaction and no typed data has such a digest, so a signature moves no money.
"""

from __future__ import annotations

from typing import Final

from coincurve import PublicKey

from layer2.errors.base import FormatError
from layer2.formats.evm_address import address_of_public_key
from layer2.formats.keccak import keccak256

__all__ = ["SIGNATURE_LENGTH", "message_digest", "signer_of"]

SIGNATURE_LENGTH: Final = 65
_RECOVERY_IDS: Final = {0: 0, 1: 1, 27: 0, 28: 1}
"""By last byte: wallets write 27 and 28, signers of digests 0 and 1."""


def message_digest(message: bytes) -> bytes:
    """The 32 bytes to sign."""
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode("ascii") + message)


def signer_of(digest: bytes, signature: bytes) -> bytes:
    """The account whose owner signed the digest, 20 bytes.

    Any well-formed signature has some signer, for any digest: compare the result with a known account. A contract that
    is an account (EIP-1271) signs in another way, which only a node can check.

    Args:
        digest: 32 bytes.
        signature: r, s, and 0, 1, 27 or 28: 65 bytes. The caller checks that s is in the lower half of the order.

    Raises:
        FormatError: it is not such a signature, or no key fits it.
    """
    recovery_id = _RECOVERY_IDS.get(signature[-1]) if len(signature) == SIGNATURE_LENGTH else None
    if recovery_id is None:
        raise FormatError("EIP-191: the signature is not r, s, and 0, 1, 27 or 28")
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes([recovery_id]), digest, hasher=None)
    except ValueError:
        raise FormatError("EIP-191: no key fits the signature") from None
    return address_of_public_key(key.format())
