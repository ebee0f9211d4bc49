"""Reads a journal beside a process that acts on it: its records, its owners, and that process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from layer2.assembly import owners_of
from layer2.errors import JournalError
from layer2.journal.guards import GuardHolders
from layer2.journal.place import JournalPlace
from layer2.journal.sql_journal import SqlJournal
from layer2.ports.journal import JournalOwner
from layer2.signers.software import SeedPreimages

if TYPE_CHECKING:
    from layer2.config import LayerSettings

__all__ = [
    "check_exists",
    "configured_owners",
    "existing_journal",
    "guard_holders",
    "held_coins",
    "is_stopped",
    "process_state",
]


def configured_owners(settings: LayerSettings) -> tuple[JournalOwner, ...]:
    """The network, the accounts and the swap seed of a configuration.

    Raises:
        SignerError: a key's file cannot be read.
    """
    seed: Path | None = getattr(settings, "swap_seed_file", None)
    return owners_of(settings, None if seed is None else SeedPreimages.from_file(seed).fingerprint)


@asynccontextmanager
async def existing_journal(place: JournalPlace) -> AsyncIterator[SqlJournal]:
    """Open an existing journal. It never creates one.

    Raises:
        JournalError: the journal does not exist, or cannot be read.
    """
    check_exists(place)
    journal = await SqlJournal.open(place)
    try:
        yield journal
    finally:
        await journal.aclose()


async def held_coins(place: JournalPlace, layer: str) -> Mapping[str, str]:
    """The holder of each coin of a layer that the journal holds for a swap or a send; empty without a journal.

    Raises:
        JournalError: the journal cannot be read.
    """
    try:
        async with existing_journal(place) as journal:
            return await journal.held_coins(layer)
    except JournalError as error:
        if error.code == "no_journal":
            return {}
        raise


def check_exists(place: JournalPlace) -> None:
    """Check that there is a journal: reading never creates one.

    Raises:
        JournalError: code ``no_journal``: there is none.
    """
    if not place.exists():
        raise JournalError(
            f"there is no journal {place}",
            code="no_journal",
            remedy="check journal.path; the first transfer creates the journal",
        )


def guard_holders(place: JournalPlace) -> GuardHolders | None:
    """The processes that act on the journal, or None. The answer can be outdated when it is read.

    Its id is ``"unknown"`` if a process has not written it.

    Raises:
        JournalError: the server cannot be reached.
    """
    if place.url is not None:
        from layer2.journal.server_guard import server_guard_holders

        return server_guard_holders(place.url)
    assert place.path is not None
    journal = place.path
    try:
        descriptor = os.open(journal.with_name(f"{journal.name}.lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A shared lock, so that two readers do not find each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return GuardHolders((os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown",))
    finally:
        os.close(descriptor)
    return None


def is_stopped(holders: GuardHolders | None) -> bool:
    """Whether the one process that acts exists on this machine and is stopped, for example by SIGSTOP."""
    return holders is not None and holders.is_one and process_state(holders.processes[0]) in ("T", "t")


def process_state(process_id: str) -> str | None:
    """The state of a process as in ``/proc/ID/stat``: T if it is stopped, Z if it has ended; None if it is unknown."""
    try:
        # The name of the program, which comes before the state, may contain spaces.
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
