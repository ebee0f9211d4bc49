"""Completion statements made with test keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coincurve import PrivateKey

from layer2.formats.tagged_signature import sign
from layer2.proofs.model import TransferProof
from layer2.proofs.statement import (
    CompletionStatement,
    SignedStatement,
    StatedBlock,
    StatedFinality,
    StatedLeg,
    StatedOutcome,
    amounts_of,
    statement_digest,
)
from layer2.terms.documents import Scheme, Signature, Terms
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made

SETTLED = StatedLeg(None, StatedFinality.SETTLED)
UNFUNDED = StatedLeg(None, StatedFinality.UNFUNDED)
FINALIZED = StatedLeg(StatedBlock(1234, bytes.fromhex("ab" * 32)), StatedFinality.FINALIZED)


def statement(terms: Terms, outcome: StatedOutcome = StatedOutcome.COMPLETED, **changes: Any) -> CompletionStatement:
    received, paid = amounts_of(outcome, terms)
    source, destination = (FINALIZED if leg.ends_in_block else SETTLED for leg in (terms.source, terms.destination))
    if outcome is StatedOutcome.REFUNDED:
        destination = UNFUNDED
    made_statement = CompletionStatement(
        terms_hash(terms), outcome, received, paid, source, destination, terms.issued_at + 100
    )
    return replace(made_statement, **changes)


def signed(made_statement: CompletionStatement, key: PrivateKey = made.PROVIDER) -> SignedStatement:
    signature = sign(key.secret, statement_digest(made_statement), bytes(32))
    return SignedStatement(made_statement, Signature(Scheme.BIP340, signature))


def stated(proof: TransferProof, outcome: StatedOutcome = StatedOutcome.COMPLETED, **changes: Any) -> TransferProof:
    """The proof with its provider's statement."""
    return replace(proof, statement=signed(statement(proof.terms.terms, outcome, **changes)))
