"""The link from a header to its parent, on every layer with blocks."""

from __future__ import annotations

from layer2.errors.base import FormatError
from layer2.formats import bitcoin_block, evm_header, rsk_header
from layer2.model.layers import LAYERS, Layer2ProtocolType

__all__ = ["link_of"]


def link_of(layer: Layer2ProtocolType, encoded: bytes) -> tuple[bytes, bytes]:
    """The hash of a header and that of its parent, 32 bytes each, in the order in which nodes display them.

    Args:
        encoded: as in a file of headers: RLP on an EVM layer, 80 bytes on Bitcoin.

    Raises:
        FormatError: it is not a header of that layer.
    """
    facts = LAYERS.get(layer)
    if facts is not None and facts.kind == "bitcoin":
        header = bitcoin_block.decode_header(encoded)
        return header.hash[::-1], header.parent[::-1]
    if facts is None or facts.kind != "evm":
        raise FormatError(f"{layer.value} has no blocks")
    if facts.receipts == "rootstock":
        try:
            mined = rsk_header.decode_header(encoded)
        except FormatError:
            # A local network can have another node. Its header, too, is one only if it has the hash that is known.
            pass
        else:
            return mined.hash, mined.parent_hash
    sealed = evm_header.decode_header(encoded)
    return sealed.hash, sealed.parent_hash
