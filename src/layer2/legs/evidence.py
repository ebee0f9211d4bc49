"""The types of evidence of a leg, and their registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Self, TypeAlias

from layer2.errors.base import FormatError
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.legs.fields import read_protocol
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


@dataclass(frozen=True, slots=True)
class EvmReceiptEvidence:
    """One log in one receipt of a block of an EVM layer, with the path to the block's header."""

    type: ClassVar[str] = "evm_receipt"

    protocol: Layer2ProtocolType
    header: bytes
    """RLP of the block's header."""
    transaction_index: int
    receipt_proof: tuple[bytes, ...]
    """Nodes of the receipts trie from the root to the receipt (Merkle-Patricia)."""
    log_index: int
    """Index of the log within the receipt, from 0."""

    def write(self) -> dict[str, JsonValue]:
        """The evidence as a JSON object, without ``type``."""
        return {
            "protocol": self.protocol.value,
            "header": self.header.hex(),
            "transaction_index": self.transaction_index,
            "receipt_proof": [node.hex() for node in self.receipt_proof],
            "log_index": self.log_index,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> Self:
        """The reverse of ``write``.

        Raises:
            FormatError: a field is missing or has the wrong type.
        """
        return cls(
            protocol=read_protocol(fields, "protocol"),
            header=fields.hex("header", max_length=2_000),
            transaction_index=fields.integer("transaction_index", maximum=2**32),
            receipt_proof=fields.hex_list("receipt_proof", max_items=64),
            log_index=fields.integer("log_index", maximum=2**32),
        )


@dataclass(frozen=True, slots=True)
class LightningPaymentEvidence:
    """The preimage of the invoice that the terms name.

    It shows that the payment could be collected. It shows that the payment was made only if the payer could not have
    learned the preimage in another way.
    """

    type: ClassVar[str] = "lightning_payment"
    protocol: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.LIGHTNING

    preimage: Preimage = field(repr=False)

    def write(self) -> dict[str, JsonValue]:
        """The evidence as a JSON object, without ``type``."""
        return {"preimage": self.preimage.secret.hex()}

    @classmethod
    def read(cls, fields: JsonObject) -> Self:
        """The reverse of ``write``.

        Raises:
            FormatError: a field is missing or has the wrong type.
        """
        return cls(Preimage(fields.hex("preimage", length=32)))


LegEvidence: TypeAlias = EvmReceiptEvidence | LightningPaymentEvidence

EVIDENCE_TYPES: Final[dict[str, type[EvmReceiptEvidence] | type[LightningPaymentEvidence]]] = {
    each.type: each for each in (EvmReceiptEvidence, LightningPaymentEvidence)
}


def write_evidence(evidence: LegEvidence) -> dict[str, JsonValue]:
    """The evidence as a JSON object, tagged with its type."""
    return {"type": evidence.type, **evidence.write()}


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
    evidence = kind.read(fields)
    fields.end()
    return evidence
