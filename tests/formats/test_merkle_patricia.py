"""Tries of receipts, accounts and storage. Oracle: py-trie's HexaryTrie."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import pytest
import rlp as rlp_oracle  # type: ignore[import-untyped]  # a test oracle without types
from hypothesis import given, settings
from hypothesis import strategies as st
from trie.hexary import HexaryTrie

from layer2.errors import FormatError
from layer2.formats import rlp
from layer2.formats.keccak import keccak256
from layer2.formats.merkle_patricia import (
    EMPTY_ROOT,
    LONGEST_INNER_NODE,
    prove,
    prove_all,
    trie_root,
    verify,
    verify_key,
)
from layer2.formats.rlp import RlpItem

BLOCK_SIZES = [1, 2, 3, 16, 17, 127, 128, 129, 200, 300]


@lru_cache
def receipts(count: int) -> tuple[bytes, ...]:
    """Values of 40 to 295 bytes, like receipts, the same in every run."""
    return tuple(
        [b"\x02" + hashlib.shake_256(index.to_bytes(4, "big")).digest(39 + index % 256) for index in range(count)]
    )


def oracle_trie(values: tuple[bytes, ...]) -> HexaryTrie:
    trie = HexaryTrie({})
    for index, value in enumerate(values):
        trie[rlp_oracle.encode(index)] = value
    return trie


def test_the_root_without_entries_is_the_one_that_ethereum_names() -> None:
    assert EMPTY_ROOT.hex() == "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
    assert trie_root([]) == EMPTY_ROOT


@pytest.mark.parametrize("count", BLOCK_SIZES)
def test_roots_and_proofs_agree_with_the_oracle(count: int) -> None:
    values = receipts(count)
    trie = oracle_trie(values)
    root = trie_root(values)
    assert root == trie.root_hash
    for index in sorted({0, 1, 15, 16, 126, 127, 128, 129, count // 2, count - 1}):
        if index >= count:
            continue
        nodes = prove(values, index)
        expected = trie.get_proof(rlp_oracle.encode(index))  # type: ignore[no-untyped-call]  # an oracle's
        assert list(nodes) == [rlp_oracle.encode(node) for node in expected]
        assert verify(root, index, nodes) == values[index]


@pytest.mark.parametrize("count", [*BLOCK_SIZES, 1000])
def test_all_proofs_of_a_block_are_those_of_each_value(count: int) -> None:
    values = receipts(count)
    root = trie_root(values)
    proofs = prove_all(values)
    assert len(proofs) == count
    for index, nodes in enumerate(proofs):
        assert keccak256(nodes[0]) == root
        assert verify(root, index, nodes) == values[index]
    assert proofs[count // 2] == prove(values, count // 2)


def test_equal_values_have_proofs_of_their_own() -> None:
    for value in (b"x", b"\x02" + bytes(60)):
        values = [value] * 200
        root = trie_root(values)
        assert root == oracle_trie(tuple(values)).root_hash
        for index, nodes in enumerate(prove_all(values)):
            assert verify(root, index, nodes) == value


def test_a_block_without_values_has_no_proofs() -> None:
    assert prove_all([]) == []


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=40), st.data())
@settings(max_examples=60)
def test_small_values_that_make_embedded_nodes_are_proved(values: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(values) - 1))
    trie = oracle_trie(tuple(values))
    root = trie_root(values)
    assert root == trie.root_hash
    nodes = prove(values, index)
    assert verify(root, index, nodes) == values[index]
    assert all(len(node) >= 32 for node in nodes[1:])


def test_a_proof_through_embedded_nodes_has_no_node_of_their_own() -> None:
    values = [bytes((number + 1,)) for number in range(20)]
    nodes = prove(values, 17)
    assert verify(trie_root(values), 17, nodes) == values[17]
    # The leaf of 17 is shorter than 32 bytes and embedded in its parent branch.
    assert len(nodes) < len(prove(receipts(20), 17))


@pytest.mark.parametrize("count", [1, 2, 128, 200])
def test_no_proof_shows_another_index_or_holds_under_another_root(count: int) -> None:
    values = receipts(count)
    root = trie_root(values)
    for index in {0, count // 2, count - 1}:
        nodes = prove(values, index)
        for other in {index + 1, abs(index - 1), index + 128, index + 256} - {index}:
            with pytest.raises(FormatError):
                verify(root, other, nodes)
        with pytest.raises(FormatError, match="does not match its parent"):
            verify(trie_root(receipts(count + 1)), index, nodes)


@pytest.mark.parametrize("count", [1, 2, 128, 200])
def test_missing_superfluous_repeated_and_exchanged_nodes_are_refused(count: int) -> None:
    values = receipts(count)
    root = trie_root(values)
    nodes = prove(values, count - 1)
    verify(root, count - 1, nodes)
    for place in range(len(nodes)):
        with pytest.raises(FormatError):
            verify(root, count - 1, nodes[:place] + nodes[place + 1 :])
        with pytest.raises(FormatError):
            verify(root, count - 1, (*nodes[: place + 1], *nodes[place:]))
    for extra in (nodes[0], nodes[-1], b"", b"\x80", b"\xc0"):
        with pytest.raises(FormatError, match="superfluous"):
            verify(root, count - 1, (*nodes, extra))
    if len(nodes) > 1:
        with pytest.raises(FormatError):
            verify(root, count - 1, nodes[::-1])


@pytest.mark.parametrize("count", [1, 129])
def test_every_flipped_bit_truncation_and_appended_byte_is_refused(count: int) -> None:
    values = receipts(count)
    root = trie_root(values)
    nodes = prove(values, count - 1)
    for place, node in enumerate(nodes):
        damaged = [node[:-1], node + b"\x00", node[1:], b""]
        for bit in range(8 * len(node)):
            flipped = bytearray(node)
            flipped[bit // 8] ^= 1 << bit % 8
            damaged.append(bytes(flipped))
        for wrong in damaged:
            with pytest.raises(FormatError):
                verify(root, count - 1, (*nodes[:place], wrong, *nodes[place + 1 :]))


def chain(*nodes: list[RlpItem]) -> tuple[bytes, tuple[bytes, ...]]:
    """Link nodes from the root down; the text ``next`` in a node is replaced by the next node's hash."""
    below = b""
    encoded: list[bytes] = []
    for node in reversed(nodes):
        encoded.insert(0, rlp.encode([below if part == b"next" else part for part in node]))
        below = keccak256(encoded[0])
    return below, tuple(encoded)


