"""A journal in memory with the guarantees of ``SwapJournal``, and faults at each of its commits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from layer2.errors import FundsRulesError, JournalError, StaleSwap
from layer2.journal.deliveries import begun_delivery, ended_delivery
from layer2.legs.views import Verb
from layer2.model.transactions import SwapId
from layer2.ports.journal import (
    Delivery,
    Intent,
    JournalOwner,
    Json,
    OpenRow,
    Role,
    SeenSwaps,
    SwapRecord,
)
from layer2.ports.nonces import NonceClaim
from swap_engine.faults import Fault, breathe


class MemoryJournal:
    """Calls ``fault`` before and after each commit, with ``"before"`` or ``"after"`` and a description."""

    def __init__(self) -> None:
        self.records: dict[SwapId, SwapRecord] = {}
        self.proofs: dict[SwapId, bytes] = {}
        self.fault: Fault = breathe
        self._intents: dict[SwapId, list[Intent]] = {}
        self._events: dict[SwapId, list[dict[str, Any]]] = {}
        self._attempts: dict[tuple[SwapId, int], str] = {}
        self.live_workers: frozenset[str] = frozenset()

    def of_another_process(self) -> MemoryJournal:
        """The same journal as another process has it, with faults of its own."""
        other = MemoryJournal()
        other.records, other.proofs, other._intents = self.records, self.proofs, self._intents
        other._events, other._attempts = self._events, self._attempts
        return other

    async def create(self, record: SwapRecord) -> SwapRecord:
        self.records[record.swap_id] = replace(record, version=1)
        self._intents[record.swap_id], self._events[record.swap_id] = [], []
        return self.records[record.swap_id]

    async def load(self, swap_id: SwapId) -> SwapRecord | None:
        return self.records.get(swap_id)

    async def find(self, role: Role, idempotency_key: str) -> SwapRecord | None:
        raise AssertionError("the engine never looks for keys")

    async def workers(self) -> frozenset[str]:
        return self.live_workers

    async def plans(self) -> Sequence[SwapRecord]:
        raise AssertionError("the engine never asks for plans")

    async def find_quote(self, role: Role, quote_id: str) -> SwapRecord | None:
        raise AssertionError("the engine never looks for quotes")

    async def accept(self, record: SwapRecord, seen: SeenSwaps, reads: int) -> SwapRecord | None:
        raise AssertionError("the engine never accepts swaps")

    async def last_number(self, role: Role) -> int:
        raise AssertionError("the engine never asks for numbers")

    async def swaps_after(self, role: Role, number: int) -> Sequence[tuple[int, SwapRecord]]:
        raise AssertionError("the engine never asks for numbers")

    async def open_versions(self, role: Role) -> Mapping[SwapId, int]:
        return {one.swap_id: one.version for one in self.records.values() if one.role is role and not one.is_final}

    async def released_under(self, payment_hashes: Collection[bytes]) -> Sequence[SwapRecord]:
        raise AssertionError("the engine never looks for hashes")

    async def owners(self) -> Sequence[JournalOwner]:
        raise AssertionError("the engine never asks for owners")

    async def release_owners(self) -> bool:
        raise AssertionError("the engine never releases owners")

    async def act(self, *, shared: bool = False) -> None:
        raise AssertionError("the engine never takes the lock")

    async def add_owners(self, owners: Sequence[JournalOwner], *, known: Sequence[JournalOwner] | None = None) -> bool:
        raise AssertionError("the engine never adds owners")

    async def list(self, *, role: Role | None = None, open_only: bool = False) -> Sequence[SwapRecord]:
        return [one for one in self.records.values() if role in (None, one.role) and not (open_only and one.is_final)]

    async def open_rows(self, role: Role, before: int | None = None) -> Sequence[OpenRow]:
        rows = [
            OpenRow(number, one.swap_id, one.terms.get("terms", {}).get("collect_by", 0))
            for number, one in enumerate(self.records.values(), 1)
            if one.role is role and not one.is_final and one.terms is not None
        ]
        # Pages of one row, so that every test with several swaps reads several pages.
        return [row for row in reversed(rows) if before is None or row.number < before][:1]

    async def open_swaps(self, role: Role, after: int = 0) -> Sequence[tuple[int, SwapRecord]]:
        raise AssertionError("the engine reads no terms of swaps that had no turn")

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
        await self.fault("before", event)
        current = self.records[record.swap_id]
        if current.version != record.version:
            raise StaleSwap("another task has advanced the swap")
        numbers = {one.number for one in self._intents[record.swap_id]}
        if any(one.number in numbers for one in intents):
            raise JournalError("the intent already exists")
        if any(one.verb == Verb.FUND.value for one in intents):
            self._check_hash_is_free(record)
        self._intents[record.swap_id].extend(intents)
        written = replace(
            current,
            version=current.version + 1,
            state=state,
            is_final=is_final,
            updated_at=now,
            terms=current.terms if terms is None else terms,
            attention=attention,
            holds_key=current.holds_key and holds_key,
        )
        self.records[record.swap_id] = written
        self._events[record.swap_id].append({"version": written.version, "event": event, "at": now, "state": state})
        await self.fault("after", event)
        return written

    def _check_hash_is_free(self, record: SwapRecord) -> None:
        for other in self.records.values():
            same = other.payment_hash == record.payment_hash and other.role is record.role
            if not same or other.swap_id == record.swap_id:
                continue
            if other.state["state"] in ("completed", "lost"):
                raise FundsRulesError("another transfer has already paid this payment hash")
            if not other.is_final and any(one.verb == Verb.FUND.value for one in self._intents[other.swap_id]):
                raise FundsRulesError("another open transfer has funded the same payment hash")

    async def begin_delivery(
        self, record: SwapRecord, intent: Intent, attempt: str, *, nonces: Sequence[NonceClaim] = ()
    ) -> Delivery:
        delivery = begun_delivery(intent.delivery)
        await self.fault("before", f"delivery {delivery.value}")
        (current,) = (one for one in self._intents[record.swap_id] if one.number == intent.number)
        key = record.swap_id, intent.number
        is_begun = (current.delivery, self._attempts.get(key)) == (delivery, attempt)
        is_current = self.records[record.swap_id].version == record.version
        if not is_current or (current.delivery is not intent.delivery and not is_begun):
            raise StaleSwap("another task acts for the swap")
        self._attempts[key] = attempt
        self._deliver(*key, delivery)
        await self.fault("after", f"delivery {delivery.value}")
        return delivery

    async def record_delivery(
        self,
        record: SwapRecord,
        number: int,
        delivery: Delivery,
        *,
        attempt: str | None = None,
        nonces: Sequence[NonceClaim] = (),
    ) -> Delivery:
        await self.fault("before", f"delivery {delivery.value}")
        (current,) = (one for one in self._intents[record.swap_id] if one.number == number)
        is_current = self.records[record.swap_id].version == record.version
        has_begun = attempt in (None, self._attempts.get((record.swap_id, number)))
        ended = ended_delivery(current.delivery, delivery, has_begun=has_begun, is_current=is_current)
        self._deliver(record.swap_id, number, ended)
        await self.fault("after", f"delivery {delivery.value}")
        return ended

    def _deliver(self, swap_id: SwapId, number: int, delivery: Delivery) -> None:
        self._intents[swap_id] = [
            replace(one, delivery=delivery) if one.number == number else one for one in self._intents[swap_id]
        ]

    async def intents(self, swap_id: SwapId) -> Sequence[Intent]:
        return list(self._intents[swap_id])

    async def events(self, swap_id: SwapId) -> Sequence[Mapping[str, Any]]:
        return list(self._events[swap_id])

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None:
        await self.fault("before", "proof")
        self.proofs[swap_id] = proof
        await self.fault("after", "proof")

    async def load_proof(self, swap_id: SwapId) -> bytes | None:
        return self.proofs.get(swap_id)
