"""Evidence of a lock's status in the state that does not fit the lock, its header or its tries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from vectors import evm
from vectors.bases import bob_terms, rootstock_terms, to_lightning
from vectors.documents import AMOUNT, Document, proof, terms
from vectors.evm import Block
from vectors.vector import Vector, refused, valid

__all__ = ["vectors"]


def vectors() -> Iterator[Vector]:
    """Cases of the class ``evm-storage``."""
    yield from _ends()
    yield from _locks()
    yield from _accounts()
    yield from _slots()
    yield from _limits()


def _base(status: Any = 2, **given: Any) -> Document:
    made = bob_terms()
    return evm.storage_evidence(made["source"], made, status, **given)


def _ends() -> Iterator[Vector]:
    yield valid("evm-storage/claimed", to_lightning(_base()))
    yield valid("evm-storage/refunded", proof(bob_terms(), _base(3), None), "refunded")
    yield valid("evm-storage/large-state", to_lightning(_base(neighbours=200)))
    yield valid("evm-storage/only-entry", to_lightning(_base(neighbours=0)))
    made = rootstock_terms()
    both = [evm.storage_evidence(made[side], made) for side in ("source", "destination")]
    yield valid("evm-storage/both-legs", proof(made, *both))
    yield refused("evm-storage/refunded-and-paid", "outcome", to_lightning(_base(3)))
    for status in (0, 1, 4, 255, 2**64):
        yield refused(f"evm-storage/status-{status}", "lock_status", to_lightning(_base(status)))


def _locks() -> Iterator[Vector]:
    other = bob_terms(swap_id="99" * 16)
    evidence = evm.storage_evidence(other["source"], other)
    yield refused("evm-storage/of-another-swap", "lock_id", to_lightning(evidence))
    own = _base()["lock_id"]
    yield refused("evm-storage/status-of-another-lock", "storage_inclusion", to_lightning(evidence | {"lock_id": own}))
    yield refused("evm-storage/another-layer", "layer", to_lightning(_base() | {"protocol": "ROOTSTOCK"}))
    foreign = evm.storage_evidence(evm.leg(contract="77" * 20), bob_terms())
    yield refused("evm-storage/of-a-foreign-contract", "state_inclusion", to_lightning(foreign))
    there = terms(evm.leg(), evm.leg(layer="ROOTSTOCK", chain_id=30, amount=str(AMOUNT)), network="mainnet")
    on_rootstock = proof(there, None, evm.storage_evidence(there["destination"], there))
    yield refused("evm-storage/on-rootstocks-mainnet", "evidence", on_rootstock)
    receipt = evm.claimed(bob_terms()["source"], bob_terms())
    yield refused(
        "evm-storage/header-of-another-state", "state_inclusion", to_lightning(_base() | {"header": receipt["header"]})
    )
    yield refused("evm-storage/malformed-header", "header", to_lightning(_base() | {"header": "c0"}))


def _accounts() -> Iterator[Vector]:
    nodes: list[str] = _base()["account_proof"]
    yield from _paths("account_proof", "state_inclusion", nodes)
    made = bob_terms()
    contract = bytes.fromhex(made["source"]["contract"])
    trie = evm.storage({evm.lock_id(made["source"], made): 2})
    root, code = trie.root_hash, keccak(b"code")
    wrong: dict[str, Any] = {
        "three-fields": [1, 0, root],
        "five-fields": [1, 0, root, code, b""],
        "nonce-with-a-leading-zero": [b"\x00\x01", 0, root, code],
        "nonce-of-9-bytes": [b"\x01" + bytes(8), 0, root, code],
        "balance-of-33-bytes": [1, b"\x01" + bytes(32), root, code],
        "storage-root-of-31-bytes": [1, 0, root[:-1], code],
        "code-hash-of-33-bytes": [1, 0, root, code + b"\x00"],
        "field-that-is-a-list": [1, [], root, code],
    }
    for name, account in wrong.items():
        block = Block(state={contract: rlp.encode(account)})
        evidence = _base(block=block)
        yield refused(f"evm-storage/account-with-{name}", "state_inclusion", to_lightning(evidence))
    string = _base(block=Block(state={contract: rlp.encode(b"account" * 9)}))
    yield refused("evm-storage/account-that-is-a-string", "state_inclusion", to_lightning(string))
    more = _base(block=Block(state={contract: evm.account(trie) + b"\x00"}))
    yield refused("evm-storage/account-followed-by-a-byte", "state_inclusion", to_lightning(more))
    empty = _base(block=Block(state={contract: evm.account(HexaryTrie({}))}))
    yield refused("evm-storage/account-without-storage", "storage_inclusion", to_lightning(empty))
    rich = _base(block=Block(state={contract: evm.account(trie, nonce=2**64 - 1, balance=2**256 - 1)}))
    yield valid("evm-storage/account-with-the-largest-numbers", to_lightning(rich))


def _slots() -> Iterator[Vector]:
    yield refused("evm-storage/short-leaf-under-its-hash", "storage_inclusion", to_lightning(_with_a_short_leaf()))
    yield from _paths("storage_proof", "storage_inclusion", _base()["storage_proof"])
    for name, status in {
        "list": [2],
        "leading-zero": b"\x00\x02",
        "33-bytes": b"\x02" + bytes(32),
    }.items():
        yield refused(f"evm-storage/status-as-{name}", "storage_inclusion", to_lightning(_base(status)))


def _with_a_short_leaf() -> Document:
    """The status in a leaf of fewer than 32 bytes, to which a branch refers by its hash."""
    made = bob_terms()
    own = evm.lock_id(made["source"], made)
    digits = evm.slot(own).hex()
    # An extension of 21 digits, a branch, and a leaf with the other 42.
    leaf = rlp.encode([bytes.fromhex("20" + digits[22:]), rlp.encode(2)])
    assert len(leaf) < 32
    children = [b""] * 17
    children[int(digits[21], 16)] = keccak(leaf)
    children[int(digits[21], 16) ^ 1] = keccak(b"neighbour")
    branch = rlp.encode(children)
    extension = rlp.encode([bytes.fromhex("1" + digits[:21]), keccak(branch)])
    contract = bytes.fromhex(made["source"]["contract"])
    account = rlp.encode([1, 0, keccak(extension), keccak(b"code")])
    block = Block(state={contract: account})
    nodes = [node.hex() for node in (extension, branch, leaf)]
    return _base(block=block) | {"storage_proof": nodes}


def _paths(field: str, reason: str, nodes: list[str]) -> Iterator[Vector]:
    wrong: dict[str, list[str]] = {
        "no-nodes": [],
        "missing-root": nodes[1:],
        "missing-leaf": nodes[:-1],
        "reversed": nodes[::-1],
        "superfluous-node": [*nodes, nodes[-1]],
        "changed-leaf": [*nodes[:-1], nodes[-1][:-2] + "00"],
    }
    for name, given in wrong.items():
        yield refused(f"evm-storage/{field}-with-{name}", reason, to_lightning(_base() | {field: given}))


def _limits() -> Iterator[Vector]:
    for field in ("account_proof", "storage_proof"):
        yield refused(f"format/{field}-of-65-nodes", "format", to_lightning(_base() | {field: ["00"] * 65}))
        yield refused(f"format/{field}-with-a-long-node", "format", to_lightning(_base() | {field: ["00" * 533]}))
        without = {name: value for name, value in _base().items() if name != field}
        yield refused(f"format/evm-storage-without-{field}", "format", to_lightning(without))
    yield refused("format/lock-id-of-31-bytes", "format", to_lightning(_base() | {"lock_id": "11" * 31}))
