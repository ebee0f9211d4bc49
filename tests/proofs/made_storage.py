"""Evidence from a contract's storage, in a state that the tests make. The tries are those of the library ``trie``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import rlp  # type: ignore[import-untyped]  # a test oracle without types
from trie.hexary import HexaryTrie

from layer2.contracts.htlc import status_slot
from layer2.formats.evm_header import EvmHeader, decode_header
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmStorageEvidence
from layer2.legs.evm import EvmLeg
from layer2.terms.documents import Terms
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made

__all__ = ["CLAIMED", "LOCKED", "REFUNDED", "State", "evidence_of", "path", "state_of", "trie_of"]

LOCKED, CLAIMED, REFUNDED = 1, 2, 3
NEIGHBOURS = 300
"""Other accounts, and other slots: enough for paths of several nodes."""


@dataclass(frozen=True, slots=True)
class State:
    """The state after a block: accounts, and the storage of one of them."""

    accounts: HexaryTrie
    storage: HexaryTrie
    header: EvmHeader

    def evidence(self, leg: EvmLeg, lock_id: bytes) -> EvmStorageEvidence:
        """What a node answers about the status of a lock in the leg's contract."""
        return EvmStorageEvidence(
            leg.protocol,
            self.header.encode(),
            lock_id,
            path(self.accounts, keccak256(leg.contract)),
            path(self.storage, keccak256(status_slot(lock_id))),
        )


def trie_of(values: Mapping[bytes, bytes]) -> HexaryTrie:
    trie = HexaryTrie({})
    for key, value in values.items():
        trie[key] = value
    return trie


def path(trie: HexaryTrie, key: bytes) -> tuple[bytes, ...]:
    """The encoded nodes on the way to a key; a short node is part of the one above it."""
    first, *rest = [rlp.encode(node) for node in trie.get_proof(key)]  # type: ignore[no-untyped-call]  # an oracle's
    return (first, *(node for node in rest if len(node) >= 32))


def state_of(contract: bytes, slots: Mapping[bytes, bytes], neighbours: int = NEIGHBOURS) -> State:
    """A state in which that contract has these slots, besides others.

    Args:
        slots: the RLP of each value, by its slot.
    """
    others = [hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(neighbours)]
    storage = trie_of({keccak256(slot): value for slot, value in {**dict.fromkeys(others, b"\x01"), **slots}.items()})
    plain = rlp.encode([b"\x01", b"\x02", trie_of({}).root_hash, keccak256(b"")])
    account = rlp.encode([b"\x01", b"", storage.root_hash, keccak256(b"code")])
    accounts = trie_of({**{keccak256(other): plain for other in others}, keccak256(contract): account})
    terms = made.terms()
    assert isinstance(terms.source, EvmLeg)
    header = replace(decode_header(made.evidence_of(terms.source, terms).header), state_root=accounts.root_hash)
    return State(accounts, storage, header)


def evidence_of(leg: EvmLeg, terms: Terms, status: int = CLAIMED) -> EvmStorageEvidence:
    """Evidence of the leg's lock in a state in which it has that status."""
    lock_id = leg.lock(terms.payment_hash, terms_hash(terms)).lock_id
    return state_of(leg.contract, {status_slot(lock_id): rlp.encode(status)}).evidence(leg, lock_id)
