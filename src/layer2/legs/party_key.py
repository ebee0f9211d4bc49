"""The key with which a party of a leg can sign a message, for a stranger to check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["KeyScheme", "PartyKey"]


class KeyScheme(Enum):
    """How the key signs a message, which determines what is known of it."""

    EIP191 = "eip191"
    """The terms have its account, 20 bytes. It signs as a wallet does (``personal_sign``)."""
    ECDSA = "ecdsa"
    """The terms have the public key, 33 bytes. It signs a tagged hash."""


@dataclass(frozen=True, slots=True)
class PartyKey:
    """A party's key, as far as the terms show it."""

    scheme: KeyScheme
    data: bytes