def branch(**children: RlpItem) -> list[RlpItem]:
    """A branch with children named ``n0`` to ``n15`` and ``value``."""
    return [children.get(f"n{nibble}", b"") for nibble in range(16)] + [children.get("value", b"")]


LONG = b"\x07" * 40
OTHER = b"\x05" * 32
CRAFTED: list[tuple[str, list[list[RlpItem]], str]] = [
    # The key of index 0 is the nibbles 8 and 0. Without the error, each list below would lead to it.
    ("a value in a branch", [branch(n8=b"next", n0=OTHER, value=b"x"), [b"\x30", LONG]], "with a value"),
    ("a branch with one child", [branch(n8=b"next"), [b"\x30", LONG]], "fewer than two children"),
    ("an empty child", [branch(n7=OTHER, n0=OTHER)], "no value at this key"),
    ("a short reference", [branch(n8=b"\x01" * 31, n0=OTHER)], "other than its hash"),
    ("a short reference beside", [branch(n8=b"next", n0=b"\x01" * 31), [b"\x30", LONG]], "other than its hash"),
    ("an embedded node too long", [branch(n8=[b"\x30", LONG], n0=OTHER)], "32 bytes or more"),
    ("one beside too long", [branch(n8=b"next", n0=[b"\x30", LONG]), [b"\x30", LONG]], "32 bytes or more"),
    ("an empty list as the child", [branch(n8=[], n0=OTHER)], "embedded node that is neither branch"),
    ("an empty list beside", [branch(n8=b"next", n0=[]), [b"\x30", LONG]], "embedded node that is neither branch"),
    ("three parts beside", [branch(n8=b"next", n0=[b"\x30", b"x", b"y"]), [b"\x30", LONG]], "embedded node that is"),
    ("a small node by hash", [branch(n8=b"next", n0=OTHER), [b"\x30", b"x"]], "shorter than 32 bytes"),
    (
        "an empty extension",
        [[b"\x00", b"next"], branch(n8=b"next", n0=OTHER), [b"\x30", LONG]],
        "does not match the key",
    ),
    ("an extension to elsewhere", [[b"\x17", b"next"], branch(n0=OTHER, n1=OTHER)], "does not match the key"),
    ("an extension past the key", [[b"\x00\x80\x00", b"next"], branch(n0=OTHER, n1=OTHER)], "does not match the key"),
    ("an extension to a leaf", [[b"\x18", b"next"], [b"\x30", LONG]], "at this place"),
    ("an extension to an extension", [[b"\x18", b"next"], [b"\x10", b"next"], branch(n0=OTHER, n1=OTHER)], "place"),
    ("a branch after the key", [[b"\x00\x80", b"next"], branch(n0=OTHER, n1=OTHER)], "with a value"),
    ("a leaf of another key", [[b"\x20\x81", LONG]], "another key"),
    ("a leaf of a longer key", [[b"\x20\x80\x00", LONG]], "another key"),
    ("a leaf of a shorter key", [[b"\x38", LONG]], "another key"),
    ("a leaf without a value", [[b"\x20\x80", b""]], "without a value"),
    ("a list as the value", [[b"\x20\x80", [LONG]]], "without a value"),
    ("a hex prefix of 4", [[b"\x40\x80", LONG]], "hex-prefix"),
    ("padding that is not zero", [[b"\x21\x80", LONG]], "hex-prefix"),
    ("no part of the key", [[b"", LONG]], "part of the key"),
    ("a list as part of the key", [[[b"\x20\x80"], LONG]], "part of the key"),
    ("three parts", [[b"\x20\x80", LONG, LONG]], "neither branch"),
    ("no parts", [[]], "neither branch"),
]


