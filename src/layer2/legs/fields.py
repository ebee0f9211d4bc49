"""Fields of quotes and legs that every kind reads alike."""

from __future__ import annotations

from layer2.errors import FormatError
from layer2.formats.json_object import JsonObject
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality

__all__ = ["read_finality", "read_protocol"]


def read_protocol(fields: JsonObject, name: str) -> Layer2ProtocolType:
    """The layer that a field names.

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
