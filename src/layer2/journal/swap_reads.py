"""What any process can read of the swaps in a journal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Final

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Executable,
    bindparam,
    cast,
    func,
    select,
    true,
    type_coerce,
)

from layer2.journal.acceptances import last_number
from layer2.journal.database import Database
from layer2.journal.rows import SWAPS, first_swap
from layer2.journal.schema import events, intents, proofs, swaps
from layer2.journal.schema import owners as owner_table
from layer2.model.transactions import SwapId
from layer2.ports.journal import Intent, JournalOwner, Json, OpenRow, Role, SwapRecord

__all__ = ["SwapReads"]

_PAGE: Final = 1_000
"""Rows of a page of open swaps."""
_SWAP = SWAPS.where(swaps.c.swap_id == bindparam("of"))
_NEWEST_FIRST = SWAPS.order_by(swaps.c.number.desc())


class SwapReads:
    """The methods of ``SwapJournal`` that only read."""

    def __init__(self, database: Database) -> None:
        self._database = database

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

    async def load_proof(self, swap_id: SwapId) -> bytes | None:
        """The proof of a swap, or None without one."""
        query = select(proofs.c.proof).where(proofs.c.swap_id == swap_id)
        found: bytes | None = await self._database.read(
            lambda connection: connection.execute(query).scalar_one_or_none()
        )
        return found


def _collect_by(connection: Connection) -> ColumnElement[int]:
    """``collect_by`` of the terms, which are a text; 0 if it is missing."""
    # SQLite's JSON functions read a text, and its CAST would make it a number.
    needs_cast = connection.dialect.name == "postgresql"
    terms = cast(swaps.c.terms, JSON) if needs_cast else type_coerce(swaps.c.terms, JSON)
    return func.coalesce(terms["terms"]["collect_by"].as_integer(), 0)
