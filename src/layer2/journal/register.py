"""The register of a journal: a second, small database that shows whether the journal is an old copy, and restores it.

The journal's epoch counts the transactions that let an act leave. It is durable in the journal, then in the register,
and then the act leaves. So a journal whose epoch is below the register's lacks an act. The terms of a swap are in the
register before the swap is agreed, so a swap whose legs may hold money is never known to the journal alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from layer2.errors import JournalError
from layer2.journal.database import Database
from layer2.journal.opening import connect
from layer2.journal.place import JournalPlace
from layer2.journal.register_schema import (
    registered,
    registered_intents,
    registered_owners,
    registered_sends,
    registered_swaps,
    row_of_journal,
    set_up,
)
from layer2.journal.rows import intent_of, row_of, upsertion
from layer2.legs.views import Verb
from layer2.model.transactions import SwapId
from layer2.ports.journal import Intent, JournalOwner, Role, SendRecord, SwapRecord

__all__ = ["Departure", "Lineage", "Register", "Registered", "is_kept"]

LOG: Final = logging.getLogger("layer2.journal")
_CLAIM_WAITS_SECONDS: Final = 5.0
"""For a register that does not answer. The write continues, and a disk or a server may never answer."""
_PAGE: Final = 1_000
_PAYS_OR_RELEASES: Final = (Verb.FUND.value, Verb.RELEASE.value)
_EPOCH: Final = update(registered).where(registered.c.epoch < bindparam("new")).values(epoch=bindparam("new"))


@dataclass(frozen=True, slots=True)
class Lineage:
    """Which journal it is, and how far."""

    journal_id: str
    branch: str
    """Another one after each repair: copies from before it belong to an earlier branch."""
    epoch: int
    """The number of transactions that let an act leave."""


@dataclass(frozen=True, slots=True)
class Departure:
    """An act of a swap that is about to leave, or a single send."""

    epoch: int
    record: SwapRecord | SendRecord
    """The swap as it is in the journal now; or the send."""
    intent: Intent | None = None
    """The act of the swap; None for a send."""

    @property
    def must_wait(self) -> bool:
        """Whether the act must not leave before the register has it. Claims and refunds must not be late."""
        return self.intent is None or self.intent.verb in _PAYS_OR_RELEASES


@dataclass(frozen=True, slots=True)
class Registered:
    """What a register holds."""

    lineage: Lineage
    swaps: Sequence[SwapRecord]
    intents: Sequence[tuple[SwapId, Intent]]
    """What left for open swaps."""
    sends: Sequence[SendRecord]
    owners: Sequence[JournalOwner]


@dataclass(frozen=True, slots=True)
class _Change:
    epoch: int = 0
    rows: Mapping[SwapId, SwapRecord | None] = field(default_factory=dict)
    """None removes the row."""
    intents: Mapping[tuple[SwapId, int], Intent] = field(default_factory=dict)
    sends: Sequence[SendRecord] = ()


def is_kept(record: SwapRecord) -> bool:
    """Whether the register has the swap: it is agreed, and it is open, or something after its end depends on it.

    A key must not start a second transfer. Payments of others can arrive later. And an address that a signature has
    released must serve no other swap.
    """
    if record.terms is None:
        return False
    if not record.is_final:
        return True
    if record.role is Role.TAKER:
        has_key = record.idempotency_key is not None and record.holds_key
        return has_key or record.request.get("funded_by_others") is True
    return record.state["state"] == "released" and record.state.get("source_tx_id") is not None


class Register:
    """The register of the journal on which this process acts.

    Raises, all methods: JournalError when it cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._late = _Change()
        """What is written with the next change: ends of swaps, and what could not be written."""
        self._unanswered: set[asyncio.Task[None]] = set()
        """Writes for which a claim or a refund no longer waits."""

    @property
    def title(self) -> str:
        """What it is, for messages."""
        return self._database.name

    @classmethod
    async def open(cls, place: JournalPlace) -> Self:
        """Open the register, or create an empty one.

        Raises:
            ConfigurationError, JournalError: as for a journal.
        """
        title = f"the register {place}"
        return cls(await connect(place, title, lambda connection: set_up(title, connection)))

    async def aclose(self) -> None:
        """Write what is left, and close the database. Can be repeated."""
        await asyncio.gather(*self._unanswered, return_exceptions=True)
        if self._late != _Change():
            try:
                await self._write(_Change())
            except JournalError as error:
                LOG.warning("ends of swaps could not be written: %s", error)
        await self._database.aclose()

    async def take_over(self) -> None:
        """Exclude a process that acted before. Call it with the journal's guard held."""
        await self._database.take_over(lambda _: True)

    async def why_it_cannot_write(self) -> JournalError | None:
        """The error of every later write, if it is known; None otherwise."""
        return await self._database.why_it_cannot_write()

    async def lineage(self) -> Lineage | None:
        """The lineage of its journal; None if the register is new."""
        return await self._database.read(_lineage)

    async def read(self) -> Registered | None:
        """All that it holds; None if it is new."""
        return await self._database.read(_registered)

    async def open_ids(self) -> frozenset[SwapId]:
        """The ids of its swaps that have not ended."""
        query = select(registered_swaps.c.swap_id).where(registered_swaps.c.is_final.is_(False))
        return await self._database.read(lambda connection: frozenset(connection.execute(query).scalars()))

    async def left(self) -> frozenset[tuple[SwapId, int]]:
        """The swaps and numbers of all acts that left."""
        query = select(registered_intents.c.swap_id, registered_intents.c.number)
        return await self._database.read(
            lambda connection: frozenset((row.swap_id, row.number) for row in connection.execute(query))
        )

    async def replace(self, content: Registered) -> None:
        """Replace all that it holds."""

        def work(connection: Connection) -> None:
            for table in (registered, registered_swaps, registered_intents, registered_sends, registered_owners):
                connection.execute(delete(table))
            lineage = content.lineage
            _insert(connection, registered, [row_of_journal(lineage.journal_id, lineage.branch, lineage.epoch)])
            _insert(connection, registered_swaps, [row_of(each) for each in content.swaps])
            _insert(connection, registered_intents, [_row_of_intent(*each) for each in content.intents])
            _insert(connection, registered_sends, [row_of(each) for each in content.sends])
            _insert(connection, registered_owners, [row_of(each) for each in content.owners])

        self._late = _Change()
        await self._database.write(work)

    async def add(self, record: SwapRecord) -> None:
        """Write a swap that is about to be agreed, or reopened."""
        await self._write(_Change(rows={record.swap_id: record}))

    async def add_owners(self, owners: Sequence[JournalOwner]) -> None:
        """Write owners of the journal."""
        rows = [row_of(each) for each in owners]
        await self._database.write(lambda connection: _upsert(connection, registered_owners, rows))

    async def depart(self, departure: Departure) -> None:
        """Write the epoch of an act that is about to leave, and its swap.

        Raises:
            JournalError: it could not be written, and the act must not leave.
        """
        record, intent = departure.record, departure.intent
        if isinstance(record, SendRecord):
            change = _Change(departure.epoch, sends=(record,))
        else:
            assert intent is not None
            change = _Change(departure.epoch, {record.swap_id: record}, {(record.swap_id, intent.number): intent})
        if departure.must_wait:
            await self._write(change)
            return
        assert intent is not None
        writing = asyncio.ensure_future(self._write(change))
        self._unanswered.add(writing)
        writing.add_done_callback(self._unanswered.discard)
        writing.add_done_callback(lambda ended: _note_failure(ended, intent))
        await asyncio.wait({writing}, timeout=_CLAIM_WAITS_SECONDS)
        if not writing.done():
            LOG.error("a %s leaves without the register, which does not answer", intent.verb)

    def end(self, record: SwapRecord) -> None:
        """Note the end of a swap. It is written with the next change."""
        if is_kept(record):
            self.keep(record)
        else:
            self.forget(record.swap_id)

    def keep(self, record: SwapRecord) -> None:
        """Note a swap as it is in the journal. It is written with the next change."""
        self._late = _joined((self._late, _Change(rows={record.swap_id: record})))

    def forget(self, swap_id: SwapId) -> None:
        """Note that a swap was not agreed after all."""
        self._late = _joined((self._late, _Change(rows={swap_id: None})))

    async def _write(self, change: _Change) -> None:
        change, self._late = _joined((self._late, change)), _Change()
        try:
            await self._database.write_together(_write_changes, change)
        except BaseException:
            # What was noted since is newer.
            self._late = _joined((change, self._late))
            raise


