"""The Merkle Patricia trie of a block's receipts or transactions: root, proof and strict verification.

The keys are ``rlp(index)``, of which none is a prefix of another, so a branch never holds a value. Other
tries (accounts, storage) have other keys and are not served here.

Source: Ethereum Yellow Paper, appendix D.
"""

from __future__ import annotations

from collections.abc import Sequence

from layer2.errors import FormatError
from layer2.formats import rlp
from layer2.formats.keccak import keccak256
from layer2.formats.rlp import RlpItem

__all__ = ["EMPTY_ROOT", "prove", "trie_root", "verify"]

EMPTY_ROOT = keccak256(rlp.encode(b""))
"""The root of a trie without entries."""

_HASH_SIZE = 32
_LARGEST_INDEX = (1 << 32) - 1
_Entry = tuple[bytes, bytes]
"""A key, one nibble a byte, and its value."""


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
    return keccak256(rlp.encode(_node(_entries(values), 0, None, [])))


def prove(values: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Collect the nodes that lead from the root to one value.

    Args:
        values: all values of the block in order.
        index: which of them to prove.

    Returns:
        Encoded nodes, the root first. Nodes under 32 bytes are part of the node above them.

    Raises:
        FormatError: a value is empty, or there is no value at ``index``.
    """
    if not 0 <= index < len(values):
        raise FormatError(f"trie: no value at index {index} of {len(values)}")
    path: list[bytes] = []
    root = rlp.encode(_node(_entries(values), 0, _key(index), path))
    return (root, *reversed(path))


def verify(root: bytes, index: int, nodes: Sequence[bytes]) -> bytes:
    """Follow the nodes of a proof from a root to the value at an index.

    Args:
        root: 32 bytes, a header's receiptsRoot or transactionsRoot.
        index: the place in the block.
        nodes: what ``prove`` returned: the root first, each named by the one before.

    Returns:
        The value that stands at ``index`` under ``root``.

    Raises:
        FormatError: a node is missing, superfluous, not the one named, or not as a trie of indices has it; or
            the trie has another entry, or none, at this place.

    It does not show whose root it is: the header that carries it is to be checked apart.
    """
    if not 0 <= index <= _LARGEST_INDEX:
        raise FormatError(f"trie: index {index} is out of range")
    if len(root) != _HASH_SIZE:
        raise FormatError(f"trie: a root of {len(root)} bytes, expected {_HASH_SIZE}")
    rest = _key(index)
    unread = list(reversed(nodes))
    node = _named(root, unread, smallest=1)
    after_extension = False
    while True:
        if len(node) == 17:
            reference, rest = _child(node, rest), rest[1:]
            after_extension = False
        elif len(node) == 2 and not after_extension:
            is_leaf, nibbles = _unpacked(node[0])
            if is_leaf:
                return _leaf_value(node[1], nibbles == rest, unread)
            if not nibbles or rest[: len(nibbles)] != nibbles:
                raise FormatError("trie: an extension leads elsewhere")
            reference, rest = node[1], rest[len(nibbles) :]
            after_extension = True
        else:
            raise FormatError("trie: a node that is neither branch, nor extension, nor leaf at this place")
        if isinstance(reference, list):
            _check_embedded(reference)
            node = reference
        else:
            node = _named(reference, unread, smallest=_HASH_SIZE)


def _key(index: int) -> bytes:
    return _nibbles(rlp.encode(rlp.encode_int(index)))


def _nibbles(data: bytes) -> bytes:
    return bytes([nibble for byte in data for nibble in (byte >> 4, byte & 0x0F)])


def _entries(values: Sequence[bytes]) -> list[_Entry]:
    if not all(values):
        raise FormatError("trie: an empty value has no place in a trie")
    return sorted([(_key(index), value) for index, value in enumerate(values)])


def _node(entries: list[_Entry], depth: int, target: bytes | None, path: list[bytes]) -> RlpItem:
    """The node over sorted entries that agree in their first ``depth`` nibbles.

    Nodes below it that stand on their own and lead to ``target`` are appended to ``path``, the deepest first.
    """
    first, value = entries[0]
    if len(entries) == 1:
        return [_packed(first[depth:], is_leaf=True), value]
    shared = _shared(first, entries[-1][0], depth)
    if shared > depth:
        branch = _node(entries, shared, target, path)
        return [_packed(first[depth:shared], is_leaf=False), _reference(branch, first[:shared], target, path)]
    children: list[RlpItem] = [b""] * 17
    for nibble in range(16):
        below = [entry for entry in entries if entry[0][depth] == nibble]
        if below:
            child = _node(below, depth + 1, target, path)
            children[nibble] = _reference(child, below[0][0][: depth + 1], target, path)
    return children


def _reference(node: RlpItem, prefix: bytes, target: bytes | None, path: list[bytes]) -> RlpItem:
    """How the node above names this one: by its hash, or where it is small by itself."""
    encoded = rlp.encode(node)
    if len(encoded) < _HASH_SIZE:
        return node
    if target is not None and target.startswith(prefix):
        path.append(encoded)
    return keccak256(encoded)


def _shared(first: bytes, last: bytes, start: int) -> int:
    """Where two keys that agree up to ``start`` first differ. Neither is a prefix of the other."""
    place = start
    while first[place] == last[place]:
        place += 1
    return place


def _packed(nibbles: bytes, *, is_leaf: bool) -> bytes:
    """The hex-prefix encoding of a part of a key."""
    flag = 2 if is_leaf else 0
    whole = bytes((flag + 1,)) + nibbles if len(nibbles) % 2 else bytes((flag, 0)) + nibbles
    return bytes([high << 4 | low for high, low in zip(whole[::2], whole[1::2], strict=True)])


def _unpacked(item: RlpItem) -> tuple[bool, bytes]:
    """Whether a node of two parts is a leaf, and the part of the key that it holds."""
    if not isinstance(item, bytes) or not item:
        raise FormatError("trie: a node without a part of the key")
    nibbles = _nibbles(item)
    flag = nibbles[0]
    if flag > 3 or (flag % 2 == 0 and nibbles[1]):
        raise FormatError("trie: a part of the key that is not in hex-prefix encoding")
    return flag >= 2, nibbles[2 - flag % 2 :]


def _named(reference: bytes, unread: list[bytes], *, smallest: int) -> list[RlpItem]:
    """The next node of the proof, which has to be the one that the reference names."""
    if not unread:
        raise FormatError("trie: the proof ends before the value")
    encoded = unread.pop()
    if len(encoded) < smallest:
        raise FormatError("trie: a node under 32 bytes belongs into the one above it")
    if keccak256(encoded) != reference:
        raise FormatError("trie: a node of the proof is not the one that is named before it")
    node = rlp.decode(encoded)
    if not isinstance(node, list):
        raise FormatError("trie: a node that is no list")
    return node


def _child(branch: list[RlpItem], rest: bytes) -> RlpItem:
    """What a branch names at the next nibble of the key."""
    *children, value = branch
    if value != b"" or not rest:
        raise FormatError("trie: a branch with a value, which no index leads to")
    if sum(child != b"" for child in children) < 2:
        raise FormatError("trie: a branch that does not branch")
    for child in children:
        if isinstance(child, list):
            _check_embedded(child)
        elif len(child) not in {0, _HASH_SIZE}:
            raise FormatError("trie: a branch that names a node by something other than its hash")
    reference = children[rest[0]]
    if reference == b"":
        raise FormatError("trie: there is no value at this index")
    return reference


def _check_embedded(node: list[RlpItem]) -> None:
    if len(rlp.encode(node)) >= _HASH_SIZE:
        raise FormatError("trie: a node of 32 bytes or more is named by its hash")


def _leaf_value(value: RlpItem, fits: bool, unread: list[bytes]) -> bytes:
    if not fits:
        raise FormatError("trie: another index stands at this place")
    if unread:
        raise FormatError("trie: the proof has superfluous nodes")
    if not isinstance(value, bytes) or not value:
        raise FormatError("trie: a leaf without a value")
    return value
