"""Compares a journal with its register when a process begins to act, and restores a journal that is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from sqlalchemy import Connection, select

from layer2.errors import InvalidRequest, JournalError
from layer2.journal.database import Database
from layer2.journal.lineage import (
    bind,
    content_for_register,
    departed,
    ended_of,
    lineage_of,
    owners_of,
    release,
    repair,
)
from layer2.journal.opening import guard_of, open_database
from layer2.journal.place import JournalPlace
from layer2.journal.register import Register, Registered
from layer2.journal.schema import sends, swaps
from layer2.model.transactions import SwapId

__all__ = ["check_register_exists", "compared_register", "release_register", "renew_register", "restore_journal"]

LOG: Final = logging.getLogger("layer2.journal")


async def compared_register(journal: Database, place: JournalPlace | None) -> Register | None:
    """The register of the journal, after both were compared. Call it with the guard held.

    If the journal is an old copy, its open swaps are marked, and what it lacks is added from the register.

    Returns:
        None for a journal without a register.

    Raises:
        JournalError: code ``register_missing`` or ``register_of_another``: the journal cannot be compared, so nothing
            may act on it; or one of the two cannot be read or written.
    """
    own, has_register = await journal.read(lineage_of)
    _check_exists(journal, has_register, place)
    if place is None:
        return None
    register = await Register.open(place)
    try:
        known = await register.lineage()
        if known is None and has_register:
            raise _missing(f"{register.title} is empty, and {journal.name} had one")
        if known is not None and known.journal_id != own.journal_id:
            raise JournalError(
                f"{register.title} belongs to another journal than {journal.name}",
                code="register_of_another",
                remedy="if that journal was lost, restore it: layer2 restore; otherwise correct [journal]",
            )
        await register.take_over()
        # Until then a process that acts on another copy could let an act leave.
        known = await register.lineage()
        is_old = known is not None and (known.branch != own.branch or known.epoch > own.epoch)
        is_short = is_same = False
        if known is not None and not is_old:
            open_swaps, departures = await journal.read(departed)
            is_old = await _lacks_acts(register, open_swaps, departures)
            if not is_old:
                is_short, is_same = await _is_short(journal, register, open_swaps)
        if is_old or is_short:
            marked = await _repaired(journal, await register.read(), is_old=is_old)
            LOG.error("%s is an old copy: %d open swaps continue by the rules for old copies", journal.name, marked)
        if known != own or not is_same or not has_register:
            await register.replace(await journal.read(content_for_register))
        else:
            await register.add_owners(await journal.read(owners_of))
        if not has_register:
            await journal.write(bind)
    except BaseException:
        await register.aclose()
        raise
    return register


async def check_register_exists(journal: Database, place: JournalPlace | None) -> None:
    """Check that the journal's register is configured and exists. Nothing is written, so no guard is needed.

    Raises:
        JournalError: code ``register_missing``; or the journal cannot be read.
    """
    _, has_register = await journal.read(lineage_of)
    _check_exists(journal, has_register, place)


def _check_exists(journal: Database, has_register: bool, place: JournalPlace | None) -> None:
    if not has_register:
        return
    if place is None:
        raise _missing(f"{journal.name} has a register, and the configuration does not name it")
    if not place.exists():
        raise _missing(f"the register {place} of {journal.name} does not exist")


async def restore_journal(place: JournalPlace, register_place: JournalPlace) -> int:
    """Build a journal that was lost from its register.

    Args:
        place: of the new journal, which has neither swaps nor sends.

    Returns:
        The number of open swaps.

    Raises:
        InvalidRequest: code ``exists``: there is a journal.
        JournalError: code ``register_missing``: there is no register, or it is empty; or one of the two cannot be read
            or written.
        JournalBusy: a process acts on the journal.
    """
    if not register_place.exists():
        raise _missing(f"there is no register {register_place}")
    async with _alone(place) as journal, aclosing(await Register.open(register_place)) as register:
        await register.take_over()
        found = await register.read()
        if found is None:
            raise _missing(f"{register.title} is empty")
        await journal.read(_check_empty)
        count = await _repaired(journal, found, is_old=True)
        await register.replace(await journal.read(content_for_register))
    return count


async def renew_register(place: JournalPlace, register_place: JournalPlace) -> int:
    """Make a new register for a journal whose register was lost.

    Nothing shows whether the journal is an old copy, so it counts as one.

    Returns:
        The number of open swaps that are marked.

    Raises:
        InvalidRequest: code ``exists``: the register is not empty.
        JournalError: one of the two cannot be read or written.
        JournalBusy: a process acts on the journal.
    """
    async with _alone(place) as journal, aclosing(await Register.open(register_place)) as register:
        if await register.lineage() is not None:
            raise InvalidRequest(
                f"{register.title} is not empty", code="exists", remedy="name a register that does not exist"
            )
        count = await _repaired(journal, None, is_old=True)
        await register.replace(await journal.read(content_for_register))
    return count


@asynccontextmanager
async def _alone(place: JournalPlace) -> AsyncIterator[Database]:
    """A journal, while no other process acts on it."""
    guard = guard_of(place)
    try:
        async with aclosing(await open_database(place)) as journal:
            await guard.take()
            await journal.take_over(guard.is_held)
            yield journal
    finally:
        await guard.give_back()


async def release_register(place: JournalPlace, register_place: JournalPlace) -> None:
    """Use a journal without a register from now on, for example with workers. Both are compared first.

    The register stays as it is. If the journal gets it again, it is written from the journal.

    Raises:
        JournalError: as ``compared_register``.
        JournalBusy: a process acts on the journal.
    """
    async with _alone(place) as journal:
        register = await compared_register(journal, register_place)
        if register is not None:
            await register.aclose()
        await journal.write(release)


async def _lacks_acts(
    register: Register, open_swaps: frozenset[SwapId], departures: frozenset[tuple[SwapId, int]]
) -> bool:
    """Whether an act that left for an open swap is not in the journal, although its epoch is current.

    A backup was put in place beside the write-ahead log of the file that it replaced: SQLite adds that log to it, with
    the newest epoch, and without what was written between the two.
    """
    return any(each not in departures for each in await register.left() if each[0] in open_swaps)


async def _is_short(journal: Database, register: Register, open_swaps: frozenset[SwapId]) -> tuple[bool, bool]:
    """Whether the journal lacks an agreed swap, and whether both have the same open swaps."""
    wanted = await register.open_ids()
    unknown = wanted - open_swaps
    ended = await journal.read(lambda connection: ended_of(connection, tuple(unknown))) if unknown else frozenset()
    return bool(unknown - ended), wanted == open_swaps


async def _repaired(journal: Database, found: Registered | None, *, is_old: bool) -> int:
    now = int(time.time())
    return await journal.write(lambda connection: repair(connection, found, now, is_old=is_old))


def _check_empty(connection: Connection) -> None:
    for column in (swaps.c.number, sends.c.tx_id):
        if connection.execute(select(column).limit(1)).first() is not None:
            raise InvalidRequest(
                "the journal holds transfers or sends, so it is not lost",
                code="exists",
                remedy="start as usual: an old copy is found by itself; or name an empty database in [journal]",
            )


def _missing(problem: str) -> JournalError:
    return JournalError(
        problem,
        code="register_missing",
        remedy="name it in [journal]; if it is lost: layer2 journal renew-register",
    )
