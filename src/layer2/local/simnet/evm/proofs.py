"""Merkle proofs of accounts and storage slots against a block's state root (EIP-1186, ``eth_getProof``).

py-evm keeps every node of every state's tries by its hash, so a state of any block that the chain had can be proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from eth.abc import AtomicDatabaseAPI
from eth_typing import Hash32
from trie.hexary import HexaryTrie

from layer2.formats import rlp
from layer2.formats.keccak import keccak256
from layer2.formats.merkle_patricia import EMPTY_ROOT

__all__ = ["AccountProof", "SlotProof", "prove_account"]

_HASH_SIZE = 32
_NO_HASH = bytes(_HASH_SIZE)


@dataclass(frozen=True, slots=True)
class SlotProof:
    """A storage slot, its value, and the nodes from the account's storage root to it."""

    slot: int
    value: int
    nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AccountProof:
    """An account, and the nodes from the state root to it.

    Of an address without an account the nodes show that there is none. As in op-geth, its hashes are then zero.
    """

    nonce: int
    balance: int
    storage_root: bytes
    code_hash: bytes
    nodes: tuple[bytes, ...]
    slots: tuple[SlotProof, ...]


def prove_account(database: AtomicDatabaseAPI, state_root: bytes, address: bytes, slots: Sequence[int]) -> AccountProof:
    """Prove an account and some of its storage slots.

    Args:
        database: holds the nodes of the tries by their hashes.
        state_root: the root of the state, as in a block's header.
        address: 20 bytes.
        slots: each below 2**256.
    """
    value, nodes = _prove(database, state_root, keccak256(address))
    if not value:
        return AccountProof(0, 0, _NO_HASH, _NO_HASH, nodes, tuple([SlotProof(slot, 0, ()) for slot in slots]))
    nonce, balance, storage_root, code_hash = cast(list[bytes], rlp.decode(value))
    return AccountProof(
        rlp.decode_int(nonce),
        rlp.decode_int(balance),
        storage_root,
        code_hash,
        nodes,
        tuple([_prove_slot(database, storage_root, slot) for slot in slots]),
    )


def _prove_slot(database: AtomicDatabaseAPI, storage_root: bytes, slot: int) -> SlotProof:
    value, nodes = _prove(database, storage_root, keccak256(slot.to_bytes(32, "big")))
    return SlotProof(slot, rlp.decode_int(rlp.decode(value)) if value else 0, nodes)


def _prove(database: AtomicDatabaseAPI, root: bytes, key: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """The value at a key, empty if there is none, and the encoded nodes on the way to it, the root first."""
    if root == EMPTY_ROOT:
        return b"", ()
    trie = HexaryTrie(database, Hash32(root))
    proof = trie.get_proof(key)  # type: ignore[no-untyped-call]  # the method carries no types
    first, *rest = [rlp.encode(list(node)) for node in proof]
    # A node under 32 bytes is part of the node above it.
    return bytes(trie.get(key)), (first, *[node for node in rest if len(node) >= _HASH_SIZE])
