"""Interfaces of keys: signers of transactions and terms, and the source of a taker's preimages."""

from __future__ import annotations

from typing import Protocol

from layer2.model.transactions import Preimage, SwapId

__all__ = ["EvmSigner", "IdentitySigner", "PreimageSource"]


class EvmSigner(Protocol):
    """An account on EVM layers. The key never leaves the implementation."""

    @property
    def address(self) -> bytes:
        """20 bytes."""
        ...

    async def sign_digest(self, digest: bytes) -> bytes:
        """Sign 32 bytes; return r, s, recovery id (65 bytes) with low s (EIP-2).

        Raises:
            SignerError: the key cannot be used.
        """
        ...


class IdentitySigner(Protocol):
    """A provider's identity."""

    @property
    def public_key(self) -> bytes:
        """32 bytes, x-only (BIP 340)."""
        ...

    async def sign_schnorr(self, digest: bytes) -> bytes:
        """Sign 32 bytes; return a BIP 340 signature (64 bytes).

        Raises:
            SignerError: the key cannot be used.
        """
        ...


class PreimageSource(Protocol):
    """Derives the preimages of a taker's swaps from the swap seed, so that the journal does not store them."""

    def preimage(self, swap_id: SwapId) -> Preimage:
        """HMAC-SHA256(swap_seed, swap_id): always the same."""
        ...
