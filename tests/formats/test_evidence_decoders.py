"""Every decoder of evidence, with arbitrary bytes: it refuses them, or they are the canonical encoding of its result.

Decoders raise only FormatError for any bytes. The runner's time limit detects time that is not linear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import FormatError, Layer2Error
from layer2.formats import merkle_patricia, rlp
from layer2.formats.evm_header import decode_header
from layer2.formats.evm_receipt import EvmLog, EvmReceipt, bloom_of, decode_receipt
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.evm_evidence import read_event
from layer2.proofs.model import TransferProof
from proofs import made_proofs as made

PROOF = made.to_lightning(neighbours=140)
assert isinstance(PROOF.source_leg, EvmReceiptEvidence)
EVIDENCE = PROOF.source_leg
HEADER = EVIDENCE.header
LOGS = tuple([EvmLog(bytes([n]) * 20, (bytes([n]) * 32,) * n, bytes(n * 40)) for n in range(5)])
RECEIPTS = [
    EvmReceipt(2, True, 21_000, bloom_of(LOGS), LOGS).encode(),
    EvmReceipt(0, True, 1 << 40, bloom_of(LOGS[:1]), LOGS[:1]).encode(),
    EvmReceipt(1, False, 0, bytes(256), ()).encode(),
    EvmReceipt(0x7E, True, 46_109, bytes(256), (), 20_000_001, 1).encode(),
]
VALUES = [b"\x02" + hashlib.shake_256(bytes([n % 256])).digest(10 + n % 60) for n in range(300)]
ROOT = merkle_patricia.trie_root(VALUES)
PROOFS = merkle_patricia.prove_all(VALUES)

# Prefixes of short and long strings and lists, and the lengths at their limits.
_PREFIXES = bytes(
    [0x00, 0x37, 0x38, 0x7F, 0x80, 0x81, 0xA0, 0xB7, 0xB8, 0xB9, 0xBF, 0xC0, 0xC1, 0xF7, 0xF8, 0xF9, 0xFF]
)


@st.composite
def damaged(draw: st.DrawFn, *valid: bytes) -> bytes:
    """A valid encoding with flipped bits, or with parts overwritten, removed, inserted or repeated."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        stop = start + draw(st.integers(0, 40))
        match draw(st.sampled_from(["flip", "prefix", "take out", "put in", "repeat", "cut"])):
            case "flip" if data:
                data[start] ^= 1 << draw(st.integers(0, 7))
            case "prefix" if data:
                data[start] = draw(st.sampled_from(_PREFIXES))
            case "take out":
                del data[start:stop]
            case "put in":
                data[start:start] = draw(st.binary(min_size=1, max_size=9))
            case "repeat":
                data[start:start] = data[start:stop]
            case _:
                del data[start:]
    return bytes(data)


@given(st.one_of(st.binary(max_size=200), damaged(HEADER, *RECEIPTS)))
@settings(max_examples=800)
def test_rlp_is_refused_or_the_only_encoding(data: bytes) -> None:
    try:
        item = rlp.decode(data)
    except FormatError:
        return
    assert rlp.encode(item) == data


@given(st.one_of(st.binary(max_size=400), damaged(*RECEIPTS)))
@settings(max_examples=600)
def test_a_receipt_is_refused_or_the_only_encoding(data: bytes) -> None:
    try:
        receipt = decode_receipt(data)
    except FormatError:
        return
    assert receipt.encode() == data


@given(st.one_of(st.binary(max_size=700), damaged(HEADER)))
@settings(max_examples=400)
def test_a_header_is_refused_or_the_only_encoding(data: bytes) -> None:
    try:
        header = decode_header(data)
    except FormatError:
        return
    assert header.encode() == data
    assert header.hash == keccak256(data)


@given(st.sampled_from([0, 1, 127, 128, 255, 256, 299]), st.data())
@settings(max_examples=300)
def test_a_damaged_proof_shows_nothing(index: int, data: st.DataObject) -> None:
    nodes = list(PROOFS[index])
    place = data.draw(st.integers(0, len(nodes) - 1))
    nodes[place] = data.draw(damaged(nodes[place]))
    if tuple(nodes) == PROOFS[index]:
        return
    with pytest.raises(FormatError):
        merkle_patricia.verify(ROOT, index, nodes)


