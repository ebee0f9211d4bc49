"""Encodings of RLP that only a lenient reader accepts: what they contain is otherwise valid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_utils.crypto import keccak

from vectors import bases, evm
from vectors.bases import bob_terms, to_lightning
from vectors.documents import changed
from vectors.vector import Vector, refused, valid

__all__ = ["vectors"]

MOST_LEVELS = 16


def vectors() -> Iterator[Vector]:
    """Cases of the class ``evm-rlp``."""
    yield from _headers()
    yield from _receipts()
    yield from _nesting()


def _listed(*parts: bytes) -> bytes:
    """A long list of encoded items."""
    payload = b"".join(parts)
    return b"\xf9" + len(payload).to_bytes(2, "big") + payload


def _headers() -> Iterator[Vector]:
    base = bases.bob_to_lightning()
    items: list[bytes] = [rlp.encode(item) for item in rlp.decode(bytes.fromhex(base["source_leg"]["header"]))]
    bloom, fee, last = items[6], items[15], items[20]
    assert (bloom[:3], fee, last[:1]) == (b"\xb9\x01\x00", b"\x07", b"\xa0")

    def other(place: int, item: bytes) -> bytes:
        return _listed(*items[:place], item, *items[place + 1 :])

    whole = _listed(*items)
    cases = {
        "byte-with-an-unneeded-prefix": other(15, b"\x81" + fee),
        "length-with-a-leading-zero": other(6, b"\xba\x00" + bloom[1:]),
        "long-length-of-a-short-string": other(0, b"\xb8\x20" + items[0][1:]),
        "string-longer-than-its-list": other(20, b"\xa1" + last[1:]),
        "long-string-longer-than-its-list": other(20, b"\xb8\x40" + last[1:]),
        "cut-off-before-the-last-item": whole[: -len(last)],
        "two-items": whole + b"\x80",
    }
    for name, header in cases.items():
        yield refused(f"evm-rlp/{name}", "header", changed(base, source_leg__header=header.hex()))


def _receipts() -> Iterator[Vector]:
    made = bob_terms()
    log = evm.log(made["source"], made)
    status, gas, bloom, logs = [rlp.encode(item) for item in rlp.decode(evm.receipt(log)[1:])]
    address, topics, data = log
    cases: dict[str, bytes] = {
        "list-longer-than-its-parent": _listed(status, gas, bloom, b"\xc1"),
        "length-that-is-cut-off": _listed(status, gas, bloom, b"\xb8"),
        "receipt-of-three-fields": _listed(status, gas, bloom),
        "receipt-of-seven-fields": _listed(status, gas, bloom, logs, b"\x05", b"\x01", b"\x01"),
        "receipt-that-is-a-string": rlp.encode(b"\x01" * 60),
        "bloom-filter-that-is-a-list": _listed(status, gas, rlp.encode([]), logs),
        "logs-that-are-a-string": _listed(status, gas, rlp.encode(bytes(256)), b"\x80"),
        "log-of-two-items": _listed(status, gas, bloom, rlp.encode([[address, topics]])),
        "log-that-is-a-string": _listed(status, gas, bloom, rlp.encode([address])),
        "topic-that-is-a-list": _listed(status, gas, bloom, rlp.encode([[address, [topics[0], [topics[1]]], data]])),
        "status-of-2-without-logs": _listed(b"\x02", gas, rlp.encode(bytes(256)), rlp.encode([])),
    }
    for name, body in cases.items():
        evidence = evm.receipt_evidence(evm.block_with(b"\x02" + body))
        yield refused(f"evm-rlp/{name}", "receipt_inclusion", to_lightning(evidence))


def _nesting() -> Iterator[Vector]:
    """Siblings on the path in which lists are nested: nothing but RLP's own limit refuses them."""
    made = bob_terms()
    leaf = rlp.encode([b"\x32", evm.receipt(evm.log(made["source"], made))])
    for levels in (MOST_LEVELS, MOST_LEVELS + 1):
        nested: Any = []
        for _ in range(levels - 3):
            nested = [nested]
        sibling: Sequence[Any] = [b"\x01", nested]
        children: list[Any] = [keccak(leaf), sibling, *[b""] * 15]
        document = to_lightning(evm.evidence_under([rlp.encode(children), leaf]))
        if levels > MOST_LEVELS:
            yield refused(f"evm-rlp/lists-of-{levels}-levels", "receipt_inclusion", document)
        else:
            yield valid(f"evm-rlp/lists-of-{levels}-levels", document)
