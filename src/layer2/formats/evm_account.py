"""Accounts in the state trie of an EVM chain.

Source: Ethereum Yellow Paper, section 4.1; EIP-2681 (the width of the nonce).
"""

from __future__ import annotations

from dataclasses import dataclass

from layer2.errors.base import FormatError
from layer2.formats import rlp

__all__ = ["EvmAccount", "decode_account"]

_HASH_SIZE = 32


@dataclass(frozen=True, slots=True)
class EvmAccount:
    """An account after a block."""

    nonce: int
    balance: int
    """Wei."""
    storage_root: bytes
    """The root of the trie of its storage, 32 bytes."""
    code_hash: bytes
    """The keccak256 of its code, 32 bytes."""


def decode_account(data: bytes) -> EvmAccount:
    """Read an account.

    Args:
        data: the RLP that is the account's value in the state trie.

    Raises:
        FormatError: not the canonical encoding of an account.
    """
    match rlp.decode(data):
        case [nonce, balance, bytes(storage_root), bytes(code_hash)]:
            if len(storage_root) != _HASH_SIZE or len(code_hash) != _HASH_SIZE:
                raise FormatError("EVM account: its storage root and the hash of its code have 32 bytes each")
            return EvmAccount(
                rlp.decode_int(nonce, max_bytes=8), rlp.decode_int(balance, max_bytes=32), storage_root, code_hash
            )
        case _:
            raise FormatError("EVM account: not a list of nonce, balance, storage root and code hash")
