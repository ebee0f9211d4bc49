"""Valid proofs that the cases change."""

from __future__ import annotations

from vectors import evm, invoices
from vectors.documents import AMOUNT, FEE, Document, proof, terms

__all__ = [
    "bob_terms",
    "bob_to_lightning",
    "bob_to_rootstock",
    "lightning_to_bob",
    "refunded",
    "rootstock_terms",
    "source_only",
    "to_lightning",
]


def bob_terms(**changes: object) -> Document:
    """Terms from BOB to Lightning."""
    return terms(evm.leg(), invoices.leg()) | changes


def rootstock_terms() -> Document:
    """Terms from BOB to Rootstock, on the local networks."""
    return terms(evm.leg(), evm.leg(layer="ROOTSTOCK", chain_id=33, amount=str(AMOUNT)))


def to_lightning(evidence: Document, made: Document | None = None) -> Document:
    """A transfer whose Lightning destination was paid, with this evidence of its source; by default from BOB."""
    return proof(bob_terms() if made is None else made, evidence, invoices.payment())


def bob_to_lightning(made: Document | None = None) -> Document:
    """A completed transfer from BOB to Lightning."""
    made = bob_terms() if made is None else made
    return to_lightning(evm.claimed(made["source"], made), made)


def lightning_to_bob(made: Document | None = None) -> Document:
    """A completed transfer from Lightning to BOB."""
    made = terms(invoices.leg(AMOUNT + FEE), evm.leg(amount=str(AMOUNT))) if made is None else made
    return proof(made, invoices.payment(), evm.claimed(made["destination"], made))


def bob_to_rootstock() -> Document:
    """A completed transfer between two EVM chains."""
    made = rootstock_terms()
    return proof(made, evm.claimed(made["source"], made), evm.claimed(made["destination"], made))


def refunded() -> Document:
    """A transfer from BOB whose lock was refunded."""
    made = bob_terms()
    return proof(made, evm.claimed(made["source"], made, evm.REFUNDED), None)


def source_only() -> Document:
    """The source was collected, and nothing is shown of the destination."""
    return bob_to_lightning() | {"destination_leg": None}
