"""Rootstock's trie of receipts. Vectors: proofs of receipts that RSK's powHSM signs for, and blocks of the mainnet."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.rsk_vectors import vectors
from layer2.errors import FormatError
from layer2.formats import rlp
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_header import decode_full_header
from layer2.formats.rsk_trie import EMPTY_ROOT, prove, trie_root, verify

Proof = tuple[bytes, int, tuple[bytes, ...], bytes]


def golden() -> list[Proof]:
    proofs: list[Proof] = []
    for vector in vectors()["receipt_proofs"]:
        nodes, index = vector["nodes"], vector["index"]
        assert isinstance(nodes, list)
        assert isinstance(index, int)
        root, receipt = bytes.fromhex(str(vector["root"])), bytes.fromhex(str(vector["receipt"]))
        proofs.append((root, index, tuple([bytes.fromhex(node) for node in nodes]), receipt))
    return proofs


@pytest.mark.parametrize("proof", golden())
def test_the_golden_proofs_are_valid_at_their_index_only(proof: Proof) -> None:
    root, index, nodes, receipt = proof
    verify(root, index, nodes, receipt)
    for other in range(300):
        if other != index:
            with pytest.raises(FormatError):
                verify(root, other, nodes, receipt)


def test_a_block_with_only_the_payment_of_miners_has_the_root_of_a_mainnet_block() -> None:
    """Such a receipt is always the same: block 1,900,456 of the mainnet has its root, and block 1 of a regtest."""
    receipt = rlp.encode([b"\x01", b"", bytes(256), [], b"", b"\x01"])
    header, _ = decode_full_header(bytes.fromhex(str(vectors()["full_headers"][1]["encoded"])))
    assert header.number == 1_900_456
    assert trie_root([receipt]) == header.receipts_root
    verify(header.receipts_root, 0, prove([receipt], 0), receipt)


def test_the_builder_writes_the_nodes_of_the_golden_leaves() -> None:
    """The leaf of each golden proof is the one that the builder writes for the receipt in a block of as many."""
    for _, index, nodes, receipt in golden():
        count = {2: 4, 4: 4}[len(nodes)] if index else 2
        values = [receipt if at == index else bytes([at]) * 100 for at in range(count)]
        built = prove(values, index)
        assert built[0] == nodes[0]
        assert len(built) == len(nodes)


@pytest.mark.parametrize("proof", golden())
def test_every_flipped_bit_of_a_proof_is_refused(proof: Proof) -> None:
    root, index, nodes, receipt = proof
    for place, node in enumerate(nodes):
        for bit in range(8 * len(node)):
            flipped = bytearray(node)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(FormatError):
                verify(root, index, [*nodes[:place], bytes(flipped), *nodes[place + 1 :]], receipt)
    for bit in range(0, 8 * len(receipt), 13):
        changed = bytearray(receipt)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            verify(root, index, nodes, bytes(changed))


@pytest.mark.parametrize("proof", golden())
def test_missing_superfluous_and_reordered_nodes_are_refused(proof: Proof) -> None:
    root, index, nodes, receipt = proof
    for wrong in (nodes[1:], nodes[:-1], nodes[::-1], (nodes[0], *nodes), (*nodes, nodes[-1]), ()):
        with pytest.raises(FormatError):
            verify(root, index, wrong, receipt)


@given(st.lists(st.binary(min_size=33, max_size=300), min_size=1, max_size=12), st.data())
@settings(max_examples=60)
def test_proofs_of_built_tries_are_valid_and_show_nothing_else(values: list[bytes], data: st.DataObject) -> None:
    root = trie_root(values)
    index = data.draw(st.integers(0, len(values) - 1))
    nodes = prove(values, index)
    verify(root, index, nodes, values[index])
    for other in {0, 1, len(values)} - {index}:
        with pytest.raises(FormatError):
            verify(root, other, nodes, values[index])


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 130, 256, 257, 300])
def test_indices_of_one_and_two_bytes_are_proved(count: int) -> None:
    values = [index.to_bytes(2, "big") * 50 for index in range(count)]
    root = trie_root(values)
    for index in {0, 1, count // 2, count - 1} & set(range(count)):
        verify(root, index, prove(values, index), values[index])


def test_an_empty_trie_has_the_root_of_an_empty_string() -> None:
    assert trie_root([]) == EMPTY_ROOT == keccak256(b"\x80")


@pytest.mark.parametrize(
    "root_node",
    [
        b"",
        bytes.fromhex("0207") + keccak256(bytes(100)),  # the format before RSKIP-107
        bytes.fromhex("700780") + keccak256(bytes(100)) + bytes.fromhex("00006400"),  # a byte too much
        bytes.fromhex("700780") + keccak256(bytes(100)) + bytes.fromhex("0000"),  # a byte too few
        bytes.fromhex("700680") + keccak256(bytes(100)) + bytes.fromhex("000064"),  # seven bits
        bytes.fromhex("700681") + keccak256(bytes(100)) + bytes.fromhex("000064"),  # a bit after the path
        bytes.fromhex("70200000000080") + keccak256(bytes(100)) + bytes.fromhex("000064"),  # a path of 33 bits
        bytes.fromhex("70ff0880") + keccak256(bytes(100)) + bytes.fromhex("000064"),  # eight bits in the long form
        bytes.fromhex("500780") + keccak256(bytes(100)),  # a short value
        bytes.fromhex("710780") + keccak256(bytes(100)) + bytes.fromhex("000064"),  # an embedded child that is absent
        bytes.fromhex("780780") + keccak256(bytes(100)) + keccak256(bytes(100)) + bytes.fromhex("000064"),  # one child
        bytes.fromhex("700780") + keccak256(bytes(100)) + bytes.fromhex("000020"),  # a value that is short
    ],
)
def test_nodes_in_another_form_are_refused(root_node: bytes) -> None:
    verify(trie_root([bytes(100)]), 0, prove([bytes(100)], 0), bytes(100))
    with pytest.raises(FormatError):
        verify(keccak256(root_node), 0, [root_node], bytes(100))


def test_a_short_leaf_outside_its_parent_and_an_embedded_node_with_children_are_refused() -> None:
    value = bytes(100)
    leaf, parent = prove([value, bytes([1]) * 100], 1)[0], prove([value, bytes([1]) * 100], 1)[1]
    assert parent[0] == 0b0100_1111
    first, second = parent[2 : 2 + parent[1]], parent[3 + parent[1] : -3]
    loose = bytes([0b0100_1101]) + keccak256(first) + bytes([len(second)]) + second + parent[-3:]
    with pytest.raises(FormatError, match="embedded"):
        verify(keccak256(loose), 1, [leaf, loose], bytes([1]) * 100)
    inner = bytes([0b0100_1111, 1, 0x40, 1, 0x40, 0])
    outer = bytes([0b0100_1111, len(inner)]) + inner + bytes([len(inner)]) + inner + b"\x00"
    with pytest.raises(FormatError, match="has children"):
        verify(keccak256(outer), 1, [inner, outer], value)


def test_bits_and_flags_that_change_nothing_else_are_refused() -> None:
    """Otherwise, one trie would have several roots."""
    values = [bytes(100), bytes([1]) * 100]
    leaf, parent = prove(values, 0)
    for changed_leaf, flags in (
        (leaf[:2] + b"\x01" + leaf[3:], parent[0]),  # a bit after the path
        (leaf[:-1] + b"\x65", parent[0]),  # another length of the value
        (leaf, parent[0] | 0b0010_0000),  # a value at a node with children
        (leaf, parent[0] & 0b0011_1111),  # another version
    ):
        changed = bytes([flags]) + parent[1:].replace(leaf, changed_leaf)
        with pytest.raises(FormatError):
            verify(keccak256(changed), 0, [changed_leaf, changed], values[0])
    verify(keccak256(parent), 0, [leaf, parent], values[0])


@pytest.mark.parametrize("index", [-1, 1 << 16])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    with pytest.raises(FormatError):
        verify(bytes(32), index, [], b"")
    with pytest.raises(FormatError):
        prove([bytes(100)], index)


@pytest.mark.parametrize("value", [b"", bytes(32), bytes(1 << 24)])
def test_values_that_no_receipt_has_are_not_built(value: bytes) -> None:
    with pytest.raises(FormatError):
        trie_root([value])
    with pytest.raises(FormatError, match="root"):
        verify(bytes(31), 0, [], value)
