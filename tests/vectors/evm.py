"""Blocks of an EVM chain, with rlp, trie, eth-abi and eth-hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_abi.abi import encode
from eth_bloom.bloom import BloomFilter
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from vectors.documents import AMOUNT, FEE, PAYMENT_HASH, PREIMAGE, Document, terms_hash

__all__ = ["CLAIMED", "GENUINE", "REFUNDED", "Block", "leg", "lock_id", "receipt_evidence", "storage_evidence"]

GENUINE = bytes.fromhex("c59f2adb373bd4ce8e6a872fb39c997ffdaab552")
TOKEN = bytes.fromhex("11" * 20)
BLOCK_TIME = 1_790_000_060
CLAIMED = keccak(text="Claimed(bytes32,bytes32,bytes32)")
REFUNDED = keccak(text="Refunded(bytes32,bytes32)")


def leg(**changes: object) -> Document:
    """A lock on BOB's local network, of the amount of a source."""
    return {
        "kind": "evm",
        "layer": "BOB",
        "chain_id": 60808,
        "contract": GENUINE.hex(),
        "token": TOKEN.hex(),
        "token_decimals": 8,
        "amount": str(AMOUNT + FEE),
        "payer": "22" * 20,
        "payee": "33" * 20,
        "deadline": BLOCK_TIME + 100_000,
        "finality": "safe",
    } | changes


def lock_id(of: Document, made: Document) -> bytes:
    """The id of the lock that the terms describe."""
    types = ["uint256", "address", "bytes32", "address", "uint256", "address", "address", "uint256", "bytes32"]
    words: list[Any] = [of["chain_id"], bytes.fromhex(of["contract"]), bytes.fromhex(made["payment_hash"])]
    words += [bytes.fromhex(of["token"]), int(of["amount"]), bytes.fromhex(of["payee"]), bytes.fromhex(of["payer"])]
    words += [of["deadline"], terms_hash(made)]
    return keccak(encode(types, words))


@dataclass
class Block:
    """The content of a block. Each field can be changed before ``header`` is read."""

    receipts: list[bytes] = field(default_factory=list)
    state: dict[bytes, bytes] = field(default_factory=dict)
    """Accounts by address."""
    number: int = 1234
    timestamp: int = BLOCK_TIME
    fields: int = 21

    def header(self) -> bytes:
        values: list[Any] = [bytes(32), bytes(32), bytes(20), self.states().root_hash, bytes(32)]
        values += [self.trie().root_hash, bytes(256), b"", self.number, 30_000_000, 200_000, self.timestamp, b""]
        values += [bytes(32), bytes(8), 7, bytes(32), b"", b"", bytes(32), hashlib.sha256(b"").digest()]
        encoded: bytes = rlp.encode(values[: self.fields])
        return encoded

    def trie(self) -> HexaryTrie:
        trie = HexaryTrie({})
        for index, receipt in enumerate(self.receipts):
            trie[rlp.encode(index)] = receipt
        return trie

    def states(self) -> HexaryTrie:
        trie = HexaryTrie({})
        for address, account in self.state.items():
            trie[keccak(address)] = account
        return trie


def log(of: Document, made: Document, topic: bytes = CLAIMED) -> list[Any]:
    """The event that ends the lock."""
    data = PREIMAGE if topic == CLAIMED else b""
    return [bytes.fromhex(of["contract"]), [topic, lock_id(of, made), PAYMENT_HASH], data]


def receipt(*logs: list[Any], status: int = 1, gas: int = 21_000, kind: int = 2) -> bytes:
    """An encoded receipt with the bloom filter of its logs."""
    bloom = BloomFilter()
    for address, topics, _ in logs:
        bloom.extend([address, *topics])
    body: bytes = rlp.encode([status, gas, int(bloom).to_bytes(256, "big"), list(logs)])
    return body if kind == 0 else bytes([kind]) + body


def proof_of(trie: HexaryTrie, key: bytes) -> list[str]:
    """The nodes on the way to a key that are not embedded in their parent, the root first."""
    path = trie.get_proof(key)  # type: ignore[no-untyped-call]  # has no types
    encoded = [rlp.encode(node) for node in path]
    return [node.hex() for place, node in enumerate(encoded) if place == 0 or len(node) >= 32]


def receipt_evidence(block: Block, index: int = 2, log_index: int = 0, protocol: str = "BOB") -> Document:
    return {
        "type": "evm_receipt",
        "protocol": protocol,
        "header": block.header().hex(),
        "transaction_index": index,
        "receipt_proof": proof_of(block.trie(), rlp.encode(index)),
        "log_index": log_index,
    }


def block_with(third: bytes, neighbours: int = 4) -> Block:
    """A block whose third receipt is this one."""
    receipts = [receipt(gas=21_000 * (place + 1)) for place in range(neighbours)]
    receipts[2:2] = [third]
    return Block(receipts)


def claimed(of: Document, made: Document, topic: bytes = CLAIMED) -> Document:
    """Evidence of the end of a lock, in the third receipt of a block."""
    return receipt_evidence(block_with(receipt(log(of, made, topic), gas=100_000)), protocol=of["layer"])


def evidence_under(nodes: Sequence[bytes], index: int = 2) -> Document:
    """Evidence with these nodes, under a header that commits to the first one."""
    items: list[Any] = rlp.decode(Block().header())
    items[5] = keccak(nodes[0])
    return {
        "type": "evm_receipt",
        "protocol": "BOB",
        "header": rlp.encode(items).hex(),
        "transaction_index": index,
        "receipt_proof": [node.hex() for node in nodes],
        "log_index": 0,
    }


STATUS_SLOT = 1
"""The place of ``status`` in the contract's storage; Vyper keeps the lock against reentrance before it."""


def account(storage: HexaryTrie, *, nonce: int = 1, balance: int = 0, code: bytes = b"code") -> bytes:
    """An account with that storage."""
    encoded: bytes = rlp.encode([nonce, balance, storage.root_hash, keccak(code)])
    return encoded


def slot(lock: bytes) -> bytes:
    """The key of a lock's status in the storage trie."""
    return keccak(keccak(STATUS_SLOT.to_bytes(32, "big") + lock))


def storage(statuses: dict[bytes, Any], neighbours: int = 20) -> HexaryTrie:
    """A contract's storage with these statuses by lock, and others."""
    trie = HexaryTrie({})
    for place in range(neighbours):
        trie[slot(keccak(bytes([place])))] = rlp.encode(1 + place % 3)
    for lock, status in statuses.items():
        trie[slot(lock)] = rlp.encode(status)
    return trie


def storage_evidence(
    of: Document, made: Document, status: Any = 2, *, neighbours: int = 20, block: Block | None = None
) -> Document:
    """Evidence of the status of a lock."""
    own = lock_id(of, made)
    trie = storage({own: status}, neighbours)
    contract = bytes.fromhex(of["contract"])
    filled = Block() if block is None else block
    others = {bytes([place]) * 20: account(HexaryTrie({}), balance=place) for place in range(neighbours)}
    filled.state = others | {contract: account(trie)} | filled.state
    return {
        "type": "evm_storage",
        "protocol": of["layer"],
        "header": filled.header().hex(),
        "lock_id": own.hex(),
        "account_proof": proof_of(filled.states(), keccak(contract)),
        "storage_proof": proof_of(trie, slot(own)),
    }
