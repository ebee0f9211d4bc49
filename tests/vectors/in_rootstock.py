"""Evidence from Rootstock that does not fit the lock, its headers or its trie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_utils.crypto import keccak

from vectors import evm, invoices, rootstock
from vectors.bases import to_lightning
from vectors.bitcoin import sized
from vectors.documents import AMOUNT, Document, proof, terms
from vectors.rootstock import Header, Trie, header, node_of, receipt, receipts
from vectors.vector import Vector, refused, valid

__all__ = ["vectors"]


def vectors() -> Iterator[Vector]:
    """Cases of the class ``rootstock``."""
    yield from _ends()
    yield from _headers()
    yield from _tries()
    yield from _receipts()
    yield from _chains()


def _made() -> Document:
    return terms(rootstock.leg(), invoices.leg())


def _third(made: Document) -> bytes:
    return receipt(evm.log(made["source"], made), gas=163_000, own=100_000)


def _with(evidence: Document) -> Document:
    return to_lightning(evidence, _made())


def _base() -> Document:
    made = _made()
    return rootstock.claimed(made["source"], made)


def _ends() -> Iterator[Vector]:
    made = _made()
    yield valid("rootstock/claimed", _with(_base()))
    returned = proof(made, rootstock.claimed(made["source"], made, evm.REFUNDED), None)
    yield valid("rootstock/refunded", returned, "refunded")
    for network, chain in (("testnet", 31), ("mainnet", 30)):
        there = terms(
            evm.leg(chain_id=808813 if network == "testnet" else 60808),
            rootstock.leg(chain_id=chain, amount=str(AMOUNT * 10**10)),
            network=network,
        )
        ended = rootstock.claimed(there["destination"], there)
        yield valid(f"rootstock/on-{network}", proof(there, None, ended), "partial")
    other = terms(rootstock.leg(), invoices.leg(), swap_id="99" * 16)
    yield refused("rootstock/of-another-swap", "lock_id", _with(rootstock.claimed(other["source"], other)))
    yield refused("rootstock/for-a-lock-on-bob", "layer", to_lightning(_base()))
    for count in (3, 40, 200):
        yield valid(f"rootstock/block-of-{count}-receipts", _with(rootstock.evidence(receipts(_third(made), count))))


def _headers() -> Iterator[Vector]:
    root = Trie(receipts(_third(_made()))).root
    base = _base()
    headers: list[str] = base["headers"]
    umm = bytes(range(20))
    good: dict[str, Header] = {
        "before-papyrus": header(root, tail=[]),
        "with-a-umm-root": header(root, tail=[umm]),
        "version-1": header(root, tail=[b"", b"\x01", b"\x00\x01"]),
        "version-2": header(root, tail=[b"", b"\x02", b"event", b"\x00\x01"]),
        "tag-at-the-last-place": header(root, before=b"\x02" * 63),
        "160-bytes-after-the-mark": header(root, after=b"\x03" * 128),
        "another-mark-before": header(root, before=b"RSKBLOCK:"),
        "coinbase-of-65-bytes": _without_a_block(root, before=b"\x02" * 24),
        "no-siblings": header(root, path=b""),
        "30-siblings": header(root, path=bytes(range(32)) * 30),
    }
    for name, first in good.items():
        yield valid(f"rootstock/{name}", _with(_under(first)))

    def other(place: int, value: Any) -> Header:
        made = header(root)
        made.fields[place] = value
        return made

    low = header(root, worth=3)
    low.fields[7] = b"\x08"
    bad: dict[str, Header] = {
        "too-little-work": low,
        "another-tag": header(root, tag=bytes(32)),
        "tag-of-31-bytes": header(root, tag=header(root).own_tag + bytes(11), after=b""),
        "mark-at-place-64": header(root, before=b"\x02" * 64),
        "161-bytes-after-the-mark": header(root, after=b"\x03" * 129),
        "another-mark-later": header(root, after=b"RSKBLOCK:" + bytes(32)),
        "count-that-is-no-multiple-of-64": header(root, count=63),
        "count-above-2-to-the-32": header(root, count=2**32),
        "31-siblings": header(root, path=bytes(range(32)) * 31),
        "path-of-33-bytes": header(root, path=bytes(33)),
        "version-0": header(root, tail=[b"", b"\x00", b""]),
        "version-3": header(root, tail=[b"", b"\x03", b""]),
        "coinbase-of-64-bytes": _without_a_block(root, before=b"\x02" * 23),
        "extra-data-that-is-a-list": other(12, []),
        "odd-edges": header(root, tail=[b"", b"\x01", b"\x01"]),
        "negative-difficulty": other(7, b"\x84"),
        "difficulty-with-an-unneeded-byte": other(7, b"\x00\x04"),
        "parent-of-31-bytes": other(0, bytes(31)),
        "miner-of-19-bytes": other(2, bytes(19)),
        "bloom-filter-of-255-bytes": other(6, bytes(255)),
        "number-with-a-leading-zero": other(8, b"\x00\x6a\xcf\xc0"),
        "extra-data-of-33-bytes": other(12, bytes(33)),
        "umm-root-of-19-bytes": header(root, tail=[bytes(19)]),
    }
    for name, first in bad.items():
        yield refused(f"rootstock/{name}", "header", _with(_under(first)))
    first = header(root)
    encoded = first.full()
    items: list[Any] = rlp.decode(encoded)
    wrong: dict[str, list[bytes]] = {
        "no-headers": [],
        "short-form": [first.short()],
        "another-sibling": [rlp.encode([*items[:-2], bytes(32), items[-1]])],
        "five-fields": [rlp.encode(items[:5])],
        "sixteen-fields": [rlp.encode(items[:16])],
        "nothing-after-the-version": [rlp.encode([*items[:17], b"\x01"])],
        "first-block-with-lists": [rlp.encode([*items[:8], b"", *[[] for _ in items[9:]]])],
        "one-more-field": [rlp.encode([*items, b""])],
        "header-that-is-cut-off": [encoded[:-1]],
        "header-that-is-a-string": [rlp.encode(encoded)],
        "first-block": [rlp.encode([*items[:8], b"", *items[9:]])],
        "child-of-another": [encoded, header(bytes(32), above=1).full()],
        "child-at-another-height": [encoded, header(bytes(32), parent=first.hash, above=2).full()],
        "child-at-the-same-time": [encoded, _same_time(first)],
    }
    for name, given in wrong.items():
        written = [each.hex() for each in given]
        yield refused(f"rootstock/{name}", "header", _with(base | {"headers": written}))
    yield refused("rootstock/headers-in-reverse", "header", _with(base | {"headers": headers[::-1]}))
    yield valid("rootstock/one-header", _with(base | {"headers": headers[:1]}))
    yield refused("rootstock/later-headers-only", "receipt_inclusion", _with(base | {"headers": headers[1:]}))


def _under(first: Header) -> Document:
    return rootstock.evidence(receipts(_third(_made())), later=0, first=first)


def _without_a_block(root: bytes, **changes: Any) -> Header:
    """A header whose coinbase is given whole: SHA-256 has read nothing before it."""
    return header(root, first_block=b"", count=0, after=b"", **changes)


def _same_time(first: Header) -> bytes:
    child = header(bytes(32), parent=first.hash, above=1)
    child.fields[11] = first.fields[11]
    return child.full()


def _tries() -> Iterator[Vector]:
    base = _base()
    nodes = [bytes.fromhex(each) for each in base["receipt_proof"]]
    wrong: dict[str, list[bytes]] = {
        "no-nodes": [],
        "missing-root": nodes[:-1],
        "missing-leaf": nodes[1:],
        "reversed": nodes[::-1],
        "superfluous-node": [nodes[0], *nodes],
        "empty-node": [b"", *nodes],
        "changed-leaf": [nodes[0][:-1] + b"\x00", *nodes[1:]],
    }
    for name, given in wrong.items():
        changes: Document = {"receipt_proof": [each.hex() for each in given]}
        yield refused(f"rootstock/trie-{name}", "receipt_inclusion", _with(base | changes))
    for index in (1, 3, 5, 65_535, 65_536):
        yield refused(f"rootstock/trie-index-{index}", "receipt_inclusion", _with(base | {"transaction_index": index}))
    third = _third(_made())
    fits = [
        leaf := node_of(0x20, "0000010", keccak(third) + len(third).to_bytes(3, "big")),
        node_of(0x0F, "", sized(leaf) + sized(bytes(44)) + b"\x01"),
    ]
    first = header(keccak(fits[-1]))
    proven: Document = {
        "headers": [first.full().hex()],
        "receipt_proof": [each.hex() for each in fits],
        "receipt": third.hex(),
    }
    yield valid("rootstock/trie-embedded-neighbour-of-44-bytes", _with(base | proven))
    bits = f"{int.from_bytes(rlp.encode(65_536), 'big'):032b}"
    large = node_of(0x20, bits, keccak(third) + len(third).to_bytes(3, "big"))
    beyond = {
        "headers": [header(keccak(large)).full().hex()],
        "receipt_proof": [large.hex()],
        "receipt": third.hex(),
        "transaction_index": 65_536,
    }
    yield refused("rootstock/trie-index-65536-in-the-trie", "receipt_inclusion", _with(base | beyond))
    for name, made in _odd_tries(third).items():
        first = header(keccak(made[-1]))
        evidence = base | {
            "headers": [first.full().hex()],
            "receipt_proof": [each.hex() for each in made],
            "receipt": third.hex(),
        }
        yield refused(f"rootstock/trie-{name}", "receipt_inclusion", _with(evidence))


def _odd_tries(value: bytes) -> dict[str, list[bytes]]:
    """Lists of nodes whose hashes fit, and which no trie of a block contains. The key is 00000010."""
    content = keccak(value) + len(value).to_bytes(3, "big")
    other = keccak(b"neighbour")
    leaf = node_of(0x20, "0000010", content)  # 40 bytes: it is embedded in its parent
    length = bytes([len(leaf)])
    padded = bytes([0x70, 6, 0b0000_0101]) + content
    short = node_of(0x20, "", content)
    holder = node_of(0x0F, "", sized(short) + sized(b"") + b"\x01")
    inner = node_of(0x08 | 0x04 | 0x02, "", length + leaf + other + b"\x01")
    assert len(leaf) <= 44
    return {
        "leaf-with-another-path": [node_of(0x20, "00000011", content)],
        "leaf-with-bits-after-its-path": [bytes([0x70, 6, 0b0000_0101]) + content],
        "leaf-with-a-shorter-path": [node_of(0x20, "0000001", content)],
        "leaf-under-a-node-with-bits-after-its-path": [padded, node_of(0x0E, "", sized(padded) + other + b"\x01")],
        "node-with-children-where-the-key-ends": [leaf, node_of(0x0C, "00000010", keccak(leaf) + other + b"\x01")],
        "embedded-node-with-a-leaf": [short, holder, node_of(0x0D, "000000", other + sized(holder) + b"\x01")],
        "embedded-neighbour-of-45-bytes": [
            leaf,
            node_of(0x0F, "", sized(leaf) + sized(bytes(45)) + b"\x01"),
        ],
        "leaf-of-version-2": [bytes([0xB0, 7, 2]) + content],
        "leaf-without-a-version": [bytes([0x30, 7, 2]) + content],
        "leaf-with-an-embedded-flag": [node_of(0x20 | 0x02, "00000010", content)],
        "leaf-without-the-flag-of-a-hash": [node_of(0x00, "00000010", content)],
        "leaf-with-more-bytes": [node_of(0x20, "00000010", content + b"\x00")],
        "leaf-of-another-length": [node_of(0x20, "00000010", content[:-1] + b"\x01")],
        "path-of-33-bits": [bytes([0x70, 32]) + bytes([2, 0, 0, 0, 0]) + content],
        "short-leaf-that-is-not-embedded": [leaf, node_of(0x08 | 0x04, "", keccak(leaf) + other + b"\x01")],
        "one-child": [leaf, node_of(0x08 | 0x02, "", length + leaf + b"\x01")],
        "children-and-a-value": [leaf, node_of(0x08 | 0x04 | 0x02 | 0x20, "", length + leaf + other + b"\x01")],
        "embedded-node-of-45-bytes": [
            leaf,
            node_of(0x08 | 0x04 | 0x02, "", b"\x2d" + leaf + bytes(45 - len(leaf)) + other + b"\x01"),
        ],
        "size-that-is-not-the-shortest": [leaf, inner[:-1] + b"\xfd\x01\x00"],
        "inner-node-with-more-bytes": [leaf, inner + b"\x00"],
        "inner-node-without-a-size": [leaf, inner[:-1]],
        "embedded-node-with-children": [
            node_of(0x20, "0010", content),
            node_of(0x08 | 0x04 | 0x02 | 0x01, "000", b"\x00\x00\x00"),
            node_of(
                0x08 | 0x04 | 0x02,
                "",
                b"\x06" + node_of(0x08 | 0x04 | 0x02 | 0x01, "000", b"\x00\x00\x00") + other + b"\x01",
            ),
        ],
    }


def _receipts() -> Iterator[Vector]:
    made = _made()
    log = evm.log(made["source"], made)
    bloom = rlp.decode(_third(made))[2]
    wrong: dict[str, bytes] = {
        "five-fields": rlp.encode([1, 163_000, bloom, [log], 100_000]),
        "two-statuses": receipt(log, gas=163_000, own=100_000, again=b""),
        "state-root": receipt(log, status=bytes(32), gas=163_000, own=100_000),
        "more-gas-than-the-block": receipt(log, gas=163_000, own=163_001),
        "gas-with-a-leading-zero": rlp.encode([1, 163_000, bloom, [log], b"\x00\x01", 1]),
        "another-bloom-filter": rlp.encode([1, 163_000, bytes(256), [log], 100_000, 1]),
        "a-type": b"\x02" + _third(made),
    }
    for name, data in wrong.items():
        yield refused(f"rootstock/receipt-with-{name}", "receipt_inclusion", _with(rootstock.evidence(receipts(data))))
    failed = rootstock.evidence(receipts(receipt(status=b"", gas=163_000)))
    yield refused("rootstock/receipt-that-failed", "receipt_status", _with(failed))
    without = rootstock.evidence(receipts(receipt(gas=163_000)))
    yield refused("rootstock/receipt-without-logs", "log_index", _with(without))
    foreign = receipt([b"\x77" * 20, *log[1:]], gas=163_000, own=100_000)
    yield refused("rootstock/receipt-of-a-foreign-emitter", "event", _with(rootstock.evidence(receipts(foreign))))


def _chains() -> Iterator[Vector]:
    """Headers in their short form up to a trusted one."""
    base = _base()
    root = Trie(receipts(_third(_made()))).root
    first = header(root)
    evidence = base | {"headers": [first.full().hex()]}
    chain = [first]
    while len(chain) < 5:
        chain.append(header(bytes(32), parent=chain[-1].hash, above=len(chain)))
    later = [each.short() for each in chain[1:]]
    last = chain[-1]

    def case(name: str, headers: list[bytes], trusted: Header = last, *, is_valid: bool = False) -> Vector:
        policy: Document = {"trusted_headers": {"ROOTSTOCK": trusted.hash.hex()}}
        given = {"ROOTSTOCK": headers} if headers else {}
        if is_valid:
            return valid(f"rootstock/{name}", _with(evidence), policy=policy, headers=given)
        return refused(f"rootstock/chain-with-{name}", "header_chain", _with(evidence), policy=policy, headers=given)

    yield case("the-block-itself-is-trusted", [], first, is_valid=True)
    yield case("headers-up-to-a-trusted-one", later, is_valid=True)
    without_work = header(bytes(32), parent=last.hash, above=5, worth=3)
    without_work.fields[7] = b"\x08"
    yield case("trusted-header-without-work", [*later, without_work.short()], without_work, is_valid=True)
    yield case("a-missing-header", [later[0], *later[2:]])
    yield case("reversed-headers", later[::-1])
    yield case("headers-from-the-block", [first.short(), *later])
    yield case("the-full-form", [each.full() for each in chain[1:]])
    yield case("a-malformed-header", [*later[:-1], b"\xc0"])
    ends = header(bytes(32), parent=chain[-2].hash, above=4)
    yield case("a-header-that-ends-at-its-version", [*later[:-1], rlp.encode([*ends.fields, b"", b"\x01"])])
    for name, place, value in (
        ("another-number", 8, rlp.sedes.big_endian_int.serialize(rootstock.HEIGHT + 5)),
        ("the-same-time", 11, chain[-2].fields[11]),
        ("another-parent", 0, bytes(32)),
    ):
        other = header(bytes(32), parent=chain[-2].hash, above=4)
        other.fields[place] = value
        yield case(f"a-header-with-{name}", [*later[:-1], other.short()], other)
    zero = header(bytes(32), parent=chain[-2].hash, above=4)
    zero.fields[8] = b""
    yield case("a-first-block", [*later[:-1], zero.short()])
    ethereum: list[Any] = rlp.decode(evm.Block(number=rootstock.HEIGHT + 1, timestamp=evm.BLOCK_TIME + 30).header())
    ethereum[0] = first.hash
    encoded: bytes = rlp.encode(ethereum)
    policy: Document = {"trusted_headers": {"ROOTSTOCK": keccak(encoded).hex()}}
    given = {"ROOTSTOCK": [encoded]}
    name = "rootstock/chain-with-a-header-of-ethereum"
    yield refused(name, "header_chain", _with(evidence), policy=policy, headers=given)
