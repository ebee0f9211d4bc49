"""The durable record of swaps, single sends and proofs, in one SQLite file.

Every method returns after COMMIT (WAL, synchronous=FULL). Several processes may read the same file. One of them acts:
it takes the guard with ``act`` first. The compare-and-set on a swap's version decides between the writers within it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_keep

from layer2.errors import IdempotencyConflict, StaleSwap
from layer2.legs.views import Verb
from layer2.model.transactions import SwapId
from layer2.ports.journal import Delivery, Intent, JournalOwner, Json, Role, SendRecord, SwapRecord
from layer2.swap_engine.database import Database
from layer2.swap_engine.process_guard import ProcessGuard
from layer2.swap_engine.rows import (
    add_event,
    add_intent,
    add_swap,
    check_hash_is_free,
    find_send,
    find_send_of,
    find_swap,
    one_swap,
    read_intent,
    read_json,
    read_swap,
    swap_that_holds,
    write_json,
)
from layer2.swap_engine.schema import events, intents, proofs, sends, swaps
from layer2.swap_engine.schema import owners as owner_table

__all__ = ["SqliteJournal"]

_ADD_SEND = insert_or_keep(sends).on_conflict_do_nothing()
_SEEN_BY_NODE = [Delivery.TAKEN.value, Delivery.UNKNOWN.value, Delivery.REJECTED.value]


class SqliteJournal:
    """``interfaces.SwapJournal`` and ``interfaces.SendRecords`` in a SQLite file, and the proofs.

    Example: ``journal = await SqliteJournal.open(path)``, ``await journal.act()`` where swaps are to be driven, and
    ``await journal.aclose()`` at the end.

    Raises, all methods: JournalError when the record cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = ProcessGuard(database.path)

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the journal, or begin a new one (mode 0600).

        Raises:
            JournalError: it cannot be opened, or a newer version of this package wrote it.
        """
        return cls(await Database.open(path))

    async def act(self) -> None:
        """Take the guard, and keep it until ``aclose``: from now on this object alone acts. Can be repeated.

        Raises:
            JournalBusy: another process acts on the file, or another object of this process.
            JournalError: the journal is closed.
        """
        self._database.check_open()
        self._guard.take()

    async def aclose(self) -> None:
        """Close the file, end its thread and give the guard back. Can be repeated."""
        await self._database.aclose()
        self._guard.give_back()

    async def create(self, record: SwapRecord) -> SwapRecord:
        """Add a swap as version 1; where its key or its quote is taken, return the record that has it and add nothing.

        A swap that was started from the quote without a key takes the key.

        Raises:
            IdempotencyConflict: the key is taken by another request, or the quote by a swap with another key.
        """
        return await self._database.write(
            lambda connection: swap_that_holds(connection, record) or add_swap(connection, record)
        )

    async def load(self, swap_id: SwapId) -> SwapRecord | None:
        """The swap as it is now, or None."""

        def work(connection: Connection) -> SwapRecord | None:
            row = connection.execute(select(swaps).where(swaps.c.swap_id == swap_id)).one_or_none()
            return None if row is None else read_swap(row)

        return await self._database.read(work)

    async def find(self, role: Role, idempotency_key: str) -> SwapRecord | None:
        """The swap of that role that holds the key, or else the newest that was abandoned under it, or None."""
        return await self._database.read(lambda connection: find_swap(connection, role, idempotency_key))

    async def list(self, *, role: Role | None = None, open_only: bool = False) -> Sequence[SwapRecord]:
        """All swaps, newest first."""
        query = select(swaps).order_by(swaps.c.number.desc())
        if role is not None:
            query = query.where(swaps.c.role == role.value)
        if open_only:
            query = query.where(swaps.c.is_final.is_(False))
        return await self._database.read(lambda connection: tuple(read_swap(row) for row in connection.execute(query)))

    async def released_under(self, payment_hash: bytes) -> Sequence[SwapRecord]:
        """A provider's final swaps under a hash, newest first: one of them may be what a late funding is for."""
        query = (
            select(swaps)
            .where(
                swaps.c.payment_hash == payment_hash, swaps.c.role == Role.PROVIDER.value, swaps.c.is_final.is_(True)
            )
            .order_by(swaps.c.number.desc())
        )
        return await self._database.read(lambda connection: tuple(read_swap(row) for row in connection.execute(query)))

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

        A key and a quote that were given back stay given back.

        Raises:
            StaleSwap: the swap moved on; nothing was written.
            FundsRulesError: another open swap of this role has an intent to fund under the same hash.
        """
        values: dict[str, Any] = {
            "version": record.version + 1,
            "state": write_json(state),
            "is_final": is_final,
            "attention": attention,
            "updated_at": now,
        }
        if terms is not None:
            values["terms"] = write_json(terms)
        if not holds_key:
            values["holds_key"] = False
        statement = (
            update(swaps).where(swaps.c.swap_id == record.swap_id, swaps.c.version == record.version).values(values)
        )

        def work(connection: Connection) -> SwapRecord:
            if connection.execute(statement).rowcount != 1:
                raise StaleSwap("the swap moved on", transfer_id=record.swap_id)
            if any(intent.verb == Verb.FUND.value for intent in intents):
                check_hash_is_free(connection, record)
            for intent in intents:
                add_intent(connection, record.swap_id, intent)
            add_event(connection, record.swap_id, record.version + 1, event, now, state)
            return one_swap(connection, record.swap_id)

        return await self._database.write(work)

    async def record_delivery(self, swap_id: SwapId, number: int, delivery: Delivery) -> None:
        """Write what is known of an intent's way out. What the node may have seen, it may have seen forever:
        ``TAKEN``, ``UNKNOWN`` and ``REJECTED`` never go back to a delivery before them."""
        statement = update(intents).where(intents.c.swap_id == swap_id, intents.c.number == number)
        if delivery.value not in _SEEN_BY_NODE:
            statement = statement.where(intents.c.delivery.not_in(_SEEN_BY_NODE))
        statement = statement.values(delivery=delivery.value)
        await self._database.write(lambda connection: connection.execute(statement).close())

    async def intents(self, swap_id: SwapId) -> Sequence[Intent]:
        """All intents of a swap, oldest first."""
        query = select(intents).where(intents.c.swap_id == swap_id).order_by(intents.c.number)
        return await self._database.read(
            lambda connection: tuple(read_intent(row) for row in connection.execute(query))
        )

    async def events(self, swap_id: SwapId) -> Sequence[Mapping[str, Any]]:
        """All events of a swap, oldest first: ``version``, ``event``, ``at``, ``state``."""
        query = select(events).where(events.c.swap_id == swap_id).order_by(events.c.version)
        return await self._database.read(
            lambda connection: tuple(
                {"version": row.version, "event": row.event, "at": row.at, "state": read_json(row.state)}
                for row in connection.execute(query)
            )
        )

    async def owners(self) -> Sequence[JournalOwner]:
        """Whose swaps the journal holds."""
        query = select(owner_table).order_by(owner_table.c.kind, owner_table.c.value)
        return await self._database.read(
            lambda connection: tuple(JournalOwner(row.kind, row.value) for row in connection.execute(query))
        )

    async def add_owners(self, owners: Sequence[JournalOwner]) -> None:
        """Allow more of them; those that are known stay as they are."""
        rows = [{"kind": owner.kind, "value": owner.value} for owner in owners]
        if rows:
            statement = insert_or_keep(owner_table).values(rows).on_conflict_do_nothing()
            await self._database.write(lambda connection: connection.execute(statement).close())

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None:
        """Keep the proof of a swap, in the place of one that is kept already."""
        statement = insert_or_keep(proofs).values(swap_id=swap_id, proof=proof)
        statement = statement.on_conflict_do_update(index_elements=[proofs.c.swap_id], set_={"proof": proof})
        await self._database.write(lambda connection: connection.execute(statement).close())

    async def load_proof(self, swap_id: SwapId) -> bytes | None:
        """The proof of a swap, or None while there is none."""
        query = select(proofs.c.proof).where(proofs.c.swap_id == swap_id)
        found: bytes | None = await self._database.read(
            lambda connection: connection.execute(query).scalar_one_or_none()
        )
        return found

    async def add_send(self, record: SendRecord) -> SendRecord:
        """Write the record, or return the one that has the same protocol and key.

        Raises:
            IdempotencyConflict: the key is known with another request.
        """

        def work(connection: Connection) -> SendRecord:
            added = connection.execute(
                _ADD_SEND,
                {
                    "protocol": record.protocol,
                    "idempotency_key": record.idempotency_key,
                    "request": record.request,
                    "tx_id": record.tx_id,
                    "act": write_json(record.act),
                },
            ).rowcount
            if added:
                return record
            known = find_send(connection, record.protocol, record.idempotency_key)
            assert known is not None
            if known.request != record.request:
                raise IdempotencyConflict(
                    "the idempotency key was used with another request; nothing was sent",
                    protocol=record.protocol,
                    tx_id=known.tx_id,
                )
            return known

        return await self._database.write(work)

    async def find_send(self, protocol: str, idempotency_key: str) -> SendRecord | None:
        """The record of that protocol and key, or None."""
        return await self._database.read(lambda connection: find_send(connection, protocol, idempotency_key))

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        """The record of the transaction with that id, whatever its key, or None."""

        def work(connection: Connection) -> SendRecord | None:
            # What was sent without a key has its id for one, and is found by it; but anyone's key can look like an id.
            record = find_send(connection, protocol, tx_id)
            is_found = record is not None and record.tx_id == tx_id
            return record if is_found else find_send_of(connection, protocol, tx_id)

        return await self._database.read(work)
