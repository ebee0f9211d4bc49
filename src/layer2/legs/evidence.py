"""The types of evidence of a leg, and their registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, TypeAlias

from layer2.errors.base import FormatError
from layer2.formats import json_object
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.json_record import Bytes32, Form, hexadecimal, integer, read_record, write_record
from layer2.formats.merkle_patricia import LONGEST_INNER_NODE
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Preimage

__all__ = [
    "EVIDENCE_TYPES",
    "BitcoinSpendEvidence",
    "EvmEvidence",
    "EvmReceiptEvidence",
    "EvmStorageEvidence",
    "LegEvidence",
    "LightningPaymentEvidence",
    "RootstockReceiptEvidence",
    "read_evidence",
    "write_evidence",
]

_Index: TypeAlias = Annotated[int, integer(2**32)]


def _list(max_items: int, max_length: int = 100_000) -> Form:
    return Form(
        json_object.list_of(json_object.hexadecimal(max_length=max_length), max_items),
        lambda items: [item.hex() for item in items],
    )


_32_BYTES: Final = json_object.hexadecimal(32)
_PREIMAGE: Final = Form(lambda value: Preimage(_32_BYTES(value)), lambda preimage: preimage.secret.hex())


@dataclass(frozen=True, slots=True)
class EvmReceiptEvidence:
    """One log in one receipt of a block of an EVM layer, with the path to the block's header."""

    type: ClassVar[str] = "evm_receipt"

    protocol: Layer2ProtocolType
    header: Annotated[bytes, hexadecimal(max_length=2_000)]
    """RLP of the block's header."""
    transaction_index: _Index
    receipt_proof: Annotated[tuple[bytes, ...], _list(64)]
    """Nodes of the receipts trie from the root to the receipt (Merkle-Patricia)."""
    log_index: _Index
    """Index of the log within the receipt, from 0."""


@dataclass(frozen=True, slots=True)
class EvmStorageEvidence:
    """The status of one lock in the contract's storage after a block, with the path to the block's header (EIP-1186).

    The block is that of the lock's end or any later one. The keys are hashes, so no path has as many as 64 nodes, and a
    leaf has one account or one word, so no node is longer than a full branch.
    """

    type: ClassVar[str] = "evm_storage"

    protocol: Layer2ProtocolType
    header: Annotated[bytes, hexadecimal(max_length=2_000)]
    """RLP of the block's header."""
    lock_id: Bytes32
    """It determines the slot. Without the terms, it names the lock that ended."""
    account_proof: Annotated[tuple[bytes, ...], _list(64, LONGEST_INNER_NODE)]
    """Nodes of the state trie from the root to the contract's account."""
    storage_proof: Annotated[tuple[bytes, ...], _list(64, LONGEST_INNER_NODE)]
    """Nodes of the contract's storage trie from the root to the slot."""


@dataclass(frozen=True, slots=True)
class RootstockReceiptEvidence:
    """One log in one receipt of a Rootstock block, with the path to the block's header and the work under it."""

    type: ClassVar[str] = "rootstock_receipt"
    protocol: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.ROOTSTOCK

    headers: Annotated[tuple[bytes, ...], _list(144)]
    """The block's header and those after it, in their full form: each with the Merkle path and the coinbase that lead
    from Bitcoin's header to it."""
    transaction_index: _Index
    receipt: Annotated[bytes, hexadecimal()]
    """RLP of the receipt."""
    receipt_proof: Annotated[tuple[bytes, ...], _list(64)]
    """Nodes of the receipts trie from the receipt to the root. They contain the receipt's hash."""
    log_index: _Index
    """Index of the log within the receipt, from 0."""


@dataclass(frozen=True, slots=True)
class LightningPaymentEvidence:
    """The preimage of the invoice that the terms name.

    It shows that the payment could be collected. It shows that the payment was made only if the payer could not have
    learned the preimage in another way.
    """

    type: ClassVar[str] = "lightning_payment"
    protocol: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.LIGHTNING

    preimage: Annotated[Preimage, _PREIMAGE] = field(repr=False)


@dataclass(frozen=True, slots=True)
class BitcoinSpendEvidence:
    """The transactions that made and spent a leg's output, and the way from the second to its block's header."""

    type: ClassVar[str] = "bitcoin_spend"
    protocol: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.BITCOIN

    headers: Annotated[tuple[bytes, ...], _list(2_016)]
    """The block's header, 80 bytes, and those after it."""
    funding: Annotated[bytes, hexadecimal(max_length=400_000)] = field(repr=False)
    """The transaction that made the output, without its witnesses. Nodes relay up to 100,000 bytes of it. It has to fit
    into a proof's file together with the other fields."""
    transaction: Annotated[bytes, hexadecimal(max_length=400_000)] = field(repr=False)
    """With its witness, which may contain the preimage."""
    input: _Index
    """Index of the input that spends the output."""
    index: _Index
    """The transaction's place in its block."""
    witness_path: Annotated[tuple[bytes, ...], _list(32)]
    """The Merkle path, 32 bytes at each level, from the transaction's witness hash to the root in the coinbase."""
    coinbase: Annotated[bytes, hexadecimal()]
    """The block's first transaction, with its witness."""
    coinbase_path: Annotated[tuple[bytes, ...], _list(32)]
    """The Merkle path from the coinbase's hash to the header's root."""


EvmEvidence: TypeAlias = EvmReceiptEvidence | EvmStorageEvidence | RootstockReceiptEvidence
"""The evidence of an EVM leg."""
LegEvidence: TypeAlias = EvmEvidence | LightningPaymentEvidence | BitcoinSpendEvidence

EVIDENCE_TYPES: Final[dict[str, type[LegEvidence]]] = {
    each.type: each
    for each in (
        EvmReceiptEvidence,
        EvmStorageEvidence,
        RootstockReceiptEvidence,
        LightningPaymentEvidence,
        BitcoinSpendEvidence,
    )
}

_RESERVED: Final = frozenset({"bolt12_payer_proof", "anchored_header"})
"""Types that a later version may define."""


def write_evidence(evidence: LegEvidence) -> dict[str, JsonValue]:
    """The evidence as a JSON object, tagged with its type.

    Raises:
        FormatError: it exceeds a limit of its type, so ``read_evidence`` would refuse it.
    """
    written: dict[str, JsonValue] = {"type": evidence.type, **write_record(evidence)}
    # A counterparty chooses some of what becomes evidence. A proof that no reader accepts must not be kept.
    read_evidence(written, evidence.type)
    return written


def read_evidence(value: object, what: str) -> LegEvidence:
    """The reverse of ``write_evidence``.

    Raises:
        FormatError: a field is missing, unknown or of the wrong type, or the type is unknown.
    """
    fields = JsonObject(value, what)
    name = fields.text("type", max_length=32)
    kind = EVIDENCE_TYPES.get(name)
    if name in _RESERVED:
        raise FormatError(f"{what}: the evidence type {name!r} is reserved, and this version cannot check it")
    if kind is None:
        raise FormatError(f"{what}: the evidence type {name!r} is unknown")
    evidence: LegEvidence = read_record(kind, fields)
    fields.end()
    return evidence