@pytest.mark.parametrize(("nodes", "reason"), [pytest.param(*case[1:], id=case[0]) for case in CRAFTED])
def test_linked_nodes_that_no_trie_of_indices_has_are_refused(nodes: list[list[RlpItem]], reason: str) -> None:
    root, proof = chain(*nodes)
    with pytest.raises(FormatError, match=reason):
        verify(root, 0, proof)


def test_the_crafted_nodes_are_refused_for_their_fault_alone() -> None:
    root, proof = chain([b"\x20\x80", LONG])
    assert verify(root, 0, proof) == LONG
    root, proof = chain(branch(n8=b"next", n0=OTHER), [b"\x30", LONG])
    assert verify(root, 0, proof) == LONG
    root, proof = chain([b"\x18", b"next"], branch(n0=b"next", n1=OTHER), [b"\x20", LONG])
    assert verify(root, 0, proof) == LONG
    root, proof = chain(branch(n8=[b"\x30", b"small"], n0=OTHER))
    assert verify(root, 0, proof) == b"small"


def test_a_root_node_that_is_not_a_list_is_refused() -> None:
    with pytest.raises(FormatError, match="is not a list"):
        verify(EMPTY_ROOT, 0, [rlp.encode(b"")])


def test_values_and_places_that_cannot_be_are_refused() -> None:
    values = receipts(2)
    root = trie_root(values)
    for index in (-1, 2):
        with pytest.raises(FormatError):
            prove(values, index)
    for index in (-1, 1 << 32):
        with pytest.raises(FormatError):
            verify(root, index, prove(values, 0))
    for wrong in (b"", root[1:], root + b"\x00"):
        with pytest.raises(FormatError):
            verify(wrong, 0, prove(values, 0))
    with pytest.raises(FormatError):
        verify(root, 0, ())
    with pytest.raises(FormatError, match="empty value"):
        trie_root([b"x", b""])


def path(trie: HexaryTrie, key: bytes) -> tuple[bytes, ...]:
    """The oracle's nodes on the way to a key; a short node is part of the one above it."""
    first, *rest = [rlp_oracle.encode(node) for node in trie.get_proof(key)]  # type: ignore[no-untyped-call]  # an oracle's
    return (first, *(node for node in rest if len(node) >= 32))


@given(
    st.integers(2, 32).flatmap(lambda size: st.sets(st.binary(min_size=size, max_size=size), min_size=2, max_size=60)),
    st.binary(min_size=1, max_size=40),
)
@settings(max_examples=100)
def test_a_value_at_a_key_of_any_fixed_length_is_proved_and_its_absence_is_not(keys: set[bytes], value: bytes) -> None:
    absent, *present = sorted(keys)
    trie = HexaryTrie({})
    for key in present:
        trie[key] = value
    for key in present:
        nodes = path(trie, key)
        assert verify_key(trie.root_hash, key, nodes) == value
        assert max(map(len, nodes[:-1]), default=0) <= LONGEST_INNER_NODE
        for other in (absent, key[:-1], key + b"\x00"):
            with pytest.raises(FormatError):
                verify_key(trie.root_hash, other, nodes)
    with pytest.raises(FormatError):
        verify_key(trie.root_hash, absent, path(trie, absent))


def test_a_key_has_one_path_whether_it_is_given_as_an_index_or_as_bytes() -> None:
    values = receipts(200)
    root = trie_root(values)
    for index in (0, 1, 127, 128, 199):
        assert verify_key(root, rlp_oracle.encode(index), prove(values, index)) == values[index]


def test_a_full_branch_is_the_longest_node_that_is_not_a_leaf() -> None:
    assert len(rlp_oracle.encode([bytes(32)] * 16 + [b""])) == LONGEST_INNER_NODE
    trie = HexaryTrie({})
    for number in range(2_000):
        trie[keccak256(number.to_bytes(2, "big"))] = b"\x02"
    assert len(path(trie, keccak256(bytes(2)))[0]) == LONGEST_INNER_NODE
