"""The fuzz targets of evidence from a contract's storage, and their seeds: see ``fuzz.targets``.

Whoever invents a header also chooses every node under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import rlp  # type: ignore[import-untyped]  # a test oracle without types

from layer2.contracts.htlc import status_slot
from layer2.errors import FormatError, ProofRefused
from layer2.formats.evm_account import decode_account
from layer2.formats.evm_header import decode_header
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmStorageEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.storage_evidence import shown_of
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made
from proofs import made_storage

__all__ = ["ACCOUNTS", "PATHS", "account", "evidence"]

_TERMS: Final = made.terms()
assert isinstance(_TERMS.source, EvmLeg)
_LEG: Final = _TERMS.source
_LOCK: Final = _LEG.lock(_TERMS.payment_hash, terms_hash(_TERMS))
_LINK: Final = b"\xee" * 32
"""A placeholder for the hash of the next node, because a fuzzer cannot find a preimage of keccak256."""


def account(data: bytes) -> bool:
    """An account."""
    with suppress(FormatError):
        read = decode_account(data)
        assert rlp.encode([read.nonce, read.balance, read.storage_root, read.code_hash]) == data
        return True
    return False


def evidence(data: bytes) -> bool:
    """The nodes of a storage trie, each prefixed with its length (2 bytes). Their hashes and what is above them are
    corrected."""
    nodes: list[bytes] = []
    while data:
        size = int.from_bytes(data[:2], "big")
        nodes.append(data[2 : 2 + size])
        data = data[2 + size :]
    for above in range(len(nodes) - 2, -1, -1):
        nodes[above] = nodes[above].replace(_LINK, keccak256(nodes[above + 1]))
    with suppress(ProofRefused):
        shown_of(_under(nodes), _LOCK)
        assert {2, 3} & set(nodes[-1])
        return True
    return False


def _under(nodes: Sequence[bytes]) -> EvmStorageEvidence:
    """Evidence with these nodes of the storage, under an account and a header that contain their root."""
    root = keccak256(nodes[0]) if nodes else bytes(32)
    key = keccak256(_LEG.contract)
    accounts = made_storage.trie_of({key: rlp.encode([b"\x01", b"", root, keccak256(b"code")])})
    header = replace(_HEADER, state_root=accounts.root_hash)
    path = made_storage.path(accounts, key)
    return EvmStorageEvidence(_LEG.protocol, header.encode(), _LOCK.lock_id, path, tuple(nodes))


def _seed(status: int, neighbours: int) -> bytes:
    slots = {status_slot(_LOCK.lock_id): rlp.encode(status)}
    nodes = made_storage.state_of(_LEG.contract, slots, neighbours).evidence(_LEG, _LOCK.lock_id).storage_proof
    linked = [node.replace(keccak256(below), _LINK) for node, below in zip(nodes, [*nodes[1:], b""], strict=True)]
    return b"".join([len(node).to_bytes(2, "big") + node for node in linked])


_HEADER: Final = decode_header(made.evidence_of(_LEG, _TERMS).header)
PATHS: Final = tuple([_seed(status, count) for status, count in ((2, 0), (3, 40), (2, 300))])
ACCOUNTS: Final = (
    rlp.encode([b"", b"", bytes(32), keccak256(b"")]),
    rlp.encode([b"\xff" * 8, b"\xff" * 32, keccak256(b"\x80"), keccak256(b"code")]),
)
