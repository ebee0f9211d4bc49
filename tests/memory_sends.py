"""A record of single sends and held coins without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layer2.errors import FundsRulesError, IdempotencyConflict
from layer2.ports.journal import SendRecord

__all__ = ["MemoryRecords", "MemorySends"]


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


class MemoryRecords(MemorySends):
    """Also the coins that are held, by protocol and coin."""

    def __init__(self) -> None:
        super().__init__()
        self.coins: dict[tuple[str, str], str] = {}

    async def hold_coins(self, protocol: str, holder: str, coins: Sequence[str]) -> bool:
        if any(self.coins.get((protocol, coin), holder) != holder for coin in coins):
            return False
        self.coins |= {(protocol, coin): holder for coin in coins}
        return True

    async def held_coins(self, protocol: str) -> Mapping[str, str]:
        return {coin: holder for (of, coin), holder in self.coins.items() if of == protocol}

    async def release_coins(self, protocol: str, holder: str) -> None:
        self.coins = {key: held_by for key, held_by in self.coins.items() if (key[0], held_by) != (protocol, holder)}

    async def add_send_of_coins(self, record: SendRecord, holder: str, coins: Sequence[str]) -> SendRecord:
        if (record.protocol, record.idempotency_key) not in self.records and not await self.hold_coins(
            record.protocol, holder, coins
        ):
            raise FundsRulesError("another holder has one of the coins", code="coins_held")
        return await self.add_send(record)
