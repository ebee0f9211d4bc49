"""The durable record of swaps, single sends and proofs, in a SQLite file or on a PostgreSQL server.

Every method returns after a durable COMMIT. Several processes may read the same journal. Only the process that has
taken the guard with ``act`` may act. Within it, a compare-and-set on a swap's version decides between writers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Final, Self, TypeVar

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Executable,
    bindparam,
    cast,
    delete,
    func,
    select,
    true,
    type_coerce,
)

from layer2.errors import ConfigurationError, InvalidRequest, JournalBusy, JournalError, Layer2Error
from layer2.journal.acceptances import Accepted, accept_swaps, last_number
from layer2.journal.database import Database
from layer2.journal.guards import Guard
from layer2.journal.inspection import problems_of
from layer2.journal.lineage import lineage_of
from layer2.journal.nonces import claim_nonces, forget_nonces, nonces_of, release_nonces
from layer2.journal.opening import guard_of, open_database
from layer2.journal.place import JournalPlace
from layer2.journal.register import Departure, Register, is_kept
from layer2.journal.registration import check_register_exists, compared_register
from layer2.journal.rows import SWAPS, first_swap, insert_or_keep, upsertion
from layer2.journal.schema import coins as coin_table
from layer2.journal.schema import events, intents, proofs, sends, swaps
from layer2.journal.schema import owners as owner_table
from layer2.journal.single_sends import AddSend, add_sends, hold_coins, send_where
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
from layer2.ports.journal import (
    Delivery,
    Intent,
    JournalOwner,
    Json,
    OpenRow,
    Role,
    SeenSwaps,
    SendRecord,
    SwapRecord,
)
from layer2.ports.nonces import AccountNonces, NonceClaim, NonceUse

__all__ = ["SqlJournal"]

Added = TypeVar("Added", SwapRecord, SwapRecord | None)
_LOOK_SECONDS: Final = 5.0
"""Between two looks at whether another process has taken over."""
_PAGE: Final = 1_000
"""Rows of a page of open swaps."""
_SWAP = SWAPS.where(swaps.c.swap_id == bindparam("of"))
_NEWEST_FIRST = SWAPS.order_by(swaps.c.number.desc())


class SqlJournal:
    """``SwapJournal``, ``SendRecords``, ``CoinHolds`` and the proofs in an SQL database.

    Example: ``journal = await SqlJournal.open(path)``, then ``await journal.act()`` to drive swaps, and
    ``await journal.aclose()`` at the end.

    Raises, all methods: JournalError when the record cannot be read or written.
    """

    def __init__(self, database: Database, guard: Guard, register_place: JournalPlace | None = None) -> None:
        self._database = database
        self._guard = guard
        self._register_place = register_place
        self._register: Register | None = None
        self._unregistered: dict[tuple[str, str], Departure] = {}
        """Sends whose record is in the journal, and not in the register yet: by protocol and key."""
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

    async def last_number(self, role: Role) -> int:
        """The number of the newest swap of that role, 0 without one."""
        return await self._database.read(lambda connection: last_number(connection, role))

    async def swaps_after(self, role: Role, number: int) -> Sequence[tuple[int, SwapRecord]]:
        """See ``SwapJournal``."""
        return await self._numbered(swaps.c.role == role, swaps.c.number > number)

    async def load(self, swap_id: SwapId) -> SwapRecord | None:
        """The newest version of the swap, or None."""
        return await self._database.read(lambda connection: first_swap(connection, _SWAP, {"of": swap_id}))

    async def find(self, role: Role, idempotency_key: str) -> SwapRecord | None:
        """The swap of that role that holds the key, otherwise the newest swap that was abandoned with it, or None."""
        query = (
            SWAPS.where(swaps.c.role == role, swaps.c.idempotency_key == idempotency_key)
            .order_by(swaps.c.holds_key.desc(), swaps.c.number.desc())
            .limit(1)
        )
        return await self._database.read(lambda connection: first_swap(connection, query))

    async def find_quote(self, role: Role, quote_id: str) -> SwapRecord | None:
        """The swap of that role that holds the quote, or None."""
        query = SWAPS.where(swaps.c.role == role, swaps.c.quote_id == quote_id, swaps.c.holds_key)
        return await self._database.read(lambda connection: first_swap(connection, query))

    async def list(self, *, role: Role | None = None, open_only: bool = False) -> Sequence[SwapRecord]:
        """All swaps, newest first."""
        query = _NEWEST_FIRST
        if role is not None:
            query = query.where(swaps.c.role == role)
        if open_only:
            query = query.where(swaps.c.is_final.is_(False))
        return await self._swaps(query)

    async def plans(self) -> Sequence[SwapRecord]:
        """The open swaps without terms, newest first."""
        return await self._swaps(_NEWEST_FIRST.where(swaps.c.is_final.is_(False), swaps.c.terms.is_(None)))

    async def open_rows(self, role: Role, before: int | None = None) -> Sequence[OpenRow]:
        """One page of the open swaps that have terms, newest first; empty after the last page.

        Args:
            before: the number of the last row of the page before; None for the first page.
        """
        condition = swaps.c.number < before if before is not None else true()

        def work(connection: Connection) -> tuple[OpenRow, ...]:
            query = (
                select(swaps.c.number, swaps.c.swap_id, _collect_by(connection))
                .where(swaps.c.role == role, swaps.c.is_final.is_(False), swaps.c.terms.is_not(None), condition)
                .order_by(swaps.c.number.desc())
                .limit(_PAGE)
            )
            return tuple(OpenRow(*row) for row in connection.execute(query))

        return await self._database.read(work)

    async def open_versions(self, role: Role) -> Mapping[SwapId, int]:
        """The version of each open swap."""
        query = select(swaps.c.swap_id, swaps.c.version).where(swaps.c.role == role, swaps.c.is_final.is_(False))
        return await self._database.read(
            lambda connection: {row.swap_id: row.version for row in connection.execute(query)}
        )

    async def open_swaps(self, role: Role, after: int = 0) -> Sequence[tuple[int, SwapRecord]]:
        """One page of the open swaps, oldest first, each with its position in the journal; empty after the last page.

        Args:
            after: the position of the last swap of the page before; 0 for the first page.
        """
        return await self._numbered(swaps.c.role == role, swaps.c.is_final.is_(False), swaps.c.number > after)

    async def _numbered(self, *conditions: ColumnElement[bool]) -> Sequence[tuple[int, SwapRecord]]:
        query = SWAPS.add_columns(swaps.c.number).where(*conditions).order_by(swaps.c.number).limit(_PAGE)

        def work(connection: Connection) -> tuple[tuple[int, SwapRecord], ...]:
            rows = [row._asdict() for row in connection.execute(query)]
            return tuple((row.pop("number"), SwapRecord(**row)) for row in rows)

        return await self._database.read(work)

    async def released_under(self, payment_hashes: Collection[bytes]) -> Sequence[SwapRecord]:
        """A provider's final swaps under these hashes: a late funding may belong to one of them."""
        hashes, found = tuple(payment_hashes), list[SwapRecord]()
        for start in range(0, len(hashes), _PAGE):
            is_wanted = swaps.c.payment_hash.in_(hashes[start : start + _PAGE])
            found += await self._swaps(
                _NEWEST_FIRST.where(is_wanted, swaps.c.role == Role.PROVIDER, swaps.c.is_final.is_(True))
            )
        return found

    async def _swaps(self, query: Executable) -> Sequence[SwapRecord]:
        return await self._database.read(
            lambda connection: tuple(SwapRecord(**row._asdict()) for row in connection.execute(query))
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

    async def _depart(self, departure: Departure | None) -> None:
        if departure is None or self._register is None:
            return
        record = departure.record
        if isinstance(record, SendRecord):
            self._unregistered[record.protocol, record.idempotency_key] = departure
        await self._register.depart(departure)
        if isinstance(record, SendRecord):
            self._unregistered.pop((record.protocol, record.idempotency_key), None)

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

    async def intents(self, swap_id: SwapId) -> Sequence[Intent]:
        """All intents of a swap, oldest first."""
        columns = [intents.c[each.name] for each in fields(Intent)]
        query = select(*columns).where(intents.c.swap_id == swap_id).order_by(intents.c.number)
        return await self._database.read(
            lambda connection: tuple(Intent(**row._asdict()) for row in connection.execute(query))
        )

    async def events(self, swap_id: SwapId) -> Sequence[Json]:
        """All events of a swap, oldest first: ``version``, ``event``, ``at``, ``state``."""
        columns = events.c.version, events.c.event, events.c.at, events.c.state
        query = select(*columns).where(events.c.swap_id == swap_id).order_by(events.c.version)
        return await self._database.read(lambda connection: tuple(row._asdict() for row in connection.execute(query)))

    async def owners(self) -> Sequence[JournalOwner]:
        """The owners of the journal's swaps."""
        query = select(owner_table).order_by(owner_table.c.kind, owner_table.c.value)
        return await self._database.read(
            lambda connection: tuple(JournalOwner(row.kind, row.value) for row in connection.execute(query))
        )

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

    async def load_proof(self, swap_id: SwapId) -> bytes | None:
        """The proof of a swap, or None without one."""
        query = select(proofs.c.proof).where(proofs.c.swap_id == swap_id)
        found: bytes | None = await self._database.read(
            lambda connection: connection.execute(query).scalar_one_or_none()
        )
        return found

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


def _collect_by(connection: Connection) -> ColumnElement[int]:
    """``collect_by`` of the terms, which are a text; 0 if it is missing."""
    # SQLite's JSON functions read a text, and its CAST would make it a number.
    needs_cast = connection.dialect.name == "postgresql"
    terms = cast(swaps.c.terms, JSON) if needs_cast else type_coerce(swaps.c.terms, JSON)
    return func.coalesce(terms["terms"]["collect_by"].as_integer(), 0)
