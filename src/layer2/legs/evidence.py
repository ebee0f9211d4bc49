"""The types of evidence that a leg can leave behind: the one place that lists them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self, TypeAlias

from layer2.errors import FormatError
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
    """One log of one receipt of one block of an EVM layer, with the way to the block's header."""

    type: ClassVar[str] = "evm_receipt"

    protocol: Layer2ProtocolType
    header: bytes
    """RLP of the block's header."""
    transaction_index: int
    receipt_proof: tuple[bytes, ...]
    """Nodes of the receipts trie from the root to the receipt (Merkle-Patricia)."""
    log_index: int
    """Index of the log within the receipt, from 0."""

    def write(self) -> dict[str, Any]:
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
            FormatError: a field is missing or of another shape.
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

    It shows that the payment could be collected. It shows that it was paid only where the payer
    could not know the preimage otherwise.
    """

    type: ClassVar[str] = "lightning_payment"

    preimage: Preimage = field(repr=False)

    @property
    def protocol(self) -> Layer2ProtocolType:
        return Layer2ProtocolType.LIGHTNING

    def write(self) -> dict[str, Any]:
        """The evidence as a JSON object, without ``type``."""
        return {"preimage": self.preimage.secret.hex()}

    @classmethod
    def read(cls, fields: JsonObject) -> Self:
        """The reverse of ``write``.

        Raises:
            FormatError: a field is missing or of another shape.
        """
        return cls(Preimage(fields.hex("preimage", length=32)))


LegEvidence: TypeAlias = EvmReceiptEvidence | LightningPaymentEvidence

EVIDENCE_TYPES: Final[dict[str, type[EvmReceiptEvidence] | type[LightningPaymentEvidence]]] = {
    each.type: each for each in (EvmReceiptEvidence, LightningPaymentEvidence)
}


def write_evidence(evidence: LegEvidence) -> dict[str, Any]:
    """The evidence as a JSON object, tagged with its type."""
    return {"type": evidence.type, **evidence.write()}


def read_evidence(value: object, what: str) -> LegEvidence:
    """The reverse of ``write_evidence``.

    Raises:
        FormatError: a field is missing, unknown or of another shape, or the type is not known.
    """
    fields = JsonObject(value, what)
    name = fields.text("type", max_length=32)
    kind = EVIDENCE_TYPES.get(name)
    if kind is None:
        raise FormatError(f"{what}: evidence of type {name!r} is not known")
    evidence = kind.read(fields)
    fields.end()
    return evidence
