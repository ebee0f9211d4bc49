"""The durable record of swaps, single sends and proofs, in a SQLite file or on a PostgreSQL server.

Every method returns after a durable COMMIT. Several processes may read the same journal. Only the process that has
taken the guard with ``act`` may act. Within it, a compare-and-set on a swap's version decides between writers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self, TypeVar

from sqlalchemy import Connection, delete, select

from layer2.errors import ConfigurationError, InvalidRequest, JournalBusy, JournalError, Layer2Error
from layer2.journal.acceptances import Accepted, accept_swaps
from layer2.journal.database import Database
from layer2.journal.guards import Guard
from layer2.journal.inspection import problems_of
from layer2.journal.layer_records import SqlLayerRecords
from layer2.journal.lineage import lineage_of
from layer2.journal.opening import guard_of, open_database
from layer2.journal.place import JournalPlace
from layer2.journal.register import is_kept
from layer2.journal.registration import check_register_exists, compared_register
from layer2.journal.rows import insert_or_keep, upsertion
from layer2.journal.schema import owners as owner_table
from layer2.journal.schema import proofs, sends, swaps
from layer2.journal.swap_reads import SwapReads
from layer2.journal.transitions import (
    Advance,
    Beginning,
    Delivered,
    advance_swaps,
    begin_deliveries,
    create_swaps,
    record_deliveries,
)
from layer2.model.transactions import SwapId
from layer2.ports.journal import Delivery, Intent, JournalOwner, Json, SeenSwaps, SwapRecord
from layer2.ports.nonces import NonceClaim

__all__ = ["SqlJournal"]

Added = TypeVar("Added", SwapRecord, SwapRecord | None)
_LOOK_SECONDS: Final = 5.0
"""Between two looks at whether another process has taken over."""


class SqlJournal(SwapReads, SqlLayerRecords):
    """``Journal`` in an SQL database: the guard and the register, and what is written of swaps and their proofs.

    Example: ``journal = await SqlJournal.open(path)``, then ``await journal.act()`` to drive swaps, and
    ``await journal.aclose()`` at the end.

    Raises, all methods: JournalError when the record cannot be read or written.
    """

    def __init__(self, database: Database, guard: Guard, register_place: JournalPlace | None = None) -> None:
        SwapReads.__init__(self, database)
        SqlLayerRecords.__init__(self, database)
        self._guard = guard
        self._register_place = register_place
        self._is_compared = False
        self._comparing = asyncio.Lock()

    @classmethod
    async def open(cls, place: JournalPlace | str | Path, register: JournalPlace | str | Path | None = None) -> Self:
        """Open the journal, or create it.

        Args:
            place: the path of a SQLite file, which is created with mode 0600; or the URL of a PostgreSQL database,
                ``postgresql://USER@HOST/DATABASE``, which must exist.
            register: a second place, which shows whether the journal is an old copy. ``act`` opens or creates it.

        Raises:
            InvalidRequest: a place is neither, or both are the same.
            ConfigurationError: the extra for PostgreSQL is not installed, or its server does not fsync.
            JournalError: it cannot be opened, or a newer version of this package wrote it.
        """
        place = JournalPlace.of(place)
        register = None if register is None else JournalPlace.of(register)
        if register == place:
            raise InvalidRequest("the register is the journal itself", remedy="name another file or database")
        return cls(await open_database(place), guard_of(place), register)

    async def act(self, *, shared: bool = False) -> None:
        """Take the guard until ``aclose``: from now on only this object acts, or those that share it. Can be repeated.

        The first call compares the journal with its register. If the journal is an old copy, its open swaps are marked,
        and what it lacks is added from the register. A register has one writer, so a shared journal cannot have one.

        Args:
            shared: act together with the other objects that share the guard.

        Raises:
            JournalBusy: another process acts on the journal, or another object in this process.
            ConfigurationError: ``shared``, and the journal is a SQLite file or has a register.
            JournalError: the journal is closed; or code ``register_missing`` or ``register_of_another``: it cannot be
                compared.
        """
        self._database.check_open()
        async with self._comparing:
            if not self._is_compared:
                await self._act_first(shared=shared)
                return
            await self._guard.take(self._database.session_id if shared else None)
        # Without the lock, so that calls at the same time share a commit.
        await self._database.take_over(self._guard.is_held, shared=shared)

    async def _act_first(self, *, shared: bool) -> None:
        if not shared:
            # Before another process is excluded: this one could not take its place.
            await check_register_exists(self._database, self._register_place)
        await self._guard.take(self._database.session_id if shared else None)
        try:
            await self._database.take_over(self._guard.is_held, shared=shared)
            if shared:
                # With the guard, because a single process can give the journal a register.
                await self._check_has_no_register()
            self._register = await compared_register(self._database, self._register_place)
        except Layer2Error:
            # The next call takes it again.
            await self._guard.give_back()
            raise
        self._is_compared = True

    async def _check_has_no_register(self) -> None:
        _, had_register = await self._database.read(lineage_of)
        if had_register or self._register_place is not None:
            raise ConfigurationError(
                "workers cannot act on a journal that has a register, because a register has one writer",
                code="register_not_shared",
                remedy="run layer2 journal release-register and name no register in [journal], or use no workers",
            )

    async def workers(self) -> frozenset[str]:
        """The ids of the processes that share the lock now, this one included."""
        return await self._database.read(self._database.live_workers)

    async def replaced(self) -> JournalError:
        """Return, with the reason, when this object can no longer act although it was not closed; otherwise never.

        Another process acts on the journal, or with its register on a copy of it; or its server continues with a copy
        that lacks what this object has written. From then on every write of this object fails, or nothing that has to
        be registered leaves.
        """
        lost = asyncio.ensure_future(self._guard.lost())
        try:
            # The guard can be free again, and taken again, after another process acted and ended. The lock file of a
            # SQLite journal can be removed. The fence shows both.
            while not lost.done():
                if (problem := await self._database.why_it_cannot_write()) is not None:
                    return problem
                # A process on another machine can act on a copy of the journal, with the same register.
                if (problem := await self._problem_of_register()) is not None:
                    return problem
                await asyncio.wait((lost,), timeout=_LOOK_SECONDS)
            return JournalBusy(f"another process has taken over {self._database.name}", remedy="end this process")
        finally:
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)

    async def _problem_of_register(self) -> JournalError | None:
        if self._register is None:
            return None
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                return await self._register.why_it_cannot_write()
        except TimeoutError:
            return None

    async def aclose(self) -> None:
        """Close the database and the register, end their threads and release the guard. Can be repeated."""
        await self._database.aclose()
        if self._register is not None:
            await self._register.aclose()
        await self._guard.give_back()

    async def create(self, record: SwapRecord) -> SwapRecord:
        """Add a swap as version 1. If another swap holds its key or its quote, add nothing and return that swap.

        A swap that was started from the quote without a key receives the key. A swap with terms is durable in the
        register before it is added.

        Raises:
            IdempotencyConflict: another request holds the key, or a swap with another key holds the quote.
        """
        return await self._added(record, lambda: self._database.write_together(create_swaps, record))

    async def accept(self, record: SwapRecord, seen: SeenSwaps, reads: int) -> SwapRecord | None:
        """See ``SwapJournal``."""
        given = Accepted(record, seen, reads)
        return await self._added(
            record, lambda: self._database.write_together(accept_swaps, given, locks_acceptances=True)
        )

    async def _added(self, record: SwapRecord, write: Callable[[], Awaitable[Added]]) -> Added:
        """The result of a write that may add a swap."""
        await self._agree(replace(record, version=1), None)
        try:
            created = await write()
        except Layer2Error:
            if self._register is not None:
                # While the journal cannot be read, it is not known whether the swap was agreed.
                with suppress(JournalError):
                    if await self.load(record.swap_id) is None:
                        self._register.forget(record.swap_id)
            raise
        if self._register is not None and (created is None or created.swap_id != record.swap_id):
            self._register.forget(record.swap_id)
            if created is not None and is_kept(created):
                # The key may be new.
                await self._register.add(created)
        return created

    async def _agree(self, record: SwapRecord, before: SwapRecord | None) -> None:
        """Write a swap to the register before the journal.

        Args:
            before: as it is in the journal; None for a new swap.
        """
        if self._register is None or not is_kept(record):
            return
        try:
            await self._register.add(record)
        except BaseException:
            # It is not agreed. What could not be written must not be written later.
            if before is not None and is_kept(before):
                self._register.keep(before)
            else:
                self._register.forget(record.swap_id)
            raise

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

        Terms are durable in the register first. A key and a quote that were released stay released. The coins of a swap
        that ends are released.

        Raises:
            StaleSwap: another task advanced the swap; nothing was written.
            NonceTaken: another transaction has one of the nonces; nothing was written.
            FundsRulesError: another open swap of this role has an intent to fund the same hash, or a swap has paid it.
        """
        if terms is not None or (record.is_final and not is_final):
            agreed = replace(record, version=record.version + 1, state=state, is_final=is_final, updated_at=now)
            await self._agree(agreed if terms is None else replace(agreed, terms=terms), record)
        advance = Advance(record, state, is_final, event, now, terms, intents, attention, holds_key, nonces)
        advanced = await self._database.write_together(advance_swaps, advance, locks_nonces=bool(nonces))
        if self._register is not None and is_final:
            self._register.end(advanced)
        return advanced

    async def begin_delivery(
        self, record: SwapRecord, intent: Intent, attempt: str, *, nonces: Sequence[NonceClaim] = ()
    ) -> Delivery:
        """Note that an attempt to send an intent begins, if ``record.version`` and ``intent.delivery`` are current, or
        if this call has begun it before. It is durable in the register, too.

        Raises:
            StaleSwap: they are not; nothing may be sent.
            NonceTaken: another transaction has one of the nonces; nothing was written.
        """
        beginning = Beginning(record.swap_id, record.version, intent.number, intent.delivery, attempt, nonces)
        begun = await self._database.write_together(begin_deliveries, beginning, locks_nonces=bool(nonces))
        await self._depart(begun.departure)
        return begun.delivery

    async def record_delivery(
        self,
        record: SwapRecord,
        number: int,
        delivery: Delivery,
        *,
        attempt: str | None = None,
        nonces: Sequence[NonceClaim] = (),
    ) -> Delivery:
        """Write what is known of an intent's delivery after an attempt, and return what the journal now contains.

        ``TAKEN``, ``UNKNOWN`` and ``REJECTED`` never change back, because the node may have seen the act. ``UNSENT``
        counts as ``UNKNOWN`` if another task has advanced the swap since the attempt began, or another worker sends a
        transaction of ``nonces``; of an attempt that the journal does not have it changes nothing.
        """
        nonces = nonces if delivery is Delivery.UNSENT else ()
        delivered = Delivered(record.swap_id, record.version, number, delivery, attempt, nonces)
        return await self._database.write_together(record_deliveries, delivered, locks_nonces=bool(nonces))

    async def add_owners(self, owners: Sequence[JournalOwner], *, known: Sequence[JournalOwner] | None = None) -> bool:
        """Add owners, if the journal has exactly the ``known`` ones; return whether that was so."""

        def work(connection: Connection) -> bool:
            found = {JournalOwner(row.kind, row.value) for row in connection.execute(select(owner_table))}
            is_expected = known is None or found == set(known)
            if is_expected and (rows := [{"kind": owner.kind, "value": owner.value} for owner in owners]):
                connection.execute(insert_or_keep(connection, owner_table).values(rows))
            return is_expected

        is_added = await self._database.write(work)
        if is_added and owners and self._register is not None:
            await self._register.add_owners(owners)
        return is_added

    async def release_owners(self) -> bool:
        """Remove the owners of a journal that holds neither a swap nor a send, if no other worker acts on it.

        Returns:
            Whether they were removed.
        """

        def work(connection: Connection) -> bool:
            if self._database.has_other_workers(connection):
                return False
            used = connection.execute(select(swaps.c.number).limit(1)).first()
            used = used or connection.execute(select(sends.c.protocol).limit(1)).first()
            if used is None:
                connection.execute(delete(owner_table))
            return used is None

        return await self._database.write(work)

    async def problems(self) -> Sequence[str]:
        """What is wrong with the journal's rows, one sentence for each problem; empty if they are sound."""
        return await self._database.read(problems_of)

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None:
        """Save the proof of a swap; it replaces an earlier one."""
        row = {"swap_id": swap_id, "proof": proof}
        await self._database.write(
            lambda connection: connection.execute(
                upsertion(connection.dialect.name, proofs, ("swap_id", "proof")), row
            ).close()
        )
