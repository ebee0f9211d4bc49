"""The completion statement: how the provider says that both legs of a transfer ended. Pure.

The provider signs it with the key of the terms, once its end is final on each leg. About what the
provider received it is an acknowledgement, about what the provider paid it is a claim in its own favour.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final, TypeAlias

from layer2.errors.base import FormatError, ProofRefused
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.json_record import Amount, Bytes32, Form, read_record, write_record
from layer2.formats.tagged_signature import json_digest
from layer2.legs.leg import Leg
from layer2.legs.shown import LegOutcome
from layer2.terms.documents import Signature, Terms
from layer2.terms.signing import is_signed, terms_hash

__all__ = [
    "CompletionStatement",
    "SignedStatement",
    "StatedBlock",
    "StatedFinality",
    "StatedLeg",
    "StatedOutcome",
    "amounts_of",
    "check_agrees",
    "check_statement",
    "read_signed_statement",
    "statement_digest",
    "write_signed_statement",
]

STATEMENT_VERSION: Final = 1
STATEMENT_TAG: Final = "layer2/completion/v1"


class StatedOutcome(Enum):
    """How a transfer ended, as its provider states it."""

    COMPLETED = "completed"
    """Both legs were collected."""
    REFUNDED = "refunded"
    """No leg was collected, and no leg holds money."""

    @property
    def of_legs(self) -> LegOutcome:
        """The outcome of each leg that was funded."""
        return LegOutcome.COLLECTED if self is StatedOutcome.COMPLETED else LegOutcome.RETURNED


class StatedFinality(Enum):
    """What makes the end of a leg final for the provider."""

    FINALIZED = "finalized"
    """The leg ended in a block that its node reports as finalized."""
    SETTLED = "settled"
    """Its node has settled or cancelled the payment. No block shows it."""
    UNFUNDED = "unfunded"
    """After a refund: the leg was never funded, and never will be."""


@dataclass(frozen=True, slots=True)
class StatedBlock:
    """A block that shows the end of a leg."""

    number: int
    hash: Bytes32
    """In the order in which the layer's nodes display it."""


def _read_block(value: object) -> StatedBlock | None:
    if value is None:
        return None
    fields = JsonObject(value, "block")
    block = read_record(StatedBlock, fields)
    fields.end()
    return block


_Block: TypeAlias = Annotated[
    StatedBlock | None, Form(_read_block, lambda block: None if block is None else write_record(block))
]


@dataclass(frozen=True, slots=True)
class StatedLeg:
    """The end of one leg."""

    block: _Block
    """None unless the finality is FINALIZED."""
    finality: StatedFinality


def _read_leg(fields: JsonObject) -> StatedLeg:
    leg = read_record(StatedLeg, fields)
    fields.end()
    return leg


_Leg: TypeAlias = Annotated[StatedLeg, Form(_read_leg, write_record, is_object=True)]


@dataclass(frozen=True, slots=True)
class CompletionStatement:
    """How a transfer ended, as its provider states it. Amounts are satoshi."""

    terms_hash: Bytes32
    outcome: StatedOutcome
    received: Amount
    """What the provider received on the source, and kept."""
    paid: Amount
    """What the provider paid on the destination."""
    source: _Leg
    destination: _Leg
    stated_at: int
    """Unix seconds, by the provider's clock."""


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement and the provider's signature over its hash."""

    statement: CompletionStatement
    signature: Signature


def amounts_of(outcome: StatedOutcome, terms: Terms) -> tuple[int, int]:
    """What the provider has received and paid at that outcome, in satoshi."""
    return (terms.source_amount, terms.amount) if outcome is StatedOutcome.COMPLETED else (0, 0)


def statement_digest(statement: CompletionStatement) -> bytes:
    """The tagged hash of the canonical statement, 32 bytes, which the provider signs."""
    return json_digest(STATEMENT_TAG, _write(statement))