@given(st.sampled_from([0, 1, 127, 128, 299]), st.data())
@settings(max_examples=400)
def test_nodes_that_name_each_other_rightly_are_refused_or_hold_the_value(index: int, data: st.DataObject) -> None:
    """An attacker who chooses the root can link any nodes: the walk ends with an error or a value of the last node."""
    nodes = list(PROOFS[index])
    place = data.draw(st.integers(0, len(nodes) - 1))
    old, nodes[place] = nodes[place], data.draw(damaged(nodes[place]))
    for above in range(place - 1, -1, -1):
        before, nodes[above] = nodes[above], nodes[above].replace(keccak256(old), keccak256(nodes[above + 1]))
        old = before
    try:
        value = merkle_patricia.verify(keccak256(nodes[0]), index, nodes)
    except FormatError:
        return
    assert value in nodes[-1]


@given(st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=8), st.integers(0, 300))
def test_any_nodes_under_a_root_of_their_own_are_refused(nodes: list[bytes], index: int) -> None:
    try:
        value = merkle_patricia.verify(keccak256(nodes[0]), index, nodes)
    except FormatError:
        return
    assert value in nodes[-1]


@given(damaged(HEADER), damaged(*EVIDENCE.receipt_proof), st.integers(0, 3))
@settings(max_examples=200)
def test_damaged_evidence_is_refused_with_a_typed_error(header: bytes, node: bytes, place: int) -> None:
    nodes = list(EVIDENCE.receipt_proof)
    nodes[min(place, len(nodes) - 1)] = node
    for changed in (
        EvmReceiptEvidence(EVIDENCE.protocol, header, EVIDENCE.transaction_index, tuple(nodes), 0),
        EvmReceiptEvidence(EVIDENCE.protocol, HEADER, EVIDENCE.transaction_index, (node,), 0),
    ):
        try:
            read_event(changed, HTLC_ADDRESS)
        except Layer2Error:
            continue
        assert changed.receipt_proof == EVIDENCE.receipt_proof


@given(st.one_of(st.binary(max_size=300), damaged(PROOF.to_bytes())))
@settings(max_examples=200, deadline=None)
def test_a_proof_file_is_refused_or_the_only_spelling(data: bytes) -> None:
    try:
        proof = TransferProof.from_bytes(data)
    except FormatError:
        return
    assert proof.to_bytes() == data


@dataclass(frozen=True, slots=True)
class Large:
    """Bytes that are most expensive for a decoder that copies, counts or descends repeatedly."""

    name: str
    data: bytes


_SIZE = rlp.MAX_SIZE - 16
LARGE = [
    Large("zeros", bytes(_SIZE)),
    Large("single bytes", b"\xfa" + (_SIZE).to_bytes(3, "big") + b"\x01" * _SIZE),
    Large("empty lists", b"\xfa" + (_SIZE - 9).to_bytes(3, "big") + b"\xc0" * (_SIZE - 9)),
    Large("empty strings", b"\xfa" + (_SIZE - 9).to_bytes(3, "big") + b"\x80" * (_SIZE - 9)),
    Large("lists in lists", b"\xff" + b"\x00" * 7 + b"\xc0" * _SIZE),
    Large("lists that open only", b"\xc1" * _SIZE),
    Large("long lists that open only", b"\xf8\xff" * (_SIZE // 2)),
    Large("strings that are too long", b"\xbb\xff\xff\xff\xff" * (_SIZE // 5)),
    Large("hashes", b"\xfa" + (33 * 31_000).to_bytes(3, "big") + (b"\xa0" + bytes(32)) * 31_000),
]


def typed_receipt(data: bytes) -> None:
    decode_receipt(b"\x02" + data)


def trie_node(data: bytes) -> None:
    merkle_patricia.verify(keccak256(data), 0, [data])


def trie_of_many_nodes(data: bytes) -> None:
    merkle_patricia.verify(keccak256(data), 0, [data, *[b"x"] * 100_000])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("decode", [typed_receipt, decode_header, trie_node, trie_of_many_nodes])
@pytest.mark.parametrize("large", LARGE, ids=lambda large: large.name)
def test_a_megabyte_that_is_made_to_be_slow_takes_a_moment(large: Large, decode: Callable[[bytes], object]) -> None:
    with pytest.raises(FormatError):
        decode(large.data)
