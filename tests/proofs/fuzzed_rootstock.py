"""The fuzz targets of Rootstock's decoders, and their seeds: see ``fuzz.targets``."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from layer2.errors import FormatError, ProofRefused
from layer2.formats import rsk_trie
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_header import check_work, decode_full_header, encode_full_header
from layer2.formats.rsk_receipt import decode_rsk_receipt
from layer2.legs.shown import EvidencePolicy, Owed
from layer2.legs.views import Side
from layer2.terms.signing import terms_hash
from proofs import made_rootstock

_LEG: Final = made_rootstock.leg()
_TERMS: Final = made_rootstock.terms(_LEG)
_OWED: Final = Owed(Side.PAYER, _TERMS.source_amount, _TERMS.payment_hash, terms_hash(_TERMS), _TERMS.issued_at)
_ENDS: Final = [
    made_rootstock.receipts_with(made_rootstock.event_log(_LEG, _TERMS, event=event))
    for event in ("Claimed", "Refunded")
]
_LINK: Final = b"\xee" * 32
"""A placeholder for the hash of what is below a node, because a fuzzer cannot find a preimage of keccak256."""
_VALUE: Final = b"\xdd" * 40
"""The value in the trie, whose leaves contain its hash only."""


def header(data: bytes) -> bool:
    """A header in its full form. A fuzzer cannot find work for it."""
    with suppress(FormatError):
        decoded, mining = decode_full_header(data)
        assert encode_full_header(decoded, mining) == data
        with suppress(FormatError):
            check_work(decoded, mining)
        return True
    return False


def trie(data: bytes) -> bool:
    """An index (2 bytes), then nodes from the leaf up, each prefixed with its length (2 bytes)."""
    index, rest = int.from_bytes(data[:2], "big"), data[2:]
    nodes: list[bytes] = []
    while rest:
        size = int.from_bytes(rest[:2], "big")
        nodes.append(rest[2 : 2 + size].replace(_LINK, keccak256(nodes[-1] if nodes else _VALUE)))
        rest = rest[2 + size :]
    with suppress(FormatError):
        rsk_trie.verify(keccak256(nodes[-1]) if nodes else bytes(32), index, nodes, _VALUE)
        assert keccak256(_VALUE) in nodes[0]
        return True
    return False


def evidence(data: bytes) -> bool:
    """A receipt, in a block that contains it."""
    values = [*_ENDS[0]]
    values[made_rootstock.PLACE] = data
    with suppress(FormatError):
        decode_rsk_receipt(data)
        made = made_rootstock.evidence_under(values, made_rootstock.chain(values, 0))
        with suppress(ProofRefused):
            _LEG.check_evidence(made, _OWED, EvidencePolicy())
            return True
    return False


def _paths() -> tuple[bytes, ...]:
    paths = []
    for index in (0, 1, 130):
        below, path = keccak256(_VALUE), index.to_bytes(2, "big")
        for node in rsk_trie.prove([_VALUE] * 140, index):
            path += len(node).to_bytes(2, "big") + node.replace(below, _LINK)
            below = keccak256(node)
        paths.append(path)
    return tuple(paths)


HEADERS: Final = tuple([each.full for each in made_rootstock.chain(_ENDS[0], 1)])
PATHS: Final = _paths()
RECEIPTS: Final = tuple([values[made_rootstock.PLACE] for values in _ENDS])
