"""The types of evidence of a leg, and their registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, TypeAlias

from layer2.errors.base import FormatError
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.json_record import Form, hexadecimal, integer, read_record, write_record
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Preimage

__all__ = [
    "EVIDENCE_TYPES",
    "EvmReceiptEvidence",
    "LegEvidence",
    "LightningPaymentEvidence",
    "read_evidence",
    "write_evidence",
]

_Index: TypeAlias = Annotated[int, integer(2**32)]
_NODES: Final = Form(
    lambda given, name: given.hex_list(name, max_items=64), lambda nodes: [node.hex() for node in nodes]
)
_PREIMAGE: Final = Form(
    lambda given, name: Preimage(given.hex(name, length=32)), lambda preimage: preimage.secret.hex()
)


@dataclass(frozen=True, slots=True)
class EvmReceiptEvidence:
    """One log in one receipt of a block of an EVM layer, with the path to the block's header."""

    type: ClassVar[str] = "evm_receipt"

    protocol: Layer2ProtocolType
    header: Annotated[bytes, hexadecimal(max_length=2_000)]
    """RLP of the block's header."""
    transaction_index: _Index
    receipt_proof: Annotated[tuple[bytes, ...], _NODES]
    """Nodes of the receipts trie from the root to the receipt (Merkle-Patricia)."""
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


LegEvidence: TypeAlias = EvmReceiptEvidence | LightningPaymentEvidence

EVIDENCE_TYPES: Final[dict[str, type[EvmReceiptEvidence] | type[LightningPaymentEvidence]]] = {
    each.type: each for each in (EvmReceiptEvidence, LightningPaymentEvidence)
}


def write_evidence(evidence: LegEvidence) -> dict[str, JsonValue]:
    """The evidence as a JSON object, tagged with its type."""
    return {"type": evidence.type, **write_record(evidence)}


def read_evidence(value: object, what: str) -> LegEvidence:
    """The reverse of ``write_evidence``.

    Raises:
        FormatError: a field is missing, unknown or of the wrong type, or the type is unknown.
    """
    fields = JsonObject(value, what)
    name = fields.text("type", max_length=32)
    kind = EVIDENCE_TYPES.get(name)
    if kind is None:
        raise FormatError(f"{what}: the evidence type {name!r} is unknown")
    evidence: LegEvidence = read_record(kind, fields)
    fields.end()
    return evidence
