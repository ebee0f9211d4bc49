"""New wallets."""

from __future__ import annotations

import secrets

import bdkpython as bdk

__all__ = ["new_words"]


def new_words() -> str:
    """A new BIP 39 mnemonic of 24 words, from 32 random bytes of the operating system."""
    return str(bdk.Mnemonic.from_entropy(secrets.token_bytes(32)))
