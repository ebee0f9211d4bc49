"""The durable record of swaps, single sends and proofs, in one SQLite file.

Every method returns after COMMIT (WAL, synchronous=FULL). Several processes may open the same file: the
compare-and-set on a swap's version decides between them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_keep
from sqlalchemy.exc import IntegrityError

from layer2.errors import FundsRulesError, IdempotencyConflict, JournalError, StaleSwap
from layer2.interfaces import Intent, Json, Role, SendRecord, SwapRecord
from layer2.swap_engine.database import Database
from layer2.swap_engine.schema import events, intents, proofs, sends, swaps
from layer2.transactions import SwapId

__all__ = ["FUND_KEY_PREFIX", "SqliteJournal"]

FUND_KEY_PREFIX = "fund."
"""Keys of intents to fund a leg begin so; of these, one hash has at most one among open swaps of a role."""

_ADD_SEND = insert_or_keep(sends).on_conflict_do_nothing()


class SqliteJournal:
    """``interfaces.SwapJournal`` and ``interfaces.SendRecords`` in a SQLite file, and the proofs.

    Example: ``journal = await SqliteJournal.open(path)``, and ``await journal.aclose()`` at the end.

    Raises, all methods: JournalError when the record cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the journal, or begin a new one (mode 0600).

        Raises:
            JournalError: it cannot be opened, or a newer version of this package wrote it.
        """
        return cls(await Database.open(path))

    async def aclose(self) -> None:
        """Close the file and end its thread. Can be repeated."""
        await self._database.aclose()

    async def create(self, record: SwapRecord) -> SwapRecord:
        """Add a swap as version 1; with a known idempotency key return the record that has it and add nothing.

        Which provider serves is an answer, not part of what was asked: requests are compared without ``provider``.

        Raises:
            IdempotencyConflict: the key is known with another request.
        """

        def work(connection: Connection) -> SwapRecord:
            if record.idempotency_key is not None:
                known = _find_swap(connection, record.role, record.idempotency_key)
                if known is not None:
                    return _same_request(known, record)
            try:
                connection.execute(
                    insert(swaps).values(
                        swap_id=record.swap_id,
                        role=record.role.value,
                        version=1,
                        state=_write(record.state),
                        is_final=record.is_final,
                        payment_hash=record.payment_hash,
                        terms=None if record.terms is None else _write(record.terms),
                        request=_write(record.request),
                        idempotency_key=record.idempotency_key,
                        created_at=record.created_at,
                        updated_at=record.updated_at,
                    )
                )
            except IntegrityError as error:
                raise JournalError("the journal has a swap with that id already", transfer_id=record.swap_id) from error
            _add_event(connection, record.swap_id, 1, "created", record.created_at, record.state)
            return _one(connection, record.swap_id)

        return await self._database.write(work)

    async def load(self, swap_id: SwapId) -> SwapRecord | None:
        """The swap as it is now, or None."""

        def work(connection: Connection) -> SwapRecord | None:
            row = connection.execute(select(swaps).where(swaps.c.swap_id == swap_id)).one_or_none()
            return None if row is None else _read_record(row)

        return await self._database.read(work)

    async def find(self, role: Role, idempotency_key: str) -> SwapRecord | None:
        """The swap of that role that has the key, or None."""
        return await self._database.read(lambda connection: _find_swap(connection, role, idempotency_key))

    async def list(self, *, role: Role | None = None, open_only: bool = False) -> Sequence[SwapRecord]:
        """All swaps, newest first."""
        query = select(swaps).order_by(swaps.c.number.desc())
        if role is not None:
            query = query.where(swaps.c.role == role.value)
        if open_only:
            query = query.where(swaps.c.is_final.is_(False))
        return await self._database.read(
            lambda connection: tuple(_read_record(row) for row in connection.execute(query))
        )

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
        """Write the next state, its intents and an event in one transaction, if ``record.version`` is current.

        Raises:
            StaleSwap: the swap moved on; nothing was written.
            FundsRulesError: another open swap of this role has an intent to fund under the same hash.
        """

        def work(connection: Connection) -> SwapRecord:
            changed = connection.execute(
                update(swaps)
                .where(swaps.c.swap_id == record.swap_id, swaps.c.version == record.version)
                .values(
                    version=record.version + 1,
                    state=_write(state),
                    is_final=is_final,
                    updated_at=now,
                    **({} if terms is None else {"terms": _write(terms)}),
                )
            ).rowcount
            if changed != 1:
                raise StaleSwap("the swap moved on", transfer_id=record.swap_id)
            if any(intent.key.startswith(FUND_KEY_PREFIX) for intent in intents):
                _check_hash_is_free(connection, record)
            for intent in intents:
                _add_intent(connection, record.swap_id, intent)
            _add_event(connection, record.swap_id, record.version + 1, event, now, state)
            return _one(connection, record.swap_id)

        return await self._database.write(work)

    async def record_outcome(self, swap_id: SwapId, key: str, outcome: Json) -> None:
        """Say what became of an intent. The first outcome stays."""
        statement = (
            update(intents)
            .where(intents.c.swap_id == swap_id, intents.c.key == key, intents.c.outcome.is_(None))
            .values(outcome=_write(outcome))
        )
        await self._database.write(lambda connection: connection.execute(statement).close())

    async def intents(self, swap_id: SwapId) -> Sequence[Intent]:
        """All intents of a swap, oldest first."""
        query = select(intents).where(intents.c.swap_id == swap_id).order_by(intents.c.number)
        return await self._database.read(
            lambda connection: tuple(
                Intent(row.key, _read(row.act), None if row.outcome is None else _read(row.outcome))
                for row in connection.execute(query)
            )
        )

    async def events(self, swap_id: SwapId) -> Sequence[Mapping[str, Any]]:
        """All events of a swap, oldest first: ``version``, ``event``, ``at``, ``state``."""
        query = select(events).where(events.c.swap_id == swap_id).order_by(events.c.version)
        return await self._database.read(
            lambda connection: tuple(
                {"version": row.version, "event": row.event, "at": row.at, "state": _read(row.state)}
                for row in connection.execute(query)
            )
        )

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None:
        """Keep the proof of a swap. The first one stays."""
        statement = insert_or_keep(proofs).values(swap_id=swap_id, proof=proof).on_conflict_do_nothing()
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
                    "act": _write(record.act),
                },
            ).rowcount
            if added:
                return record
            known = _find_send(connection, record.protocol, record.idempotency_key)
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
        return await self._database.read(lambda connection: _find_send(connection, protocol, idempotency_key))

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        """The record of the transaction with that id, whatever its key, or None."""

        def work(connection: Connection) -> SendRecord | None:
            # What was sent without a key has its id for one, and is found by it; but anybody's key can look like an id.
            record = _find_send(connection, protocol, tx_id)
            is_found = record is not None and record.tx_id == tx_id
            return record if is_found else _find_send_of(connection, protocol, tx_id)

        return await self._database.read(work)


def _write(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _read(text: str) -> Json:
    value: Json = json.loads(text)
    return value


def _read_record(row: Row[Any]) -> SwapRecord:
    return SwapRecord(
        swap_id=SwapId(row.swap_id),
        role=Role(row.role),
        version=row.version,
        state=_read(row.state),
        is_final=row.is_final,
        payment_hash=row.payment_hash,
        terms=None if row.terms is None else _read(row.terms),
        request=_read(row.request),
        idempotency_key=row.idempotency_key,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _one(connection: Connection, swap_id: SwapId) -> SwapRecord:
    return _read_record(connection.execute(select(swaps).where(swaps.c.swap_id == swap_id)).one())


def _find_swap(connection: Connection, role: Role, idempotency_key: str) -> SwapRecord | None:
    row = connection.execute(
        select(swaps).where(swaps.c.role == role.value, swaps.c.idempotency_key == idempotency_key)
    ).one_or_none()
    return None if row is None else _read_record(row)


def _same_request(known: SwapRecord, asked: SwapRecord) -> SwapRecord:
    def without_provider(request: Json) -> str:
        return _write({name: value for name, value in request.items() if name != "provider"})

    if without_provider(known.request) != without_provider(asked.request):
        raise IdempotencyConflict(
            "the idempotency key was used with another request; nothing was begun", transfer_id=known.swap_id
        )
    return known


def _check_hash_is_free(connection: Connection, record: SwapRecord) -> None:
    # In the transaction that writes the intent, so that two swaps cannot both find the hash free.
    others = connection.execute(
        select(func.count())
        .select_from(intents.join(swaps, intents.c.swap_id == swaps.c.swap_id))
        .where(
            swaps.c.payment_hash == record.payment_hash,
            swaps.c.role == record.role.value,
            swaps.c.swap_id != record.swap_id,
            swaps.c.is_final.is_(False),
            intents.c.key.startswith(FUND_KEY_PREFIX, autoescape=True),
        )
    ).scalar_one()
    if others:
        raise FundsRulesError("another open transfer has funded the same payment hash", transfer_id=record.swap_id)


def _add_intent(connection: Connection, swap_id: SwapId, intent: Intent) -> None:
    try:
        connection.execute(
            insert(intents).values(
                swap_id=swap_id,
                key=intent.key,
                act=_write(intent.act),
                outcome=None if intent.outcome is None else _write(intent.outcome),
            )
        )
    except IntegrityError as error:
        raise JournalError(f"the intent {intent.key!r} exists already", transfer_id=swap_id) from error


def _add_event(connection: Connection, swap_id: SwapId, version: int, event: str, at: int, state: Json) -> None:
    connection.execute(insert(events).values(swap_id=swap_id, version=version, event=event, at=at, state=_write(state)))


def _find_send(connection: Connection, protocol: str, key: str) -> SendRecord | None:
    found = select(sends).where(sends.c.protocol == protocol, sends.c.idempotency_key == key)
    return _read_send(connection.execute(found).one_or_none())


def _find_send_of(connection: Connection, protocol: str, tx_id: str) -> SendRecord | None:
    found = select(sends).where(sends.c.protocol == protocol, sends.c.tx_id == tx_id).limit(1)
    return _read_send(connection.execute(found).one_or_none())


def _read_send(row: Row[Any] | None) -> SendRecord | None:
    return (
        None if row is None else SendRecord(row.protocol, row.idempotency_key, row.request, row.tx_id, _read(row.act))
    )
