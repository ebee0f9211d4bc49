"""The kinds of evidence that a leg can leave behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from layer2.errors import FormatError
from layer2.formats.json_object import JsonObject
from layer2.layers import Layer2ProtocolType
from layer2.transactions import Preimage

__all__ = ["EvmReceiptEvidence", "LegEvidence", "LightningPaymentEvidence", "read_evidence", "write_evidence"]


@dataclass(frozen=True, slots=True)
class EvmReceiptEvidence:
    """One log of one receipt of one block of an EVM layer, with the way to the block's header."""

    protocol: Layer2ProtocolType
    header: bytes
    """RLP of the block's header."""
    transaction_index: int
    receipt_proof: tuple[bytes, ...]
    """Nodes of the receipts trie from the root to the receipt (Merkle-Patricia)."""
    log_index: int
    """Index of the log within the receipt, from 0."""


@dataclass(frozen=True, slots=True)
class LightningPaymentEvidence:
    """The preimage of the invoice that the terms name.

    It shows that the payment could be collected. Whether the payer's node paid is shown only as far as the
    invoice's signer is independent of the one who made the preimage.
    """

    preimage: Preimage = field(repr=False)


LegEvidence: TypeAlias = EvmReceiptEvidence | LightningPaymentEvidence


def write_evidence(evidence: LegEvidence) -> dict[str, Any]:
    """The evidence as a JSON object, tagged with its type."""
    match evidence:
        case EvmReceiptEvidence():
            return {
                "type": "evm_receipt",
                "protocol": evidence.protocol.value,
                "header": evidence.header.hex(),
                "transaction_index": evidence.transaction_index,
                "receipt_proof": [node.hex() for node in evidence.receipt_proof],
                "log_index": evidence.log_index,
            }
        case LightningPaymentEvidence():
            return {"type": "lightning_payment", "preimage": evidence.preimage.secret.hex()}


def read_evidence(value: object, what: str) -> LegEvidence:
    """The reverse of ``write_evidence``.

    Raises:
        FormatError: a field is missing, unknown or of another shape, or the type is not known.
    """
    fields = JsonObject(value, what)
    kind = fields.text("type", max_length=32)
    evidence: LegEvidence
    if kind == "evm_receipt":
        protocol = fields.text("protocol", max_length=32)
        if protocol not in Layer2ProtocolType.__members__:
            raise FormatError(f"{what}: {protocol!r} is not the name of a layer")
        evidence = EvmReceiptEvidence(
            protocol=Layer2ProtocolType[protocol],
            header=fields.hex("header", max_length=2_000),
            transaction_index=fields.integer("transaction_index", maximum=2**32),
            receipt_proof=fields.hex_list("receipt_proof", max_items=64),
            log_index=fields.integer("log_index", maximum=2**32),
        )
    elif kind == "lightning_payment":
        evidence = LightningPaymentEvidence(Preimage(fields.hex("preimage", length=32)))
    else:
        raise FormatError(f"{what}: evidence of type {kind!r} is not known")
    fields.end()
    return evidence
