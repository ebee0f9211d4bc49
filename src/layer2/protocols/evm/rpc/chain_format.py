"""The two formats of an EVM chain's headers and receipts, and how its nodes are asked for them. Pure.

``ethereum`` is that of Ethereum and the OP stack; ``rootstock`` is that of rskj. Sources: the execution API
specification, EIP-1898 (blocks by hash); rskj d987a4c, ``RskModuleImpl``, ``BlockRefParam``, ``BlockResultDTO``,
``Web3ResultHttpResponseHandler`` (no ``Date``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from layer2.errors import FormatError
from layer2.formats import merkle_patricia, rsk_trie
from layer2.formats.evm_header import header_from_rpc
from layer2.formats.evm_hex import format_data, format_quantity, parse_data, parse_quantity
from layer2.formats.evm_receipt import EvmReceipt, receipt_from_rpc
from layer2.formats.rsk_header import decode_header
from layer2.formats.rsk_receipt import encode_rsk_receipt
from layer2.model.transactions import Finality
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.evm.rpc.node_answers import BlockRef, NodeBlock, object_of

__all__ = ["ChainFormat", "EthereumFormat", "RootstockFormat", "block_argument", "chain_format"]

_REMEMBERED_BLOCKS: Final = 64


class ChainFormat(ABC):
    """A chain's headers and receipts, and the parameters of its nodes."""

    receipts_method: str
    """The method that reads receipts: of a whole block, or of one transaction."""
    is_dated: ClassVar[bool]
    """Whether every answer of a node has a ``Date`` header."""

    @property
    def has_block_receipts(self) -> bool:
        """Whether a node answers with all receipts of a block at once."""
        return self.receipts_method == "eth_getBlockReceipts"

    @abstractmethod
    def block_call(self, ref: BlockRef) -> tuple[str, tuple[object, ...]]:
        """The method and the parameters that read a block's header."""

    @abstractmethod
    def read_block(self, answer: object) -> NodeBlock:
        """Read the answer of ``block_call``; its hash is computed from its fields.

        Raises:
            FormatError: it is not a header.
        """

    @abstractmethod
    def state_argument(self, ref: BlockRef) -> str | dict[str, object]:
        """The block as a parameter of a call that reads its state."""

    @abstractmethod
    def read_receipt(self, fields: Mapping[str, object]) -> tuple[EvmReceipt, bytes]:
        """A receipt from JSON, and its bytes in the trie of its block's receipts.

        Raises:
            FormatError: a field is missing or malformed.
        """

    @abstractmethod
    def receipts_root(self, values: Sequence[bytes]) -> bytes:
        """The root over all receipts of a block, in order.

        Raises:
            FormatError: no block can have them.
        """


class EthereumFormat(ChainFormat):
    """Ethereum and the OP stack. It remembers the headers that it read last: one for each node."""

    receipts_method = "eth_getBlockReceipts"
    is_dated = True

    def __init__(self) -> None:
        self._blocks: BoundedDict[str, NodeBlock] = BoundedDict(_REMEMBERED_BLOCKS)

    def block_call(self, ref: BlockRef) -> tuple[str, tuple[object, ...]]:
        """``eth_getBlockByHash`` or ``eth_getBlockByNumber``, without transactions."""
        if isinstance(ref, bytes):
            return "eth_getBlockByHash", (format_data(ref), False)
        return "eth_getBlockByNumber", (_name(ref), False)

    def read_block(self, answer: object) -> NodeBlock:
        """The header in JSON, whose hash must be the one that the answer states."""
        fields = object_of(answer, "a block")
        name = fields.get("hash")
        # A hash commits to every field of its header, so a known header is not checked again.
        if isinstance(name, str) and name in self._blocks:
            return self._blocks[name]
        header = header_from_rpc(fields)
        block = NodeBlock(header, header.hash)
        self._blocks[format_data(block.hash)] = block
        return block

    def state_argument(self, ref: BlockRef) -> str | dict[str, object]:
        """EIP-1898."""
        return block_argument(ref)

    def read_receipt(self, fields: Mapping[str, object]) -> tuple[EvmReceipt, bytes]:
        """Any type of receipt."""
        receipt = receipt_from_rpc(fields)
        return receipt, receipt.encode()

    def receipts_root(self, values: Sequence[bytes]) -> bytes:
        """The root of a Merkle Patricia trie."""
        return merkle_patricia.trie_root(values)


class RootstockFormat(ChainFormat):
    """rskj. Headers are read as bytes: its JSON lacks fields to which the hash commits."""

    receipts_method = "eth_getTransactionReceipt"
    is_dated = False

    def block_call(self, ref: BlockRef) -> tuple[str, tuple[object, ...]]:
        """``rsk_getRawBlockHeaderByHash`` or ``rsk_getRawBlockHeaderByNumber``."""
        if isinstance(ref, bytes):
            return "rsk_getRawBlockHeaderByHash", (format_data(ref),)
        return "rsk_getRawBlockHeaderByNumber", (_name(ref),)

    def read_block(self, answer: object) -> NodeBlock:
        """The header in its short form."""
        header = decode_header(parse_data(answer, "a header"))
        return NodeBlock(header, header.hash)

    def state_argument(self, ref: BlockRef) -> str | dict[str, object]:
        """EIP-1898, except that rskj reads ``requireCanonical`` as a string."""
        if isinstance(ref, bytes):
            return {"blockHash": format_data(ref), "requireCanonical": "true"}
        return _name(ref)

    def read_receipt(self, fields: Mapping[str, object]) -> tuple[EvmReceipt, bytes]:
        """A legacy receipt: there are no others."""
        receipt = receipt_from_rpc(fields)
        return receipt, encode_rsk_receipt(receipt, parse_quantity(fields.get("gasUsed"), "gasUsed", bits=64))

    def receipts_root(self, values: Sequence[bytes]) -> bytes:
        """The root of a binary trie."""
        return rsk_trie.trie_root(values)


def chain_format(name: str) -> ChainFormat:
    """The format that ``LayerFacts.receipts`` names.

    Raises:
        FormatError: there is no such format.
    """
    formats: dict[str, type[ChainFormat]] = {"ethereum": EthereumFormat, "rootstock": RootstockFormat}
    if name not in formats:
        raise FormatError(f"the format of receipts {name!r} is unknown")
    return formats[name]()


def block_argument(ref: BlockRef) -> str | dict[str, object]:
    """The block as a parameter of a call that reads its state (EIP-1898)."""
    if isinstance(ref, bytes):
        return {"blockHash": format_data(ref), "requireCanonical": True}
    return _name(ref)


def _name(ref: Finality | int) -> str:
    return ref.value if isinstance(ref, Finality) else format_quantity(ref)
