"""A journal in memory with the promises of ``SwapJournal``, and faults at each of its commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from layer2.errors import FundsRulesError, JournalError, StaleSwap
from layer2.interfaces import Intent, Json, Role, SwapRecord
from layer2.swap_engine.journal import FUND_KEY_PREFIX
from layer2.transactions import SwapId
from swap_engine.faults import Fault, breathe


class MemoryJournal:
    """``fault`` is called before and after each commit with ``"before"`` or ``"after"`` and what is committed."""

    def __init__(self) -> None:
        self.records: dict[SwapId, SwapRecord] = {}
        self.proofs: dict[SwapId, bytes] = {}
        self.fault: Fault = breathe
        self._intents: dict[SwapId, list[Intent]] = {}
        self._events: dict[SwapId, list[dict[str, Any]]] = {}

    async def create(self, record: SwapRecord) -> SwapRecord:
        self.records[record.swap_id] = replace(record, version=1)
        self._intents[record.swap_id], self._events[record.swap_id] = [], []
        return self.records[record.swap_id]

    async def load(self, swap_id: SwapId) -> SwapRecord | None:
        return self.records.get(swap_id)

    async def find(self, role: Role, idempotency_key: str) -> SwapRecord | None:
        found = (one for one in self.records.values() if (one.role, one.idempotency_key) == (role, idempotency_key))
        return next(found, None)

    async def list(self, *, role: Role | None = None, open_only: bool = False) -> Sequence[SwapRecord]:
        return [one for one in self.records.values() if role in (None, one.role) and not (open_only and one.is_final)]

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
    ) -> SwapRecord:
        await self.fault("before", event)
        current = self.records[record.swap_id]
        if current.version != record.version:
            raise StaleSwap("the swap moved on")
        keys = {one.key for one in self._intents[record.swap_id]}
        if any(one.key in keys for one in intents):
            raise JournalError("the intent exists already")
        if any(one.key.startswith(FUND_KEY_PREFIX) for one in intents):
            self._check_hash_is_free(record)
        self._intents[record.swap_id].extend(intents)
        written = replace(
            current,
            version=current.version + 1,
            state=state,
            is_final=is_final,
            updated_at=now,
            terms=current.terms if terms is None else terms,
        )
        self.records[record.swap_id] = written
        self._events[record.swap_id].append({"version": written.version, "event": event, "at": now, "state": state})
        await self.fault("after", event)
        return written

    def _check_hash_is_free(self, record: SwapRecord) -> None:
        for other in self.records.values():
            same = other.payment_hash == record.payment_hash and other.role is record.role
            if not same or other.is_final or other.swap_id == record.swap_id:
                continue
            if any(one.key.startswith(FUND_KEY_PREFIX) for one in self._intents[other.swap_id]):
                raise FundsRulesError("another open transfer has funded the same payment hash")

    async def record_outcome(self, swap_id: SwapId, key: str, outcome: Json) -> None:
        await self.fault("before", f"outcome of {key}")
        self._intents[swap_id] = [
            replace(one, outcome=outcome) if one.key == key and one.outcome is None else one
            for one in self._intents[swap_id]
        ]
        await self.fault("after", f"outcome of {key}")

    async def intents(self, swap_id: SwapId) -> Sequence[Intent]:
        return list(self._intents[swap_id])

    async def events(self, swap_id: SwapId) -> Sequence[Mapping[str, Any]]:
        return list(self._events[swap_id])

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None:
        await self.fault("before", "proof")
        self.proofs.setdefault(swap_id, proof)
        await self.fault("after", "proof")

    async def load_proof(self, swap_id: SwapId) -> bytes | None:
        return self.proofs.get(swap_id)