def _note_failure(writing: asyncio.Future[None], intent: Intent) -> None:
    if not writing.cancelled() and (error := writing.exception()) is not None:
        LOG.error("a %s leaves without the register: %s", intent.verb, error)


def _joined(changes: Iterable[_Change]) -> _Change:
    """Several changes as one; of one swap the last."""
    epoch, rows = 0, dict[SwapId, SwapRecord | None]()
    intents, sends = dict[tuple[SwapId, int], Intent](), dict[tuple[str, str], SendRecord]()
    for each in changes:
        epoch = max(epoch, each.epoch)
        rows.update(each.rows)
        intents.update(each.intents)
        sends.update({(send.protocol, send.idempotency_key): send for send in each.sends})
    return _Change(epoch, rows, intents, tuple(sends.values()))


def _write_changes(connection: Connection, changes: Sequence[_Change]) -> Sequence[None]:
    change = _joined(changes)
    rows = [row_of(record) for record in change.rows.values() if record is not None]
    _upsert(connection, registered_swaps, rows)
    _upsert(connection, registered_intents, [_row_of_intent(key[0], each) for key, each in change.intents.items()])
    _delete(connection, registered_swaps, [each for each, record in change.rows.items() if record is None])
    ended = [each for each, record in change.rows.items() if record is None or record.is_final]
    _delete(connection, registered_intents, ended)
    _upsert(connection, registered_sends, [row_of(each) for each in change.sends])
    connection.execute(_EPOCH, {"new": change.epoch})
    return [None] * len(changes)


def _row_of_intent(swap_id: SwapId, intent: Intent) -> dict[str, object]:
    return row_of(intent) | {"swap_id": swap_id}


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _delete(connection: Connection, table: Table, swap_ids: Sequence[SwapId]) -> None:
    # Any number can wait while the register is down, and a statement has at most so many values.
    for start in range(0, len(swap_ids), _PAGE):
        connection.execute(delete(table).where(table.c.swap_id.in_(swap_ids[start : start + _PAGE])))


def _upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(upsertion(connection.dialect.name, table, tuple(rows[0])), rows)


def _lineage(connection: Connection) -> Lineage | None:
    row = connection.execute(select(registered)).first()
    return None if row is None else Lineage(row.journal_id, row.branch, row.epoch)


def _registered(connection: Connection) -> Registered | None:
    lineage = _lineage(connection)
    if lineage is None:
        return None
    columns = [registered_swaps.c[each.name] for each in fields(SwapRecord)]
    return Registered(
        lineage,
        [SwapRecord(**row._asdict()) for row in connection.execute(select(*columns))],
        [(row.swap_id, intent_of(row)) for row in connection.execute(select(registered_intents))],
        [SendRecord(**row._asdict()) for row in connection.execute(select(registered_sends))],
        [JournalOwner(**row._asdict()) for row in connection.execute(select(registered_owners))],
    )
