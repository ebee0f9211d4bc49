"""A record of single sends and held coins without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layer2.errors import FundsRulesError, IdempotencyConflict, NonceTaken
from layer2.journal.nonces import may_take
from layer2.ports.journal import SendRecord
from layer2.ports.nonces import AccountNonces, NonceClaim, NonceUse

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
    """Also the coins that are held, by protocol and coin, and the nonces that transactions have."""

    def __init__(self) -> None:
        super().__init__()
        self.coins: dict[tuple[str, str], str] = {}
        self.used: dict[tuple[str, str, int], NonceUse] = {}
        self.final: dict[tuple[str, str], int] = {}

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

    async def add_send_with_nonce(self, record: SendRecord, claim: NonceClaim) -> SendRecord:
        if (record.protocol, record.idempotency_key) not in self.records:
            await self.claim_nonces([claim])
        return await self.add_send(record)

    async def claim_nonces(self, claims: Sequence[NonceClaim]) -> None:
        keys = [(claim.use.protocol, claim.use.account, claim.use.nonce) for claim in claims]
        for key, claim in zip(keys, claims, strict=True):
            if not may_take(self.used.get(key), claim, self.final.get(key[:2], 0)):
                raise NonceTaken("another transaction has the nonce")
        self.used |= {key: claim.use for key, claim in zip(keys, claims, strict=True)}

    async def release_nonce(self, use: NonceUse) -> bool:
        key = use.protocol, use.account, use.nonce
        return self.used.get(key) == use and self.used.pop(key) == use

    async def nonces(self, protocol: str, account: str) -> AccountNonces:
        uses = [use for key, use in sorted(self.used.items()) if key[:2] == (protocol, account)]
        return AccountNonces(self.final.get((protocol, account), 0), uses)

    async def forget_nonces(self, protocol: str, account: str, count: int) -> None:
        self.final[protocol, account] = max(count, self.final.get((protocol, account), 0))
        self.used = {key: use for key, use in self.used.items() if key[:2] != (protocol, account) or key[2] >= count}
