"""Merkle Patricia tries: strict verification of proofs, and the root and proofs of a block's receipts or transactions.

In these tries no key is a prefix of another, so a branch never holds a value: the keys are ``rlp(index)`` in a block's
tries, and hashes of 32 bytes in the tries of accounts and of a contract's storage.

Source: Ethereum Yellow Paper, appendix D.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from layer2.errors.base import FormatError
from layer2.formats import rlp
from layer2.formats.keccak import keccak256
from layer2.formats.rlp import RlpItem

__all__ = ["EMPTY_ROOT", "LONGEST_INNER_NODE", "prove", "prove_all", "trie_root", "verify", "verify_key"]

EMPTY_ROOT = keccak256(rlp.encode(b""))
"""The root of a trie without entries."""

LONGEST_INNER_NODE = 532
"""Bytes of a branch that refers to 16 children by hash. Only a leaf with a long value is longer."""

_HASH_SIZE = 32
_LARGEST_INDEX = (1 << 32) - 1
_Entry = tuple[str, bytes]
"""A key, one hexadecimal digit for each nibble, and its value."""
_Path = tuple[bytes, ...]
"""Encoded nodes on the way to a value, from the top down."""

# Nearly every node of a proof is a branch that refers to all its children by hash, which one pattern matches. Such a
# branch has at least two children, and their number determines its length and its prefix.
_BRANCH_OF_HASHES = re.compile(rb"(\x80|\xa0.{32})" * 16 + rb"\x80", re.DOTALL)
_BRANCH_PREFIXES = {
    len(prefix) + size: prefix
    for size in [17 + _HASH_SIZE * children for children in range(2, 17)]
    for prefix in [rlp.encode([b"\x00" for _ in range(size)])[:-size]]
}
"""The prefix of such a branch's list, by the length of the branch."""


def trie_root(values: Sequence[bytes]) -> bytes:
    """Compute the root over values by their index.

    Args:
        values: the encoded receipts or transactions of a block in order, none empty.

    Returns:
        32 bytes, as a header's receiptsRoot or transactionsRoot.

    Raises:
        FormatError: a value is empty.
    """
    if not values:
        return EMPTY_ROOT
    return keccak256(rlp.encode(_node(_entries(values), 0, None)))