def write_signed_statement(signed: SignedStatement) -> dict[str, JsonValue]:
    """Statement and signature as a JSON object with the fields ``statement``, ``scheme`` and ``signature``."""
    return {"statement": _write(signed.statement), **write_record(signed.signature)}


def read_signed_statement(fields: JsonObject) -> SignedStatement:
    """The reverse of ``write_signed_statement``. The caller ends the reading of ``fields``. Checks no signature.

    Raises:
        FormatError: a field is missing, unknown or of the wrong type, or the version is unknown.
    """
    given = fields.nested("statement")
    version = given.integer("version")
    if version != STATEMENT_VERSION:
        raise FormatError(f"statement version {version} is unknown; this program supports version {STATEMENT_VERSION}")
    statement = read_record(CompletionStatement, given)
    given.end()
    return SignedStatement(statement, read_record(Signature, fields))


def check_statement(signed: SignedStatement, terms: Terms) -> None:
    """Check that the provider of the terms made the statement, and that it is one about these terms.

    Raises:
        ProofRefused: ``check`` names the first rule that does not hold: ``statement_terms``, ``statement_signature``,
            ``statement_amounts``, ``statement_finality`` or ``statement_time``.

    Does not show that the statement is true, or that the key belongs to a known provider.
    """
    statement = signed.statement
    if statement.terms_hash != terms_hash(terms):
        raise ProofRefused("statement_terms", "the completion statement is about other terms")
    if not is_signed(statement_digest(statement), signed.signature, terms.provider):
        raise ProofRefused("statement_signature", "the provider did not sign the completion statement")
    expected = amounts_of(statement.outcome, terms)
    if (statement.received, statement.paid) != expected:
        raise ProofRefused(
            "statement_amounts",
            f"the provider states that it received {statement.received} sat and paid {statement.paid} sat; "
            f"{statement.outcome.value}, it is {expected[0]} sat and {expected[1]} sat",
        )
    for leg, stated in ((terms.source, statement.source), (terms.destination, statement.destination)):
        _check_finality(leg, stated, statement.outcome)
    if {statement.source.finality, statement.destination.finality} == {StatedFinality.UNFUNDED}:
        raise ProofRefused("statement_finality", "the provider states a refund of legs that were never funded")
    if statement.stated_at < terms.issued_at:
        raise ProofRefused("statement_time", "the completion statement is older than the terms")


def check_agrees(statement: CompletionStatement, source: LegOutcome | None, destination: LegOutcome | None) -> None:
    """Check that a statement does not contradict what the evidence of a leg shows.

    Args:
        source: as its evidence shows; None without evidence.
        destination: as ``source``.

    Raises:
        ProofRefused: check ``statement``.
    """
    for shown, stated in ((source, statement.source), (destination, statement.destination)):
        is_unfunded = stated.finality is StatedFinality.UNFUNDED
        if shown is not None and (shown is not statement.outcome.of_legs or is_unfunded):
            raise ProofRefused(
                "statement",
                f"the provider states that the transfer was {statement.outcome.value}, and the leg "
                f"{stated.finality.value}; the evidence shows that the leg was {shown.value}",
            )


def _check_finality(leg: Leg, stated: StatedLeg, outcome: StatedOutcome) -> None:
    if stated.finality is StatedFinality.UNFUNDED:
        is_possible = outcome is StatedOutcome.REFUNDED
    else:
        is_possible = (stated.finality is StatedFinality.FINALIZED) is leg.ends_in_block
    if not is_possible:
        raise ProofRefused(
            "statement_finality",
            f"a leg on {leg.protocol.value} of a {outcome.value} transfer cannot be {stated.finality.value}",
        )
    if (stated.block is not None) is not (stated.finality is StatedFinality.FINALIZED):
        raise ProofRefused("statement_finality", "exactly a leg that is finalized names a block")


def _write(statement: CompletionStatement) -> dict[str, JsonValue]:
    return {"version": STATEMENT_VERSION, **write_record(statement)}
