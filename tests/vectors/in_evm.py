"""Evidence of receipts that does not fit the lock, its header or its trie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_utils.crypto import keccak

from vectors import bases, evm, invoices
from vectors.bases import bob_terms, to_lightning
from vectors.documents import PAYMENT_HASH, PREIMAGE, Document, changed, proof, terms
from vectors.evm import BLOCK_TIME, CLAIMED, REFUNDED, Block
from vectors.vector import Vector, refused, valid

__all__ = ["vectors"]

LOCKED = keccak(text="Locked(bytes32,bytes32,address,address,address,uint256,uint256,bytes32)")


def vectors() -> Iterator[Vector]:
    """Cases of the classes ``evm-lock``, ``evm-header``, ``evm-trie``, ``evm-receipt`` and ``evm-event``."""
    yield from _locks()
    yield from _headers()
    yield from _tries()
    yield from _receipts()
    yield from _events()


def _locks() -> Iterator[Vector]:
    base, other = bases.bob_to_lightning(), bob_terms(swap_id="99" * 16)
    yield refused("evm-lock/evidence-of-another-swap", "lock_id", to_lightning(evm.claimed(other["source"], other)))
    for name in ("payer", "payee", "token"):
        leg = evm.leg(**{name: "44" * 20})
        yield refused(f"evm-lock/another-{name}", "lock_id", to_lightning(evm.claimed(leg, bob_terms())))
    later = evm.leg(deadline=BLOCK_TIME + 100_001)
    yield refused("evm-lock/another-deadline", "lock_id", to_lightning(evm.claimed(later, bob_terms())))
    yield refused("evm-lock/another-layer", "layer", changed(base, source_leg__protocol="ROOTSTOCK"))
    yield refused("evm-lock/a-preimage-for-a-lock", "evidence", base | {"source_leg": invoices.payment()})
    yield refused("evm-lock/a-lock-for-a-payment", "evidence", base | {"destination_leg": base["source_leg"]})
    swapped = base | {"source_leg": base["destination_leg"], "destination_leg": base["source_leg"]}
    yield refused("evm-lock/swapped-legs", "evidence", swapped)
    for name, value in (("deadline", 0), ("payee", "00" * 20)):
        made = terms(evm.leg(**{name: value}), invoices.leg())
        yield refused(f"evm-lock/{name}-of-zero", "lock", to_lightning(base["source_leg"], made))
    on_mainnet = terms(evm.leg(), evm.leg(layer="ROOTSTOCK", chain_id=30, amount="100000"), network="mainnet")
    ethereum = proof(on_mainnet, None, evm.claimed(on_mainnet["destination"], on_mainnet))
    yield refused("evm-lock/ethereums-receipts-on-rootstock", "evidence", ethereum)


def _headers() -> Iterator[Vector]:
    made, base = bob_terms(), bases.bob_to_lightning()
    for fields in (15, 16, 17, 20):
        block = _claim_block()
        block.fields = fields
        yield valid(f"evm-header/{fields}-fields", to_lightning(evm.receipt_evidence(block)))
    for fields in (14, 18, 19):
        block = _claim_block()
        block.fields = fields
        yield refused(f"evm-header/{fields}-fields", "header", to_lightning(evm.receipt_evidence(block), made))
    header = bytes.fromhex(base["source_leg"]["header"])
    items: list[Any] = rlp.decode(header)
    cases: dict[str, bytes] = {
        "empty": b"",
        "a-string": rlp.encode(header),
        "followed-by-a-byte": header + b"\x00",
        "cut-off": header[:-1],
        "22-fields": rlp.encode([*items, bytes(32)]),
        "number-with-a-leading-zero": rlp.encode([*items[:8], b"\x00\x01", *items[9:]]),
        "number-of-9-bytes": rlp.encode([*items[:8], b"\x01" + bytes(8), *items[9:]]),
        "receipts-root-of-31-bytes": rlp.encode([*items[:5], items[5][:-1], *items[6:]]),
        "bloom-filter-of-255-bytes": rlp.encode([*items[:6], bytes(255), *items[7:]]),
        "extra-data-of-33-bytes": rlp.encode([*items[:12], bytes(33), *items[13:]]),
        "field-that-is-a-list": rlp.encode([*items[:12], [], *items[13:]]),
        "long-length-of-a-short-string": header[:3] + b"\xb8\x20" + header[4:],
    }
    for name, data in cases.items():
        yield refused(f"evm-header/{name}", "header", changed(base, source_leg__header=data.hex()))
    other_root = rlp.encode([*items[:5], bytes(32), *items[6:]])
    changed_root = changed(base, source_leg__header=other_root.hex())
    yield refused("evm-header/another-receipts-root", "receipt_inclusion", changed_root)


def _claim_block(neighbours: int = 4) -> Block:
    made = bob_terms()
    return evm.block_with(evm.receipt(evm.log(made["source"], made), gas=100_000), neighbours)


def _tries() -> Iterator[Vector]:
    base = bases.bob_to_lightning()
    nodes: list[str] = base["source_leg"]["receipt_proof"]
    for count in (0, 130, 300):
        block = _claim_block(4 + count)
        yield valid(f"evm-trie/block-of-{5 + count}-receipts", to_lightning(evm.receipt_evidence(block)))
    alone = Block([evm.receipt(evm.log(bob_terms()["source"], bob_terms()))])
    yield valid("evm-trie/block-of-1-receipt", to_lightning(evm.receipt_evidence(alone, index=0)))
    wrong: dict[str, list[str]] = {
        "no-nodes": [],
        "missing-root": nodes[1:],
        "missing-leaf": nodes[:-1],
        "reversed": nodes[::-1],
        "superfluous-node": [*nodes, nodes[-1]],
        "superfluous-empty-node": [*nodes, ""],
        "repeated-root": [nodes[0], *nodes],
        "changed-leaf": [*nodes[:-1], nodes[-1][:-2] + "ff"],
    }
    for name, given in wrong.items():
        yield refused(f"evm-trie/{name}", "receipt_inclusion", changed(base, source_leg__receipt_proof=given))
    for index in (0, 3, 4, 5, 200, 2**32 - 1, 2**32):
        other = changed(base, source_leg__transaction_index=index)
        yield refused(f"evm-trie/index-{index}", "receipt_inclusion", other)
    for name, root in _odd_tries(_claim_block().receipts[2]).items():
        yield refused(f"evm-trie/{name}", "receipt_inclusion", to_lightning(evm.evidence_under(root)))
    # The trie of a block has no such key, but nothing else refuses it.
    large = rlp.encode([b"\x20" + rlp.encode(2**32), _claim_block().receipts[2]])
    yield refused(
        "evm-trie/index-2-to-the-32-in-the-trie", "receipt_inclusion", to_lightning(evm.evidence_under([large], 2**32))
    )


def _odd_tries(value: bytes) -> dict[str, list[bytes]]:
    """Lists of nodes whose hashes fit, and which no trie of a block contains. The key is 02."""
    leaf = rlp.encode([b"\x32", value])  # an odd path of one digit
    reference = keccak(leaf)
    empty: list[Any] = [b""] * 17
    neighbour = keccak(b"neighbour")

    def branch(**places: Any) -> list[Any]:
        return [places.get(f"at{place}", b"") for place in range(16)] + [places.get("value", b"")]

    whole = rlp.encode(branch(at0=reference, at1=neighbour))
    after_digit = rlp.encode(branch(at2=keccak(rlp.encode([b"\x20", value])), at3=neighbour))
    below = rlp.encode(branch(at2=keccak(rlp.encode([b"\x20", value])), at3=neighbour))
    short_leaf = rlp.encode([b"\x20", value])
    extension = [b"\x00\x02", keccak(short_leaf)]
    return {
        "leaf-as-root-with-another-path": [rlp.encode([b"\x20\x03", value])],
        "leaf-with-the-flag-4": [rlp.encode([b"\x40\x02", value])],
        "leaf-with-padding-that-is-not-zero": [rlp.encode([b"\x21\x02", value])],
        "leaf-with-an-empty-path-item": [rlp.encode([b"", value])],
        "leaf-with-a-list-as-value": [rlp.encode([b"\x20\x02", [value]])],
        "leaf-with-an-empty-value": [rlp.encode([b"\x20\x02", b""])],
        "branch-with-one-child": [rlp.encode(branch(at0=reference)), leaf],
        "branch-with-a-value": [rlp.encode(branch(at0=reference, at1=neighbour, value=b"\x01")), leaf],
        "branch-with-a-short-reference": [rlp.encode(branch(at0=reference, at1=b"\x01")), leaf],
        "branch-with-an-empty-list": [rlp.encode(branch(at0=reference, at1=[])), leaf],
        "branch-with-a-list-of-three": [rlp.encode(branch(at0=reference, at1=[b"\x01", b"\x02", b"\x03"])), leaf],
        "branch-with-a-large-embedded-node": [rlp.encode(branch(at0=[b"\x32", value], at1=neighbour))],
        "branch-of-16": [rlp.encode(branch(at0=reference, at1=neighbour)[:16]), leaf],
        "branch-without-the-child": [rlp.encode(branch(at1=reference, at2=neighbour)), leaf],
        "empty-branch": [rlp.encode(empty)],
        "extension-as-last-node": [rlp.encode(extension)],
        "extension-to-a-leaf": [rlp.encode([b"\x10", reference]), leaf],
        "extension-with-an-empty-path-before-the-branch": [rlp.encode([b"\x00", keccak(whole)]), whole, leaf],
        "extension-with-another-path": [
            rlp.encode([b"\x15", keccak(after_digit)]),
            after_digit,
            rlp.encode([b"\x20", value]),
        ],
        "root-that-is-a-string-of-2-bytes": [rlp.encode(b"\x20\x02")],
        "root-that-is-a-string-of-17-bytes": [rlp.encode(bytes(17))],
        "extension-with-an-empty-path": [rlp.encode([b"\x00", keccak(below)]), below],
        "extension-after-an-extension": [
            rlp.encode([b"\x10", keccak(rlp.encode([b"\x12", keccak(short_leaf)]))]),
            rlp.encode([b"\x12", keccak(short_leaf)]),
            short_leaf,
        ],
        "root-that-is-a-string": [rlp.encode(value)],
        "value-at-a-branch": [rlp.encode([b"\x00\x02", keccak(_full(value))]), _full(value)],
        "node-that-is-not-canonical": [b"\xf8\x00" + rlp.encode([b"\x20\x02", value])],
    }


def _full(value: bytes) -> bytes:
    encoded: bytes = rlp.encode([keccak(bytes([place])) for place in range(16)] + [value])
    return encoded


def _receipts() -> Iterator[Vector]:
    made = bob_terms()
    log = evm.log(made["source"], made)
    for kind in (0, 1, 2, 4):
        yield valid(f"evm-receipt/type-{kind}", to_lightning(_in_block(evm.receipt(log, kind=kind))))
    bloom = rlp.decode(evm.receipt(log)[1:])[2]
    deposit = b"\x7e" + rlp.encode([1, 21_000, bloom, [log], 5, 1])
    yield valid("evm-receipt/deposit", to_lightning(_in_block(deposit)))
    wrong: dict[str, bytes] = {
        "type-3": evm.receipt(log, kind=3),
        "type-5": evm.receipt(log, kind=5),
        "type-0-as-a-byte": b"\x00" + evm.receipt(log, kind=0),
        "type-of-two-bytes": b"\x02\x02" + evm.receipt(log, kind=0),
        "nonce-without-a-deposit": b"\x02" + rlp.encode([1, 21_000, bloom, [log], 5, 1]),
        "deposit-without-version": b"\x7e" + rlp.encode([1, 21_000, bloom, [log], 5]),
        "status-of-2": evm.receipt(log, status=2),
        "status-as-a-state-root": b"\x02" + rlp.encode([bytes(32), 21_000, bloom, [log]]),
        "bloom-filter-of-others": b"\x02" + rlp.encode([1, 21_000, bytes(256), [log]]),
        "bloom-filter-of-all-bits": b"\x02" + rlp.encode([1, 21_000, b"\xff" * 256, [log]]),
        "failed-with-logs": evm.receipt(log, status=0),
        "topic-of-31-bytes": evm.receipt([log[0], [*log[1][:2], log[1][2][:-1]], log[2]]),
        "five-topics": evm.receipt([log[0], [*log[1], bytes(32), bytes(32)], log[2]]),
        "address-of-21-bytes": evm.receipt([log[0] + b"\x00", log[1], log[2]]),
        "gas-with-a-leading-zero": b"\x02" + rlp.encode([1, b"\x00\x01", bloom, [log]]),
        "followed-by-a-byte": evm.receipt(log) + b"\x00",
    }
    for name, data in wrong.items():
        yield refused(f"evm-receipt/{name}", "receipt_inclusion", to_lightning(_in_block(data)))
    yield refused("evm-receipt/failed", "receipt_status", to_lightning(_in_block(evm.receipt(status=0))))
    yield refused("evm-receipt/no-log", "log_index", to_lightning(_in_block(evm.receipt())))
    base = bases.bob_to_lightning()
    yield refused("evm-receipt/log-beyond-the-last", "log_index", changed(base, source_leg__log_index=1))


def _in_block(receipt: bytes) -> Document:
    return evm.receipt_evidence(evm.block_with(receipt))


def _events() -> Iterator[Vector]:
    made = bob_terms()
    address, topics, data = evm.log(made["source"], made)
    other_preimage = bytes(32)
    wrong: dict[str, list[Any]] = {
        "foreign-emitter": [b"\x77" * 20, topics, data],
        "locked": [address, [LOCKED, *topics[1:]], data],
        "no-topics": [address, [], data],
        "transfer": [address, [keccak(text="Transfer(address,address,uint256)"), *topics[1:]], data],
        "two-topics": [address, topics[:2], data],
        "four-topics": [address, [*topics, bytes(32)], data],
        "claimed-without-preimage": [address, topics, b""],
        "claimed-with-another-preimage": [address, topics, other_preimage],
        "claimed-with-more-data": [address, topics, data + bytes(32)],
        "refunded-with-data": [address, [REFUNDED, *topics[1:]], PREIMAGE],
    }
    for name, log in wrong.items():
        yield refused(f"evm-event/{name}", "event", to_lightning(_in_block(evm.receipt(log))))
    exchanged = [address, [CLAIMED, topics[2], topics[1]], data]
    yield refused("evm-event/topics-exchanged", "event", to_lightning(_in_block(evm.receipt(exchanged))))
    other_hash = [address, [REFUNDED, topics[1], bytes(32)], b""]
    returned = proof(made, _in_block(evm.receipt(other_hash)), None)
    yield refused("evm-event/refund-under-another-hash", "payment_hash", returned)
    other_lock = [address, [CLAIMED, bytes(32), PAYMENT_HASH], data]
    yield refused("evm-event/claim-of-another-lock", "lock_id", to_lightning(_in_block(evm.receipt(other_lock))))
    second = evm.receipt([b"\x77" * 20, topics, data], [address, topics, data])
    evidence = _in_block(second) | {"log_index": 1}
    yield valid("evm-event/second-log-of-the-receipt", to_lightning(evidence))
