"""A record of single sends without a database."""

from __future__ import annotations

from layer2.errors import IdempotencyConflict
from layer2.ports.journal import SendRecord

__all__ = ["MemorySends"]


class MemorySends:
    """Send records that survive a client, but not the test."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], SendRecord] = {}

    async def add_send(self, record: SendRecord) -> SendRecord:
        known = self.records.setdefault((record.protocol, record.idempotency_key), record)
        if known.request != record.request:
            raise IdempotencyConflict("the key is known with another request")
        return known

    async def find_send(self, protocol: str, idempotency_key: str) -> SendRecord | None:
        return self.records.get((protocol, idempotency_key))

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        found = [record for record in self.records.values() if (record.protocol, record.tx_id) == (protocol, tx_id)]
        return found[0] if found else None
