"""Keccak-256 as in Ethereum: the original padding, not that of NIST's SHA3-256."""

from __future__ import annotations

from sha3 import keccak_256  # type: ignore[import-untyped]  # safe-pysha3 ships no types; this is its one use

__all__ = ["keccak256"]


def keccak256(data: bytes) -> bytes:
    """Hash bytes.

    Args:
        data: any number of bytes.

    Returns:
        The 32-byte digest.

    Source: Ethereum Yellow Paper, section 2 (``KEC``).
    """
    digest: bytes = keccak_256(data).digest()
    return digest
