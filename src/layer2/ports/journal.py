"""The durable record of swaps and sends: its records, and the guarantees of an implementation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias

from layer2.errors import JournalError
from layer2.model.transactions import SwapId
from layer2.ports.nonces import AccountNonces, NonceClaim, NonceUse

__all__ = [
    "ClientRecords",
    "CoinHolds",
    "Delivery",
    "Intent",
    "Journal",
    "JournalOwner",
    "Json",
    "LayerRecords",
    "NonceRecords",
    "OpenRow",
    "Role",
    "SeenSwaps",
    "SendRecord",
    "SendRecords",
    "SwapJournal",
    "SwapRecord",
    "swap_holder",
]


Json: TypeAlias = Mapping[str, Any]
"""A JSON object of strings, integers, booleans, null, lists and objects, as a journal stores it."""


class Role(Enum):
    """This process's role in a swap."""

    TAKER = "taker"
    PROVIDER = "provider"


class Delivery(Enum):
    """What is known of an intent's delivery to the node. Each value is durable before the process acts on it."""

    INTENDED = "intended"
    """Journaled, and certainly not sent."""
    LEAVING = "leaving"
    """The send may have begun; there is no answer yet. After a crash the outcome is unknown."""
    UNKNOWN = "unknown"
    """It was sent, and the answer was lost."""
    TAKEN = "taken"
    """The node accepted it."""
    REJECTED = "rejected"
    """The node refused it, so the node has seen it."""
    UNSENT = "unsent"
    """There was no connection, or the register refused it, so it was certainly not sent."""

    @property
    def is_out(self) -> bool:
        """Whether it may have been sent."""
        return self not in (Delivery.INTENDED, Delivery.UNSENT)


@dataclass(frozen=True, slots=True)
class Intent:
    """One external act, durable before it is performed."""

    number: int
    """Its position among the swap's intents, from 1."""
    verb: str
    """The value of a ``Verb``."""
    end: str
    """The value of a ``LegEnd``: which leg."""
    act: Json = field(repr=False)
    """Everything that is needed to perform it again identically: signed bytes, or a payment's hash and limits. It may
    contain the preimage."""
    delivery: Delivery = Delivery.INTENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapRecord:
    """A swap as stored in the journal. Only the journal creates a higher version."""

    swap_id: SwapId
    """The public id."""
    role: Role
    version: int = 0
    """0 until the journal has added the swap."""
    state: Json
    """The machine's state as written by ``swap_rules.states``."""
    is_final: bool = False
    payment_hash: bytes | None
    terms: Json | None = None
    """Signed terms as ``terms.signing`` writes them; None before they are agreed."""
    request: Json
    """The request. It never changes."""
    provider_name: str | None = None
    """Taker: the provider of the swap."""
    quote_id: str | None
    """The quote from which the swap was started. A quote starts one swap."""
    access: bytes | None = field(repr=False)
    """Taker: the token that gives read access to the swap at the provider, 32 bytes. Provider: its sha256."""
    idempotency_key: str | None = None
    holds_key: bool = True
    """Whether this swap holds the key and the quote. An abandoned swap releases them."""
    attention: str | None = None
    """What needs an operator's attention, or None."""
    from_old_copy: bool = False
    """Whether it was open in a copy of the journal that lacked acts, or was restored. An act that the journal does not
    have may have been done."""
    created_at: int
    """Unix seconds, as ``updated_at``."""
    updated_at: int


@dataclass(frozen=True, slots=True)
class OpenRow:
    """What is read of an open swap before its first turn."""

    number: int
    """Its position in the journal: later swaps have higher ones."""
    swap_id: SwapId
    collect_by: int
    """As in the terms; 0 if it cannot be read."""


@dataclass(slots=True)
class SeenSwaps:
    """Which swaps of its role a process has taken into account: its own, and those of other processes up to ``last``.

    The journal moves ``last`` when it adds a swap of this process. The process moves both fields, ``reads`` first,
    when it has read swaps of others.
    """

    last: int = 0
    """The number of a swap in the journal: this one and all earlier ones are known."""
    reads: int = 0
    """Counts the reads that found swaps of others. What was decided at a lower count must be decided again."""


