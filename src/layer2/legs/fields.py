"""Fields of quotes and legs that several kinds read alike."""

from __future__ import annotations

from coincurve import PublicKey

from layer2.errors.base import FormatError
from layer2.formats.json_object import JsonObject
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality

__all__ = ["is_public_key", "read_finality", "read_protocol"]


def read_protocol(fields: JsonObject, name: str) -> Layer2ProtocolType:
    """The layer in a field.

    Raises:
        FormatError: there is no layer of that name.
    """
    text = fields.text(name, max_length=32)
    try:
        return Layer2ProtocolType(text)
    except ValueError as error:
        raise FormatError(f"{text!r} is not the name of a layer") from error


def read_finality(fields: JsonObject) -> Finality:
    """The field ``finality``.

    Raises:
        FormatError: it is not ``latest``, ``safe`` or ``finalized``.
    """
    text = fields.text("finality", max_length=16)
    try:
        return Finality(text)
    except ValueError as error:
        raise FormatError(f"{text!r} is not a finality") from error


def is_public_key(data: bytes) -> bool:
    """Whether the bytes are a compressed public key of secp256k1, 33 bytes."""
    try:
        return PublicKey(data).format() == data
    except ValueError:
        return False
