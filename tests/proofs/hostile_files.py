"""Files that cost a verifier as much as possible. Each fills one limit of the format, or tries to exceed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from coincurve import PrivateKey

from formats.invoices import extended
from layer2.formats import bech32, rlp
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxIn, TxOut
from layer2.formats.evm_header import decode_header
from layer2.formats.evm_receipt import EvmLog, EvmReceipt, bloom_of
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmReceiptEvidence
from proofs import made_bitcoin, made_proofs, made_rootstock

__all__ = ["HOSTILE_FILES", "ROOTSTOCK_HEADERS"]

_SIZE: Final = 1_000_000
_ITEM: Final = 100_000
ROOTSTOCK_HEADERS: Final = 144
_FIRST_LEAF: Final = bytes.fromhex("2080")
"""The path of a leaf at the key of index 0."""


def _repeated(start: bytes, item: bytes, end: bytes) -> bytes:
    """As many items as fit into a file, with commas between them."""
    count = (_SIZE - len(start) - len(end)) // (len(item) + 1)
    return start + b",".join([item] * count) + end


def _with(place: tuple[str, ...], value: object) -> bytes:
    """A proof in which one field has another value."""
    document = json.loads(made_proofs.to_lightning().to_bytes())
    inner: dict[str, Any] = document
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _receipt_proof(*nodes: bytes) -> bytes:
    """A proof whose header has the first node as its root."""
    proof = made_proofs.to_lightning()
    assert isinstance(proof.source_leg, EvmReceiptEvidence)
    header = replace(decode_header(proof.source_leg.header), receipts_root=keccak256(nodes[0]))
    evidence = replace(proof.source_leg, header=header.encode(), transaction_index=0, receipt_proof=nodes)
    return replace(proof, source_leg=evidence).to_bytes()


def _list_of(item: bytes) -> bytes:
    """A list of encoded items that is almost as long as a node may be."""
    count = (_ITEM - 100) // len(item)
    return rlp.list_prefix(count * len(item)) + item * count


def _logs(logs: list[EvmLog]) -> bytes:
    receipt = EvmReceipt(2, True, 21_000, bloom_of(logs), tuple(logs)).encode()
    return _receipt_proof(rlp.encode([_FIRST_LEAF, receipt]))


def _spend(transaction: Transaction, first: Transaction | None = None) -> bytes:
    return made_bitcoin.from_bitcoin(evidence=made_bitcoin.evidence_of(transaction, first)).to_bytes()


def _spend_with(*, inputs: int = 0, outputs: int = 0, items: int = 0) -> Transaction:
    """A spend with further inputs and outputs, and a first witness of empty items."""
    spend = made_bitcoin.spend()
    first = replace(spend.inputs[0], witness=(b"",) * items) if items else spend.inputs[0]
    further = tuple([TxIn(OutPoint(b"\x07" * 32, number), 0, witness=(b"", b"")) for number in range(inputs)])
    paid = (*spend.outputs, *[TxOut(number & 3, b"") for number in range(outputs)])
    return replace(spend, inputs=(first, *spend.inputs[1:], *further), outputs=paid)


def _two_large_transactions() -> bytes:
    spend = _spend_with(items=350_000)
    leaves = [bytes(32), *[each.witness_hash for each in (made_bitcoin.other(1), spend, made_bitcoin.other(2))]]
    scripts = [b""] * 9_000 + [made_bitcoin.commitment([*leaves, made_bitcoin.other(3).witness_hash])]
    return _spend(spend, made_bitcoin.coinbase(scripts))


def _bitcoin_headers() -> bytes:
    spend = made_bitcoin.spend()
    block = made_bitcoin.block_of([made_bitcoin.other(1), spend, made_bitcoin.other(2)])
    headers = made_bitcoin.chain(block.headers[0].merkle_root, 2_016)
    return made_bitcoin.from_bitcoin(evidence=replace(block, headers=headers).evidence(spend)).to_bytes()


def _rootstock_headers(count: int) -> bytes:
    leg = made_rootstock.leg()
    values = made_rootstock.receipts_with(made_rootstock.event_log(leg, made_rootstock.terms(leg)))
    blocks = made_rootstock.chain(values, count - 1, after_tag=108, before_tag=63)
    headers = tuple([block.full for block in blocks])
    return made_rootstock.with_evidence(made_rootstock.from_rootstock(), headers=headers).to_bytes()


def _too_many_rootstock_headers() -> bytes:
    document = json.loads(_rootstock_headers(ROOTSTOCK_HEADERS))
    headers = document["source_leg"]["headers"]
    headers.append(headers[-1])
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _invoice(fields: bytes) -> bytes:
    """An invoice with further fields, given as five-bit groups."""
    text = extended(made_proofs.invoice(), fields, made_proofs.PAYEE)
    return made_proofs.to_lightning(made_proofs.terms(destination=made_proofs.lightning_leg(text))).to_bytes()


def _hints() -> bytes:
    """Route hints of 12 hops each, and each hop with another key."""
    hints = []
    for start in range(1, 73, 12):
        keys = [PrivateKey(bytes([number]) * 32).public_key.format() for number in range(start, start + 12)]
        groups = bech32.groups_from_bytes(b"".join([key + bytes(18) for key in keys]))
        hints.append(bytes([3, len(groups) >> 5, len(groups) & 31]) + groups)
    return _invoice(b"".join(hints))


HOSTILE_FILES: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "brackets": ("values", lambda: b"[" * _SIZE),
    "as many brackets as allowed": ("deeper", lambda: b"[" * 10_000),
    "lists within lists": ("values", lambda: _repeated(b"[", b"[" * 63 + b"]" * 63, b"]")),
    "empty lists": ("values", lambda: _repeated(b"[", b"[]", b"]")),
    "small objects": ("values", lambda: _repeated(b"[", b'{"a":1}', b"]")),
    "one key many times": ("values", lambda: _repeated(b"{", b'"a":1', b"}")),
    "objects that are not ASCII": ("values", lambda: _repeated(b"[", '{"\u00e9":1}'.encode(), b"]")),
    "as many objects as allowed": ("not a JSON object", lambda: b"[" + b'{"\xc3\xa9":1},' * 4_900 + b"1]"),
    "digits": ("digits", lambda: b"9" * _SIZE),
    "a long text": ("not a JSON object", lambda: b'"' + b"x" * (_SIZE - 2) + b'"'),
    "a text of escapes": ("not a JSON object", lambda: b'"\xc3\xa9' + b"\\u0001" * 166_000 + b'"'),
    "quotes beside brackets": ("not a JSON object", lambda: b"[" + b"[]," * 70 + b'"' + b'\\"' * 499_000 + b'"]'),
    "an unknown key": ("unknown field", lambda: _with(("x" * 900_000,), 1)),
    "a long header": ("hex", lambda: _with(("source_leg", "header"), "aa" * 450_000)),
    "a long invoice in the terms": (
        "a text of at most",
        lambda: _with(("terms", "destination", "invoice"), "l" * 900_000),
    ),
    "large nodes": ("receipt_inclusion", lambda: _with(("source_leg", "receipt_proof"), ["aa" * 99_000] * 4)),
    "a node of lists": ("receipt_inclusion", lambda: _receipt_proof(_list_of(bytes.fromhex("c5c4c3c2c1c0")))),
    "a receipt of lists": (
        "receipt_inclusion",
        lambda: _receipt_proof(rlp.encode([_FIRST_LEAF, b"\x02" + _list_of(bytes.fromhex("c5c4c3c2c1c0"))])),
    ),
    "many logs": ("event", lambda: _logs([EvmLog(n.to_bytes(20, "big"), (), b"") for n in range(1, 4_100)])),
    "many topics": (
        "event",
        lambda: _logs(
            [EvmLog(bytes(20), tuple([(4 * n + k).to_bytes(32, "big") for k in range(4)]), b"") for n in range(620)]
        ),
    ),
    "many outputs": ("", lambda: _spend(_spend_with(outputs=44_000))),
    "many inputs": ("", lambda: _spend(_spend_with(inputs=9_000))),
    "many items of a witness": ("", lambda: _spend(_spend_with(items=399_000))),
    "two large transactions": ("", _two_large_transactions),
    "Bitcoin's headers": ("", _bitcoin_headers),
    "Rootstock's headers": ("", lambda: _rootstock_headers(ROOTSTOCK_HEADERS)),
    "too many of Rootstock's headers": ("at most 144", _too_many_rootstock_headers),
    "an invoice of many unknown fields": ("", lambda: _invoice(b"\x02\0\0" * 2_200)),
    "an invoice of many addresses": ("", lambda: _invoice((b"\x09\x01\x01\x11" + bytes(32)) * 180)),
    "an invoice of many hops": ("", _hints),
}
"""By name: a part of the reason for which the file is refused, empty if it is accepted, and the file."""