@dataclass(frozen=True, slots=True)
class JournalOwner:
    """A network, an account or a swap seed that the swaps of a journal use."""

    kind: str
    """``network``, ``account`` or ``seed``."""
    value: str
    """``regtest``; ``BOB 0x...``; the fingerprint of the seed."""


class SwapJournal(Protocol):
    """The durable record of swaps and their proofs. Every method returns only when its effect would survive a power
    failure.

    Any number of processes may read. Only the process that has taken the lock with ``act`` may act, or the workers that
    share it.

    Raises, all methods: JournalError when the record cannot be read or written.
    """

    async def act(self, *, shared: bool = False) -> None:
        """Take the lock that lets only one process act on the journal. Can be repeated.

        Args:
            shared: share the lock with workers and front ends. They exclude a single process, and it excludes them.

        Raises:
            JournalBusy: another process acts on the journal.
            ConfigurationError: ``shared``, and the journal is of a kind that workers cannot share, or has a register.
        """
        ...

    async def workers(self) -> frozenset[str]:
        """The ids of the processes that share the lock now, this one included."""
        ...

    async def create(self, record: SwapRecord) -> SwapRecord:
        """Add a swap. If another swap holds its key or its quote, add nothing and return that swap.

        Raises:
            IdempotencyConflict: another request holds the key, or a swap with another key holds the quote.
        """
        ...

    async def accept(self, record: SwapRecord, seen: SeenSwaps, reads: int) -> SwapRecord | None:
        """As ``create``, unless another process has added a swap that this one has not taken into account.

        Transactions of this kind are made one after the other. So of several processes that decide at the same time
        by what all open swaps reserve, none decides without the swap of another.

        Args:
            seen: what this process has taken into account, now.
            reads: the count in ``seen`` when it decided to accept the swap.

        Returns:
            None if it must read the swaps of others and decide again; nothing was written.

        Raises:
            As ``create``.
        """
        ...

    async def last_number(self, role: Role) -> int:
        """The number of the newest swap of that role, 0 without one."""
        ...

    async def swaps_after(self, role: Role, number: int) -> Sequence[tuple[int, SwapRecord]]:
        """One page of the swaps with higher numbers, final ones too, oldest first, with their numbers; empty after the
        last page."""
        ...

    async def load(self, swap_id: SwapId) -> SwapRecord | None:
        """The newest version of the swap, or None."""
        ...

    async def find(self, role: Role, idempotency_key: str) -> SwapRecord | None:
        """The swap of that role that holds the key, otherwise the newest swap that was abandoned with it, or None."""
        ...

    async def find_quote(self, role: Role, quote_id: str) -> SwapRecord | None:
        """The swap of that role that holds the quote, or None."""
        ...

    async def list(self, *, role: Role | None = None, open_only: bool = False) -> Sequence[SwapRecord]:
        """All swaps, newest first."""
        ...

    async def open_rows(self, role: Role, before: int | None = None) -> Sequence[OpenRow]:
        """One page of the open swaps that have terms, newest first; empty after the last page.

        Args:
            before: the number of the last row of the page before; None for the first page.
        """
        ...

    async def plans(self) -> Sequence[SwapRecord]:
        """The open swaps without terms, newest first."""
        ...

    async def open_versions(self, role: Role) -> Mapping[SwapId, int]:
        """The version of each open swap."""
        ...

    async def open_swaps(self, role: Role, after: int = 0) -> Sequence[tuple[int, SwapRecord]]:
        """One page of the open swaps, oldest first, each with its position in the journal; empty after the last page.

        Args:
            after: the position of the last swap of the page before; 0 for the first page.
        """
        ...

    async def released_under(self, payment_hashes: Collection[bytes]) -> Sequence[SwapRecord]:
        """A provider's final swaps under these hashes: a late funding may belong to one of them."""
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
        nonces: Sequence[NonceClaim] = (),
    ) -> SwapRecord:
        """Write the next state, its intents and an event in one transaction, if ``record.version`` is current.

        Args:
            nonces: those of the intents' transactions, which are taken in the same transaction.

        Raises:
            StaleSwap: another task advanced the swap; nothing was written.
            NonceTaken: another transaction has one of the nonces; nothing was written.
            FundsRulesError: another open swap of this role has an intent to fund the same hash, or a swap has paid it.
        """
        ...

    async def begin_delivery(
        self, record: SwapRecord, intent: Intent, attempt: str, *, nonces: Sequence[NonceClaim] = ()
    ) -> Delivery:
        """Note that an attempt to send an intent begins, before its first byte leaves. Can be repeated.

        Of several tasks that begin to send an intent which was certainly not sent, one succeeds.

        Args:
            record: the version of the swap from which the act was decided.
            intent: with the delivery that was known then.
            attempt: a random id of at most 32 characters. A caller whose call failed repeats it with the same id.
            nonces: those of the intent's transactions, which must still have them.

        Returns:
            ``LEAVING`` for the first attempt that may be sent. For a repetition, what is known of earlier attempts:
            ``UNKNOWN``, ``TAKEN`` or ``REJECTED``. ``UNKNOWN``, too, if another worker sends the act by its nonce.

        Raises:
            StaleSwap: another task has advanced the swap, or has begun to send the intent. Nothing may be sent.
            NonceTaken: another transaction has one of the nonces; nothing was written.
        """
        ...

    async def record_delivery(
        self,
        record: SwapRecord,
        number: int,
        delivery: Delivery,
        *,
        attempt: str | None = None,
        nonces: Sequence[NonceClaim] = (),
    ) -> Delivery:
        """Write what is known of an intent's delivery after an attempt that ``begin_delivery`` began.

        ``TAKEN``, ``UNKNOWN`` and ``REJECTED`` never change back to ``UNSENT``, because the act may have been sent.

        Args:
            record: the version of the swap at which the attempt began. If another task has advanced it since, an
                attempt that was certainly not sent counts as ``UNKNOWN``.
            attempt: the id of one whose ``begin_delivery`` failed, so that the journal may not have it. Then ``UNSENT``
                changes nothing.
            nonces: those that ``begin_delivery`` took for what must not be sent after ``UNSENT``. They count as not
                sent again, so that no worker sends their transactions without the swap. If another worker sends one of
                them already, the attempt counts as ``UNKNOWN``.

        Returns:
            What the journal now contains.
        """
        ...

    async def intents(self, swap_id: SwapId) -> Sequence[Intent]:
        """All intents of a swap, oldest first."""
        ...

    async def events(self, swap_id: SwapId) -> Sequence[Json]:
        """All events of a swap, oldest first: ``version``, ``event``, ``at``, ``state``."""
        ...

    async def owners(self) -> Sequence[JournalOwner]:
        """The owners of the journal's swaps."""
        ...

    async def add_owners(self, owners: Sequence[JournalOwner], *, known: Sequence[JournalOwner] | None = None) -> bool:
        """Add owners; known ones stay unchanged.

        Args:
            known: add them only if the journal has exactly these owners until then.

        Returns:
            False if it has others; nothing was written.
        """
        ...

    async def release_owners(self) -> bool:
        """Remove the owners of a journal that holds neither a swap nor a send, if no other worker acts on it.

        Returns:
            Whether they were removed.
        """
        ...

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None:
        """Save the proof of a swap; it replaces an earlier one."""
        ...

    async def load_proof(self, swap_id: SwapId) -> bytes | None:
        """The proof of a swap, or None without one."""
        ...


