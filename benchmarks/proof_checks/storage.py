"""Evidence from a contract's storage, at the depth of the tries of a large chain."""

from __future__ import annotations

import gzip
from dataclasses import replace
from random import Random

from figures import Figure, alone, within

from layer2.contracts.htlc import status_slot
from layer2.formats import rlp
from layer2.formats.evm_header import decode_header
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmStorageEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.storage_evidence import read_status
from layer2.proofs import TransferProof
from layer2.terms.signing import terms_hash
from proof_checks.effort import Effort, cpu_seconds
from proofs import made_proofs, made_storage

__all__ = ["deep_proof", "measure_storage"]

LEVELS = 8
"""Branches above the leaf, in each of the two tries: 16**8 is more than the accounts of any chain, or the slots of one
contract. Each is full, 532 bytes: so are those of a large trie, except for the lowest one."""


def measure_storage(effort: Effort) -> list[Figure]:
    """Measure the way from the header to the lock's status, and the size of a proof with it."""
    deep = deep_proof()
    evidence, leg = deep.source_leg, deep.terms.terms.source
    assert isinstance(evidence, EvmStorageEvidence)
    assert isinstance(leg, EvmLeg)
    contract = leg.contract

    def checked() -> int:
        for _ in range(20):
            read_status(evidence, contract)
        return 20

    [seconds] = cpu_seconds(effort, {"ours": checked})
    depth = f"{LEVELS} levels of accounts and {LEVELS} of slots"
    found = [alone(f"storage evidence checked, {depth}", "proofs/s of a core", 1 / seconds)]
    small = replace(deep, source_leg=made_storage.evidence_of(leg, deep.terms.terms))
    for where, proof in ((f"{made_storage.NEIGHBOURS} accounts and as many slots", small), (depth, deep)):
        data = proof.to_bytes()
        what = f"size of a proof by storage, {where}"
        found.append(within(what, "bytes", len(data)))
        found.append(alone(f"{what}, gzipped", "bytes", len(gzip.compress(data))))
    return found


def deep_proof() -> TransferProof:
    """A completed transfer from BOB to Lightning, whose lock the storage shows. Only the nodes on its paths exist."""
    proof = made_proofs.to_lightning()
    terms = proof.terms.terms
    leg = terms.source
    assert isinstance(leg, EvmLeg)
    random = Random(LEVELS)  # noqa: S311  # the hashes of other nodes, the same in each run
    lock_id = leg.lock(terms.payment_hash, terms_hash(terms)).lock_id
    storage_root, storage = _path(keccak256(status_slot(lock_id)), rlp.encode(bytes([made_storage.CLAIMED])), random)
    account = rlp.encode([b"\x01", b"", storage_root, keccak256(b"code")])
    state_root, accounts = _path(keccak256(leg.contract), account, random)
    header = replace(decode_header(made_proofs.evidence_of(leg, terms).header), state_root=state_root)
    evidence = EvmStorageEvidence(leg.protocol, header.encode(), lock_id, accounts, storage)
    return replace(proof, source_leg=evidence)


def _path(key: bytes, value: bytes, random: Random) -> tuple[bytes, tuple[bytes, ...]]:
    """A root, and the nodes from it to a leaf below ``LEVELS`` full branches."""
    digits = key.hex()
    node = rlp.encode([bytes.fromhex("20" + digits[LEVELS:]), value])
    nodes = [node]
    for digit in reversed(digits[:LEVELS]):
        children = [random.randbytes(32) for _ in range(16)]
        children[int(digit, 16)] = keccak256(node)
        node = rlp.encode([*children, b""])
        nodes.append(node)
    return keccak256(node), tuple(reversed(nodes))
