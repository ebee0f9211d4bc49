"""``LayerRecords`` in an SQL database: single sends, nonces, and held coins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, select

from layer2.journal.database import Database
from layer2.journal.nonces import claim_nonces, forget_nonces, nonces_of, release_nonces
from layer2.journal.register import Departure, Register
from layer2.journal.schema import coins as coin_table
from layer2.journal.schema import sends
from layer2.journal.single_sends import AddSend, add_sends, hold_coins, send_where
from layer2.ports.journal import SendRecord
from layer2.ports.nonces import AccountNonces, NonceClaim, NonceUse

__all__ = ["SqlLayerRecords"]


class SqlLayerRecords:
    """What the clients of layers keep in the journal. A send is durable in the register, too, before it leaves."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._register: Register | None = None
        """That of the journal, once it was compared."""
        self._unregistered: dict[tuple[str, str], Departure] = {}
        """Sends whose record is in the journal, and not in the register yet: by protocol and key."""

    async def _depart(self, departure: Departure | None) -> None:
        if departure is None or self._register is None:
            return
        record = departure.record
        if isinstance(record, SendRecord):
            self._unregistered[record.protocol, record.idempotency_key] = departure
        await self._register.depart(departure)
        if isinstance(record, SendRecord):
            self._unregistered.pop((record.protocol, record.idempotency_key), None)

    async def add_send(self, record: SendRecord) -> SendRecord:
        """Write the record, or return the existing record of the same protocol and key.

        Raises:
            IdempotencyConflict: that record has another request.
        """
        return await self._add_send(AddSend(record))

    async def add_send_with_nonce(self, record: SendRecord, claim: NonceClaim) -> SendRecord:
        """See ``NonceRecords``."""
        return await self._add_send(AddSend(record, claim))

    async def add_send_of_coins(self, record: SendRecord, holder: str, coins: Sequence[str]) -> SendRecord:
        """As ``add_send``, and hold the coins that the send spends; both or neither. A record that exists already
        keeps its coins.

        Raises:
            As ``add_send``.
            FundsRulesError: code ``coins_held``: another holder has one of the coins; nothing was written.
        """
        return await self._add_send(AddSend(record, coins=coins, holder=holder))

    async def _add_send(self, given: AddSend) -> SendRecord:
        added = await self._database.write_together(add_sends, given, locks_nonces=given.claim is not None)
        await self._depart(added.departure)
        return added.record

    async def find_send(self, protocol: str, idempotency_key: str) -> SendRecord | None:
        """The record of that protocol and key, or None.

        A caller sends what it finds. So a record that the register lacks is written there first.
        """
        found = await self._database.read(
            lambda connection: send_where(connection, protocol, sends.c.idempotency_key == idempotency_key)
        )
        if found is not None:
            await self._depart(self._unregistered.get((protocol, idempotency_key)))
        return found

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        """The record of the transaction with that id, with any key, or None."""

        def work(connection: Connection) -> SendRecord | None:
            # A send without a key uses its id as the key and is found by it, but a caller's key can look like an id.
            record = send_where(connection, protocol, sends.c.idempotency_key == tx_id)
            is_found = record is not None and record.tx_id == tx_id
            return record if is_found else send_where(connection, protocol, sends.c.tx_id == tx_id)

        return await self._database.read(work)

    async def claim_nonces(self, claims: Sequence[NonceClaim]) -> None:
        """See ``NonceRecords``."""
        await self._database.write_together(claim_nonces, claims, locks_nonces=True)

    async def release_nonce(self, use: NonceUse) -> bool:
        """See ``NonceRecords``."""
        return await self._database.write_together(release_nonces, use, locks_nonces=True)

    async def nonces(self, protocol: str, account: str) -> AccountNonces:
        """See ``NonceRecords``."""
        return await self._database.read(lambda connection: nonces_of(connection, protocol, account))

    async def forget_nonces(self, protocol: str, account: str, count: int) -> None:
        """See ``NonceRecords``."""

        def work(connection: Connection) -> None:
            forget_nonces(connection, protocol, account, count)

        await self._database.write(work, locks_nonces=True)

    async def hold_coins(self, protocol: str, holder: str, coins: Sequence[str]) -> bool:
        """Hold these coins for one holder, all or none; return False if another holder has one of them."""
        return await self._database.write(lambda connection: hold_coins(connection, protocol, holder, coins))

    async def held_coins(self, protocol: str) -> Mapping[str, str]:
        """The holder of each held coin."""
        query = select(coin_table.c.coin, coin_table.c.holder).where(coin_table.c.protocol == protocol)
        return await self._database.read(lambda connection: {row.coin: row.holder for row in connection.execute(query)})

    async def release_coins(self, protocol: str, holder: str) -> None:
        """Release the coins of a holder. Can be repeated."""
        statement = delete(coin_table).where(coin_table.c.protocol == protocol, coin_table.c.holder == holder)
        await self._database.write(lambda connection: connection.execute(statement).close())