@dataclass(frozen=True, slots=True)
class SendRecord:
    """A single transaction or payment of a client, outside any swap."""

    protocol: str
    idempotency_key: str
    request: str
    """A digest of the request."""
    tx_id: str
    act: Json
    """The content of the send: signed bytes, or a payment request with its limits."""


class SendRecords(Protocol):
    """The durable record of single sends, so that a retry after a time-out does not pay twice."""

    async def add_send(self, record: SendRecord) -> SendRecord:
        """Write the record, or return the existing record of the same protocol and key.

        Returns:
            The argument itself if this call wrote it; otherwise another object, which may be equal.

        Raises:
            IdempotencyConflict: the existing record has another request.
            JournalError: it could not be written; nothing may be sent.
        """
        ...

    async def find_send(self, protocol: str, idempotency_key: str) -> SendRecord | None:
        """The record of that protocol and key, or None."""
        ...

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        """The record of the transaction with that id, with any key, or None. It may search all records."""
        ...


class NonceRecords(Protocol):
    """The durable record of the nonces of accounts, so that several workers can send with one key. Every method returns
    only when its effect would survive a power failure.

    Raises, all methods: JournalError when the record cannot be read or written.
    """

    async def add_send_with_nonce(self, record: SendRecord, claim: NonceClaim) -> SendRecord:
        """As ``add_send``, and take the nonce of its transaction; both or neither. If a record of that key exists
        already, the nonce is not taken.

        Raises:
            As ``add_send``.
            NonceTaken: another transaction has the nonce; nothing was written.
        """
        ...

    async def claim_nonces(self, claims: Sequence[NonceClaim]) -> None:
        """Take nonces, all or none.

        Raises:
            NonceTaken: another transaction has one of the nonces; nothing was written.
        """
        ...

    async def release_nonce(self, use: NonceUse) -> bool:
        """Release a nonce whose transaction will not be sent; return False if the journal has another use of it, for
        example because another worker sends the transaction now."""
        ...

    async def nonces(self, protocol: str, account: str) -> AccountNonces:
        """What the journal has of an account's nonces."""
        ...

    async def forget_nonces(self, protocol: str, account: str, count: int) -> None:
        """Forget the nonces below ``count``, which are final."""
        ...


