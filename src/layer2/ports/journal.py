"""The durable record of swaps and sends: its rows, and what an implementation guarantees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias

from layer2.model.transactions import SwapId

__all__ = [
    "Delivery",
    "Intent",
    "JournalOwner",
    "Json",
    "Role",
    "SendRecord",
    "SendRecords",
    "SwapJournal",
    "SwapRecord",
]


Json: TypeAlias = Mapping[str, Any]
"""A JSON object of strings, integers, booleans, null, lists and objects; what a journal stores."""


class Role(Enum):
    """The side of a swap that this process is on."""

    TAKER = "taker"
    PROVIDER = "provider"


class Delivery(Enum):
    """What is known of an intent's way out of this process. Each value is durable before what follows from it."""

    INTENDED = "intended"
    """Journaled, and surely not sent."""
    LEAVING = "leaving"
    """Its first byte may have left; nothing was answered yet. After a crash the outcome is unknown."""
    UNKNOWN = "unknown"
    """It was sent, and the answer was lost."""
    TAKEN = "taken"
    """The node took it."""
    REJECTED = "rejected"
    """The node refused it. The node has seen it."""
    UNSENT = "unsent"
    """There was no connection: surely not sent."""

    @property
    def is_out(self) -> bool:
        """Whether it may have left this process."""
        return self not in (Delivery.INTENDED, Delivery.UNSENT)


@dataclass(frozen=True, slots=True)
class Intent:
    """One external act, durable before it is performed."""

    number: int
    """Its place among the intents of the swap, from 1."""
    verb: str
    """The value of a ``Verb``."""
    end: str
    """The value of a ``LegEnd``: which leg."""
    act: Json = field(repr=False)
    """All that is needed to perform it again identically: signed bytes, or a payment's hash and limits. It may hold the
    preimage."""
    delivery: Delivery = Delivery.INTENDED


@dataclass(frozen=True, slots=True)
class SwapRecord:
    """A swap as the journal holds it. Only the journal makes a higher version."""

    swap_id: SwapId
    """The public id."""
    role: Role
    version: int
    state: Json
    """The machine's state as written by ``swap_rules.states``."""
    is_final: bool
    payment_hash: bytes | None
    terms: Json | None
    """Signed terms as ``signed_terms`` writes them; None before they are agreed."""
    request: Json
    """What was asked for. It never changes."""
    provider_name: str | None
    """Taker: which provider serves."""
    quote_id: str | None
    """The quote that the swap was started from: it starts one swap."""
    access: bytes | None = field(repr=False)
    """Taker: the token with which the swap can be read at the provider, 32 bytes. Provider: its sha256."""
    idempotency_key: str | None
    holds_key: bool
    """Whether the key and the quote are taken by this swap. A swap that is abandoned gives them back."""
    attention: str | None
    """What a human has to look at, or None."""
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class JournalOwner:
    """A network, an account or a swap seed that the swaps of a journal use."""

    kind: str
    """``network``, ``account`` or ``seed``."""
    value: str
    """``regtest``; ``BOB 0x...``; the fingerprint of the seed."""


class SwapJournal(Protocol):
    """The durable record of swaps. Every method returns only when its effect would survive a power cut.

    Raises, all methods: JournalError when the record cannot be read or written.
    """

    async def create(self, record: SwapRecord) -> SwapRecord:
        """Add a swap; where its key or its quote is taken, return the record that has it and add nothing.

        Raises:
            IdempotencyConflict: the key is taken by another request, or the quote by a swap with another key.
        """
        ...

    async def load(self, swap_id: SwapId) -> SwapRecord | None: ...

    async def find(self, role: Role, idempotency_key: str) -> SwapRecord | None:
        """The swap of that role that holds the key, or else the newest that was abandoned under it, or None."""
        ...

    async def list(self, *, role: Role | None = None, open_only: bool = False) -> Sequence[SwapRecord]:
        """Newest first."""
        ...

    async def released_under(self, payment_hash: bytes) -> Sequence[SwapRecord]:
        """A provider's final swaps under a hash: one of them may be what a late funding is for."""
        ...

    async def advance(
        self,
        record: SwapRecord,
        *,
        state: Json,
        is_final: bool,
        event: str,
        now: int,
        terms: Json | None = None,
        intents: Sequence[Intent] = (),
        attention: str | None = None,
        holds_key: bool = True,
    ) -> SwapRecord:
        """Write the next state, its intents and an event in one transaction, if ``record.version`` is current.

        Raises:
            StaleSwap: the swap moved on; nothing was written.
            FundsRulesError: another open swap of this role has an intent to fund under the same hash.
        """
        ...

    async def record_delivery(self, swap_id: SwapId, number: int, delivery: Delivery) -> None:
        """Write what is known of an intent's way out. ``TAKEN``, ``UNKNOWN`` and ``REJECTED`` never go back to
        ``UNSENT`` or ``INTENDED``: that it may have left is never taken back."""
        ...

    async def intents(self, swap_id: SwapId) -> Sequence[Intent]:
        """All intents of a swap, oldest first."""
        ...

    async def events(self, swap_id: SwapId) -> Sequence[Mapping[str, Any]]:
        """All events of a swap, oldest first: ``version``, ``event``, ``at``, ``state``."""
        ...

    async def owners(self) -> Sequence[JournalOwner]:
        """Whose swaps the journal holds."""
        ...

    async def add_owners(self, owners: Sequence[JournalOwner]) -> None:
        """Allow more of them; those that are known stay as they are."""
        ...


@dataclass(frozen=True, slots=True)
class SendRecord:
    """One single transaction or payment that a client was asked to send, outside any swap."""

    protocol: str
    idempotency_key: str
    request: str
    """A digest of what was asked for."""
    tx_id: str
    act: Json
    """What is sent: signed bytes, or a payment request with its limits."""


class SendRecords(Protocol):
    """The durable record of single sends, so that nobody pays twice after a time-out."""

    async def add_send(self, record: SendRecord) -> SendRecord:
        """Write the record, or return the one that has the same protocol and key.

        Returns:
            The very object that was given where it was written by this call; another one, maybe equal, where not.

        Raises:
            IdempotencyConflict: the key is known with another request.
            JournalError: it could not be written; nothing may be sent.
        """
        ...

    async def find_send(self, protocol: str, idempotency_key: str) -> SendRecord | None: ...

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        """The record of the transaction with that id, whatever its key. All records may be looked through."""
        ...
