"""The binary trie of a Rootstock block's receipts: root, proofs and strict verification.

The keys are ``rlp(index)``, read bit by bit. None is a prefix of another, so a node has either a value and no children,
or two children and no value. The trie of the state has other keys and is not supported.

Sources: RSKIP-107 (nodes); rskj 9 (``Trie``, ``BlockHashesHelper``) for what the RSKIP leaves open: the bits of the
flags, leaves of at most 44 bytes in their parent, and no embedded node with children.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from layer2.errors.base import FormatError
from layer2.formats import rlp
from layer2.formats.bitcoin_transaction import compact_size
from layer2.formats.byte_reader import ByteReader
from layer2.formats.keccak import keccak256

__all__ = ["EMPTY_ROOT", "prove", "trie_root", "verify"]

EMPTY_ROOT: Final = keccak256(rlp.encode(b""))
"""The root of a trie without entries."""

_HASH_SIZE: Final = 32
_LARGEST_INDEX: Final = (1 << 16) - 1
_LONGEST_EMBEDDED: Final = 44
_LONGEST_VALUE: Final = (1 << 24) - 1

_VERSION: Final = 0b0100_0000
_VERSION_MASK: Final = 0b1100_0000
_LONG_VALUE: Final = 0b0010_0000
_SHARED_PATH: Final = 0b0001_0000
_PRESENT: Final = (0b1000, 0b0100)
_EMBEDDED: Final = (0b0010, 0b0001)


@dataclass(frozen=True, slots=True)
class _Node:
    """A decoded node: an inner one with two children, or a leaf with the hash and the length of its value."""

    path: str
    """The bits that all keys below the node share."""
    children: tuple[bytes, ...] = ()
    """Left and right: a hash, or the child itself."""
    embedded: tuple[bool, ...] = ()
    value_hash: bytes = b""
    value_size: int = 0


@dataclass(frozen=True, slots=True)
class _Built:
    """An encoded node, and the bytes that its parent counts for it."""

    message: bytes
    is_leaf: bool
    size: int

    @property
    def is_embedded(self) -> bool:
        return self.is_leaf and len(self.message) <= _LONGEST_EMBEDDED


def trie_root(values: Sequence[bytes]) -> bytes:
    """Compute the root over values by their index.

    Args:
        values: the encoded receipts of a block in order, each longer than 32 bytes.

    Returns:
        32 bytes, as a header's receiptsRoot.

    Raises:
        FormatError: a value is too short or too long, or there are too many.
    """
    if not values:
        return EMPTY_ROOT
    return keccak256(_build(_entries(values), 0, None).message)


def prove(values: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Collect the nodes that lead to one value, as ``rsk_getTransactionReceiptNodesByHash`` does.

    Args:
        values: all values of the block in order.
        index: which of them to prove.

    Returns:
        Encoded nodes, the leaf first and the root last. A leaf is also within its parent.

    Raises:
        FormatError: as ``trie_root``, or there is no value at ``index``.
    """
    if not 0 <= index < len(values):
        raise FormatError(f"Rootstock trie: no value at index {index} of {len(values)}")
    nodes: list[bytes] = []
    _build(_entries(values), 0, (_key(index), nodes))
    return tuple(nodes)


def verify(root: bytes, index: int, nodes: Sequence[bytes], value: bytes) -> None:
    """Check that a value is at an index under a root.

    Args:
        root: 32 bytes, a header's receiptsRoot.
        index: the place in the block.
        nodes: the answer of ``rsk_getTransactionReceiptNodesByHash``: the leaf first, the root last.
        value: the encoded receipt. The nodes contain its hash and its length only.

    Raises:
        FormatError: a node is missing, superfluous, does not match its parent's reference, or cannot be part of a trie
            of indices; or another value, or none, is at this index.

    It does not show whose root it is: check the header that contains it separately.
    """
    if not 0 <= index <= _LARGEST_INDEX:
        raise FormatError(f"Rootstock trie: index {index} is out of range")
    if len(root) != _HASH_SIZE:
        raise FormatError(f"Rootstock trie: a root of {len(root)} bytes, expected {_HASH_SIZE}")
    rest = _key(index)
    unread = list(nodes)
    reference, is_embedded = root, False
    while True:
        if not unread:
            raise FormatError("Rootstock trie: the proof ends before the value")
        message = unread.pop()
        if (message if is_embedded else keccak256(message)) != reference:
            raise FormatError("Rootstock trie: a node of the proof does not match its parent's reference")
        node = _decoded(message)
        if not rest.startswith(node.path):
            raise FormatError("Rootstock trie: there is no value at this index")
        rest = rest[len(node.path) :]
        if not node.children:
            break
        if is_embedded:
            raise FormatError("Rootstock trie: an embedded node has children")
        if not rest:
            raise FormatError("Rootstock trie: a node with children where the key ends")
        side = int(rest[0])
        reference, is_embedded, rest = node.children[side], node.embedded[side], rest[1:]
    if rest:
        raise FormatError("Rootstock trie: the leaf belongs to another index")
    if unread:
        raise FormatError("Rootstock trie: the proof has superfluous nodes")
    if len(nodes) > 1 and not is_embedded and len(message) <= _LONGEST_EMBEDDED:
        raise FormatError("Rootstock trie: a short leaf must be embedded in its parent")
    if node.value_size != len(value) or node.value_hash != keccak256(value):
        raise FormatError("Rootstock trie: the value is not the one of the leaf")