def swap_holder(payment_hash: bytes) -> str:
    """The holder of the coins that fund a swap. The journal releases them when the last swap under the hash ends."""
    return f"swap:{payment_hash.hex()}"


class CoinHolds(Protocol):
    """The durable record of which coins of a wallet are held, and for whom. Every method returns only when its effect
    would survive a power failure.

    Raises, all methods: JournalError when the record cannot be read or written.
    """

    async def hold_coins(self, protocol: str, holder: str, coins: Sequence[str]) -> bool:
        """Hold these coins for one holder, all or none.

        Args:
            coins: each as ``TXID:INDEX``.

        Returns:
            False if another holder has one of them; nothing was written.
        """
        ...

    async def held_coins(self, protocol: str) -> Mapping[str, str]:
        """The holder of each held coin."""
        ...

    async def release_coins(self, protocol: str, holder: str) -> None:
        """Release the coins of a holder. Can be repeated."""
        ...


class ClientRecords(SendRecords, CoinHolds, Protocol):
    """What the clients of layers keep in the journal."""

    async def add_send_of_coins(self, record: SendRecord, holder: str, coins: Sequence[str]) -> SendRecord:
        """As ``add_send``, and hold the coins that the send spends; both or neither. A record that exists already
        keeps its coins.

        Raises:
            As ``add_send``.
            FundsRulesError: code ``coins_held``: another holder has one of the coins; nothing was written.
        """
        ...


class LayerRecords(ClientRecords, NonceRecords, Protocol):
    """What the clients of any layers keep in the journal."""


class Journal(SwapJournal, LayerRecords, Protocol):
    """The whole durable record of a party: its swaps, its single sends and its held coins."""

    async def replaced(self) -> JournalError:
        """Return, with the reason, when this object can no longer act although it was not closed; otherwise never.

        Another process acts on the journal, or its server continues with a copy that lacks what this object has
        written. From then on every write of this object fails.
        """
        ...
