"""The nonces of accounts, as the journal has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["AccountNonces", "NonceClaim", "NonceUse"]


@dataclass(frozen=True, slots=True)
class NonceUse:
    """The transaction that has a nonce of an account."""

    protocol: str
    account: str
    """Its address."""
    nonce: int
    tx_id: str
    raw: bytes = field(repr=False)
    """The signed transaction. It may contain a preimage."""
    worker: str
    """The client object that signed it, or that sent it last. Each has an id of its own."""
    is_out: bool
    """Whether it may have been sent. Until then another transaction can take its nonce."""


@dataclass(frozen=True, slots=True)
class AccountNonces:
    """The nonces of an account."""

    final_count: int
    """How many are final. No new transaction takes one of them."""
    uses: Sequence[NonceUse]
    """Those of the others that transactions have, in order."""


@dataclass(frozen=True, slots=True)
class NonceClaim:
    """A transaction that takes its nonce if no other transaction has it.

    Two workers can sign the same bytes for two requests, so the transaction itself counts as another one if another
    worker has journaled it.
    """

    use: NonceUse
    instead_of: NonceUse | None = None
    """It also takes the nonce from this one, if that is still exactly what the journal has."""
    takes_over: bool = False
    """The transaction is a journaled one, which this worker sends from now on: it may be another worker's."""
