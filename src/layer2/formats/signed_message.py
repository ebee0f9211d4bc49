"""Messages signed with a Lightning node's key, in the form that lnd and Core Lightning share.

A signature is 104 characters of zbase32: one byte with the recovery id, then r and s. It signs the double SHA-256 of
``"Lightning Signed Message:"`` and the message, so that no other signature of a node is valid as one. It shows that an
owner of the key signed these bytes once. It does not show when or for whom, and nothing about a payment.

Source: the scheme that lnd describes at its call ``signmessage``; zbase32 by Zooko Wilcox-O'Hearn, "human-oriented
base-32 encoding".
"""

from __future__ import annotations

from base64 import b32decode, b32encode
from hashlib import sha256
from typing import Final

from coincurve import PublicKey

from layer2.errors.base import FormatError, ProofRefused

__all__ = ["encode_signature", "message_bytes", "message_digest", "signer_of", "verify_message"]

_PREFIX: Final = b"Lightning Signed Message:"
_ALPHABET: Final = "ybndrfg8ejkmcpqxot1uwisza345h769"
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
"""RFC 4648. zbase32 differs from it in the alphabet."""
_KEY_LENGTH: Final = 33
_TEXT_LENGTH: Final = 104
"""65 bytes are 520 bits: exactly 104 groups of five."""
_FIRST_HEADER: Final = 31
"""The first of four headers of a signature by a compressed key."""


def signer_of(message: str | bytes, signature: str) -> bytes:
    """The public key whose owner signed exactly this message, 33 bytes. Needs no node.

    Any well-formed signature has some signer, for any message: compare the result with a known key.

    Args:
        message: text is encoded as UTF-8.
        signature: zbase32, 104 characters.

    Raises:
        FormatError: it is not such a signature, or no key fits it.
    """
    data = _decode(signature)
    recovery_id = data[0] - _FIRST_HEADER
    if not 0 <= recovery_id <= 3:
        raise FormatError("the signature's first byte is not a recovery id of a compressed key")
    try:
        key = PublicKey.from_signature_and_message(
            data[1:] + bytes([recovery_id]), message_digest(message), hasher=None
        )
    except ValueError:
        raise FormatError("no key fits the signature") from None
    return key.format()


def verify_message(message: str | bytes, signature: str, node_key: bytes | str) -> None:
    """Check that a node's owner signed exactly this message. Needs no node.

    Unlike lnd's ``verifymessage``, it does not check that the node is in the graph.

    Args:
        message: text is encoded as UTF-8.
        signature: zbase32, 104 characters.
        node_key: 33 bytes, or their 66 hexadecimal digits.

    Raises:
        FormatError: signature or key cannot be read.
        ProofRefused: another key signed, or another message was signed.
    """
    key = _read_key(node_key)
    if signer_of(message, signature) != key:
        raise ProofRefused("signature", "the node's key did not sign this message")


def message_digest(message: str | bytes) -> bytes:
    """The digest that is signed, 32 bytes."""
    return sha256(sha256(_PREFIX + message_bytes(message)).digest()).digest()


def message_bytes(message: str | bytes) -> bytes:
    """The message as it enters the digest.

    Raises:
        FormatError: it is empty, which nodes do not sign, or a text that UTF-8 cannot encode.
    """
    try:
        data = message.encode() if isinstance(message, str) else bytes(message)
    except UnicodeEncodeError:
        raise FormatError("the message cannot be written as UTF-8") from None
    if not data:
        raise FormatError("there is no message")
    return data


def encode_signature(recoverable: bytes) -> str:
    """The text of a signature.

    Args:
        recoverable: r, s and the recovery id, 65 bytes.
    """
    data = bytes([_FIRST_HEADER + recoverable[64]]) + recoverable[:64]
    return b32encode(data).decode("ascii").translate(str.maketrans(_BASE32, _ALPHABET))


def _decode(signature: str) -> bytes:
    if len(signature) != _TEXT_LENGTH:
        raise FormatError(f"a signature is {_TEXT_LENGTH} characters of zbase32, this has {len(signature)}")
    if not set(signature) <= set(_ALPHABET):
        raise FormatError("a signature has a character that is not in zbase32")
    return b32decode(signature.translate(str.maketrans(_ALPHABET, _BASE32)))


def _read_key(node_key: bytes | str) -> bytes:
    try:
        data = bytes.fromhex(node_key) if isinstance(node_key, str) else node_key
        if len(data) == _KEY_LENGTH:
            return PublicKey(data).format()
    except ValueError:
        pass
    raise FormatError("a node's key is 33 bytes of a point on the curve, or their 66 hexadecimal digits")