def _key(index: int) -> str:
    """The bits of ``rlp(index)``."""
    key = rlp.encode(rlp.encode_int(index))
    return f"{int.from_bytes(key, 'big'):0{8 * len(key)}b}"


def _entries(values: Sequence[bytes]) -> list[tuple[str, bytes]]:
    if len(values) > _LARGEST_INDEX:
        raise FormatError(f"Rootstock trie: {len(values)} values, the maximum is {_LARGEST_INDEX}")
    for value in values:
        if not _HASH_SIZE < len(value) <= _LONGEST_VALUE:
            raise FormatError(f"Rootstock trie: a value of {len(value)} bytes is not supported")
    return sorted([(_key(index), value) for index, value in enumerate(values)])


def _build(entries: list[tuple[str, bytes]], depth: int, wanted: tuple[str, list[bytes]] | None) -> _Built:
    """The node over sorted entries that agree in their first ``depth`` bits.

    Args:
        wanted: a key, and the list that receives the nodes on its way from the leaf up; or None.
    """
    first, last = entries[0][0], entries[-1][0]
    if len(entries) == 1:
        value = entries[0][1]
        path = first[depth:]
        content = keccak256(value) + len(value).to_bytes(3, "big")
        message = bytes((_VERSION | _LONG_VALUE | (_SHARED_PATH if path else 0),)) + _encoded_path(path) + content
        built = _Built(message, is_leaf=True, size=len(message) + len(value))
    else:
        fork = depth
        while first[fork] == last[fork]:
            fork += 1
        path = first[depth:fork]
        flags = _VERSION | (_SHARED_PATH if path else 0)
        body, below = b"", 0
        for side, digit in enumerate("01"):
            child = _build([entry for entry in entries if entry[0][fork] == digit], fork + 1, wanted)
            flags |= _PRESENT[side] | (_EMBEDDED[side] if child.is_embedded else 0)
            body += bytes((len(child.message),)) + child.message if child.is_embedded else keccak256(child.message)
            below += child.size
        message = bytes((flags,)) + _encoded_path(path) + body + compact_size(below)
        built = _Built(message, is_leaf=False, size=len(message) + below)
    if wanted is not None and any(key == wanted[0] for key, _ in entries):
        wanted[1].append(built.message)
    return built


def _encoded_path(path: str) -> bytes:
    if not path:
        return b""
    return bytes((len(path) - 1,)) + int(path.ljust(-(-len(path) // 8) * 8, "0"), 2).to_bytes(-(-len(path) // 8), "big")


def _decoded(message: bytes) -> _Node:
    reader = ByteReader(message, "a node of the Rootstock trie")
    flags = reader.integer(1)
    if flags & _VERSION_MASK != _VERSION:
        raise FormatError("Rootstock trie: a node that is not in the format of RSKIP-107")
    path = _path(reader) if flags & _SHARED_PATH else ""
    present = [bool(flags & bit) for bit in _PRESENT]
    embedded = [bool(flags & bit) for bit in _EMBEDDED]
    if not any(present):
        if any(embedded) or not flags & _LONG_VALUE:
            raise FormatError("Rootstock trie: a leaf without the hash of a value")
        node = _Node(path, value_hash=reader.take(_HASH_SIZE), value_size=int.from_bytes(reader.take(3), "big"))
        if node.value_size <= _HASH_SIZE:
            raise FormatError("Rootstock trie: a short value must be part of its leaf")
    else:
        if not all(present) or flags & _LONG_VALUE:
            raise FormatError("Rootstock trie: a node with one child, or with children and a value")
        children = tuple([reader.take(_embedded_size(reader) if each else _HASH_SIZE) for each in embedded])
        reader.compact_size()  # The size of everything below, which serves the synchronisation of nodes.
        node = _Node(path, children, tuple(embedded))
    reader.end()
    return node


def _path(reader: ByteReader) -> str:
    # Paths of more than 32 bits have another form. They are longer than every key, so they match none in either form.
    size = reader.integer(1) + 1
    width = -(-size // 8)
    bits = f"{int.from_bytes(reader.take(width), 'big'):0{8 * width}b}"
    if "1" in bits[size:]:
        raise FormatError("Rootstock trie: bits after the end of a shared path")
    return bits[:size]


def _embedded_size(reader: ByteReader) -> int:
    size = reader.integer(1)
    if size > _LONGEST_EMBEDDED:
        raise FormatError("Rootstock trie: an embedded node of more than 44 bytes")
    return size