def prove(values: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Collect the nodes that lead from the root to one value.

    Args:
        values: all values of the block in order.
        index: which of them to prove.

    Returns:
        Encoded nodes, the root first. Nodes shorter than 32 bytes are part of their parent.

    Raises:
        FormatError: a value is empty, or there is no value at ``index``.
    """
    if not 0 <= index < len(values):
        raise FormatError(f"trie: no value at index {index} of {len(values)}")
    return prove_all(values)[index]


def prove_all(values: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """Prove every value of a block; the trie is built once.

    Args:
        values: all values of the block in order.

    Returns:
        The result of ``prove`` for each index. The keccak256 of each proof's first node is the root.

    Raises:
        FormatError: a value is empty.
    """
    if not values:
        return []
    paths: dict[str, _Path] = {}
    root = rlp.encode(_node(_entries(values), 0, paths))
    return [(root, *paths[_key(index)]) for index in range(len(values))]


def verify(root: bytes, index: int, nodes: Sequence[bytes]) -> bytes:
    """Follow the nodes of a proof from a root to the value at an index.

    Args:
        root: 32 bytes, a header's receiptsRoot or transactionsRoot.
        index: the place in the block.
        nodes: the result of ``prove``: the root first, each followed by the child that it refers to.

    Returns:
        The value at ``index`` under ``root``.

    Raises:
        FormatError: as ``verify_key``, or the index is out of range.

    It does not show whose root it is: check the header that contains it separately.
    """
    if not 0 <= index <= _LARGEST_INDEX:
        raise FormatError(f"trie: index {index} is out of range")
    return _follow(root, _key(index), nodes)


def verify_key(root: bytes, key: bytes, nodes: Sequence[bytes]) -> bytes:
    """Follow the nodes of a proof from a root to the value at a key.

    Args:
        root: 32 bytes, such as a header's stateRoot, or an account's storage root.
        key: the bytes of the key, such as the keccak256 of an address or of a slot. All keys of the trie are as long.
        nodes: the root first, each followed by the child that it refers to.

    Returns:
        The value at ``key`` under ``root``.

    Raises:
        FormatError: a node is missing, superfluous, does not match its parent's reference, or cannot be part of a trie
            without values in branches; or the trie has another entry, or none, at this key.

    It does not show whose root it is: check what contains it separately. It never shows that an entry is absent.
    """
    return _follow(root, key.hex(), nodes)


def _follow(root: bytes, rest: str, nodes: Sequence[bytes]) -> bytes:
    """The value under ``root`` at the key with these nibbles; raises as ``verify_key``."""
    if len(root) != _HASH_SIZE:
        raise FormatError(f"trie: a root of {len(root)} bytes, expected {_HASH_SIZE}")
    reference: RlpItem = root
    after_extension = False
    unread = list(reversed(nodes))
    while True:
        if isinstance(reference, list):
            _check_embedded(reference)
            node = reference
        else:
            encoded = _named(reference, unread, smallest=1 if reference is root else _HASH_SIZE)
            prefix = _BRANCH_PREFIXES.get(len(encoded))
            if prefix is not None and encoded.startswith(prefix):
                children = _BRANCH_OF_HASHES.fullmatch(encoded, len(prefix))
                if children is not None and rest:
                    reference, rest = _present(children[int(rest[0], 16) + 1][1:]), rest[1:]
                    after_extension = False
                    continue
            node = _decoded(encoded)
        if len(node) == 17:
            reference, rest = _child(node, rest), rest[1:]
            after_extension = False
        elif len(node) == 2 and not after_extension:
            is_leaf, part = _unpacked(node[0])
            if is_leaf:
                return _leaf_value(node[1], part == rest, unread)
            if not part or not rest.startswith(part):
                raise FormatError("trie: an extension does not match the key")
            reference, rest = node[1], rest[len(part) :]
            after_extension = True
        else:
            raise FormatError("trie: a node that is neither branch, nor extension, nor leaf at this place")


def _key(index: int) -> str:
    return rlp.encode(rlp.encode_int(index)).hex()


def _entries(values: Sequence[bytes]) -> list[_Entry]:
    if not all(values):
        raise FormatError("trie: an empty value has no place in a trie")
    return sorted([(_key(index), value) for index, value in enumerate(values)])


def _node(entries: list[_Entry], depth: int, paths: dict[str, _Path] | None) -> RlpItem:
    """The node over sorted entries that agree in their first ``depth`` nibbles.

    Args:
        paths: receives, for each key, the nodes below this one that are not embedded in their parent; or None.
    """
    first, value = entries[0]
    if len(entries) == 1:
        if paths is not None:
            paths[first] = ()
        return [_packed(first[depth:], is_leaf=True), value]
    shared = _shared(first, entries[-1][0], depth)
    if shared > depth:
        return [_packed(first[depth:shared], is_leaf=False), _reference(entries, shared, paths)]
    children: list[RlpItem] = [b""] * 17
    start = 0
    while start < len(entries):
        digit = entries[start][0][depth]
        stop = start + 1
        while stop < len(entries) and entries[stop][0][depth] == digit:
            stop += 1
        children[int(digit, 16)] = _reference(entries[start:stop], depth + 1, paths)
        start = stop
    return children


def _reference(entries: list[_Entry], depth: int, paths: dict[str, _Path] | None) -> RlpItem:
    """How the parent refers to the node over these entries: by its hash, or by the node itself if it is short."""
    node = _node(entries, depth, paths)
    encoded = rlp.encode(node)
    if len(encoded) < _HASH_SIZE:
        return node
    if paths is not None:
        for key, _ in entries:
            paths[key] = (encoded, *paths[key])
    return keccak256(encoded)


def _shared(first: str, last: str, start: int) -> int:
    """Where two keys that agree up to ``start`` first differ. Neither is a prefix of the other."""
    place = start
    while first[place] == last[place]:
        place += 1
    return place


def _packed(part: str, *, is_leaf: bool) -> bytes:
    """The hex-prefix encoding of a part of a key."""
    flag = 2 if is_leaf else 0
    return bytes.fromhex(f"{flag + 1}{part}" if len(part) % 2 else f"{flag}0{part}")


def _unpacked(item: RlpItem) -> tuple[bool, str]:
    """Whether a node of two parts is a leaf, and the part of the key that it holds."""
    if not isinstance(item, bytes) or not item:
        raise FormatError("trie: a node without a part of the key")
    text = item.hex()
    match text[0]:
        case "1" | "3":
            part = text[1:]
        case "0" | "2" if text[1] == "0":
            part = text[2:]
        case _:
            raise FormatError("trie: a part of the key that is not in hex-prefix encoding")
    return text[0] in "23", part


def _named(reference: bytes, unread: list[bytes], *, smallest: int) -> bytes:
    """The next node of the proof, which has to match the reference."""
    if not unread:
        raise FormatError("trie: the proof ends before the value")
    encoded = unread.pop()
    if len(encoded) < smallest:
        raise FormatError("trie: a node shorter than 32 bytes must be embedded in its parent")
    if keccak256(encoded) != reference:
        raise FormatError("trie: a node of the proof does not match its parent's reference")
    return encoded


def _decoded(encoded: bytes) -> list[RlpItem]:
    node = rlp.decode(encoded)
    if not isinstance(node, list):
        raise FormatError("trie: a node is not a list")
    return node


def _child(branch: list[RlpItem], rest: str) -> RlpItem:
    """A branch's reference at the next nibble of the key."""
    *children, value = branch
    if value != b"" or not rest:
        raise FormatError("trie: a branch with a value, which no key reaches")
    if sum(child != b"" for child in children) < 2:
        raise FormatError("trie: a branch with fewer than two children")
    for child in children:
        if isinstance(child, list):
            _check_embedded(child)
        elif len(child) not in {0, _HASH_SIZE}:
            raise FormatError("trie: a branch refers to a node by something other than its hash")
    return _present(children[int(rest[0], 16)])


def _present(reference: RlpItem) -> RlpItem:
    if reference == b"":
        raise FormatError("trie: there is no value at this key")
    return reference


def _check_embedded(node: list[RlpItem]) -> None:
    if len(node) not in {2, 17}:
        raise FormatError("trie: an embedded node that is neither branch, nor extension, nor leaf")
    if len(rlp.encode(node)) >= _HASH_SIZE:
        raise FormatError("trie: a node of 32 bytes or more must be referred to by its hash")


def _leaf_value(value: RlpItem, fits: bool, unread: list[bytes]) -> bytes:
    if not fits:
        raise FormatError("trie: the leaf belongs to another key")
    if unread:
        raise FormatError("trie: the proof has superfluous nodes")
    if not isinstance(value, bytes) or not value:
        raise FormatError("trie: a leaf without a value")
    return value
