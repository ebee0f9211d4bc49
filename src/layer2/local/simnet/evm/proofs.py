"""Merkle proofs of accounts and storage slots against a block's state root (EIP-1186, ``eth_getProof``).

py-evm keeps every node of every state's tries by its hash, so a state of any block that the chain had can be proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from eth.abc import AtomicDatabaseAPI
from eth_typing import Hash32
from trie.hexary import HexaryTrie

from layer2.formats import rlp
from layer2.formats.evm_hex import format_data, format_quantity
from layer2.formats.keccak import keccak256
from layer2.formats.merkle_patricia import EMPTY_ROOT

__all__ = ["proof_answer"]

_HASH_SIZE = 32
_NO_HASH = bytes(_HASH_SIZE)


def proof_answer(
    database: AtomicDatabaseAPI, state_root: bytes, address: bytes, slots: Sequence[tuple[int, int]]
) -> dict[str, object]:
    """Prove an account and some of its storage slots.

    For an address without an account, the nodes show that there is none. As in op-geth, its hashes are then zero.

    Args:
        database: holds the nodes of the tries by their hashes.
        state_root: the root of the state, as in a block's header.
        address: 20 bytes.
        slots: each below 2**256, with the size of the key in bytes that the caller gave.
    """
    value, nodes = _prove(database, state_root, keccak256(address))
    fields = cast(list[bytes], rlp.decode(value)) if value else [b"", b"", _NO_HASH, _NO_HASH]
    nonce, balance, storage_root, code_hash = fields
    return {
        "address": format_data(address),
        "accountProof": nodes,
        "balance": format_quantity(rlp.decode_int(balance)),
        "codeHash": format_data(code_hash),
        "nonce": format_quantity(rlp.decode_int(nonce)),
        "storageHash": format_data(storage_root),
        "storageProof": [_slot_answer(database, storage_root, slot, size) for slot, size in slots],
    }


def _slot_answer(database: AtomicDatabaseAPI, storage_root: bytes, slot: int, size: int) -> dict[str, object]:
    key = slot.to_bytes(32, "big")
    value, nodes = _prove(database, storage_root, keccak256(key))
    return {
        # Like op-geth: a key of 32 bytes is repeated as given, a shorter one as a number.
        "key": format_data(key) if size == 32 else format_quantity(slot),
        "value": format_quantity(rlp.decode_int(rlp.decode(value)) if value else 0),
        "proof": nodes,
    }


def _prove(database: AtomicDatabaseAPI, root: bytes, key: bytes) -> tuple[bytes, list[str]]:
    """The value at a key, empty if there is none, and the encoded nodes on the way to it, the root first."""
    if root in (EMPTY_ROOT, _NO_HASH):
        return b"", []
    trie = HexaryTrie(database, Hash32(root))
    proof = trie.get_proof(key)  # type: ignore[no-untyped-call]  # the method carries no types
    first, *rest = [rlp.encode(list(node)) for node in proof]
    # A node under 32 bytes is part of the node above it.
    nodes = [first, *(node for node in rest if len(node) >= _HASH_SIZE)]
    return bytes(trie.get(key)), [format_data(node) for node in nodes]
