"""``layer2 journal``: the owners of a journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from layer2.cli.envelope import Result, Table
from layer2.cli.exit_status import ExitStatus
from layer2.cli.guard_state import guard_holder
from layer2.cli.session import InSession
from layer2.errors import ConfigurationError, InvalidRequest, JournalError
from layer2.ports.journal import JournalOwner, SwapRecord
from layer2.signers.software import SeedPreimages

if TYPE_CHECKING:
    from layer2.config import LayerSettings
    from layer2.swap_engine.journal import SqliteJournal

__all__ = ["add", "configured_owners", "existing_journal", "show"]


async def show(*, session: InSession) -> Result:
    """Show the journal's owners, the number of transfers in each state, and the process that acts on it.

    It only reads, and does not disturb a running service.
    """
    settings = session.settings()
    path = settings.journal.path
    mine = configured_owners(settings)
    async with existing_journal(path) as journal:
        owners = await journal.owners()
        counts = _counted(await journal.list())
    holder = guard_holder(path)
    rows = tuple((each.kind, each.value, "yes" if each in mine else "no") for each in owners)
    states = tuple((whose, state, str(count)) for (whose, state), count in counts.items())
    return Result(
        {
            "path": str(path),
            "owners": [{"kind": each.kind, "value": each.value, "is_configured": each in mine} for each in owners],
            "states": [{"role": whose, "state": state, "count": count} for (whose, state), count in counts.items()],
            "held_by": holder,
        },
        [
            f"journal      {path}",
            f"used by      {'no process' if holder is None else f'process {holder}'}",
            Table(("owner", "value", "in the configuration"), rows) if rows else "no owners yet",
            Table(("role", "state", ">count"), states) if states else "no transfers yet",
        ],
    )


async def add(
    kind: Literal["network", "account", "seed"] | None = None,
    value: str | None = None,
    *,
    yes: bool = False,
    session: InSession,
) -> Result:
    """Allow the journal to hold transfers of this configuration's network, accounts and swap seed too.

    A journal refuses a configuration with another seed or account: its transfers could not be completed. Add an owner
    only if both are yours. Without --yes the command shows what it would add.

    Args:
        kind: Add only the owner of this kind. Default: every owner that differs.
        value: Add only the owner with this value.
        yes: Add it.
    """
    settings = session.settings()
    path = settings.journal.path
    wanted = [
        each
        for each in configured_owners(settings)
        if (kind is None or each.kind == kind) and (value is None or each.value == value)
    ]
    if not wanted:
        raise InvalidRequest(
            f"{session.file} has no {' '.join(word for word in (kind, value) if word)}",
            code="usage",
            remedy=f"see the owners of both: {session.hint('journal', 'show')}",
        )
    async with existing_journal(path) as journal:
        known = await journal.owners()
        fresh = [each for each in wanted if each not in known]
        if fresh and yes:
            await journal.add_owners(fresh)
    data = {"path": str(path), "owners": [{"kind": each.kind, "value": each.value} for each in fresh], "added": yes}
    if not fresh:
        return Result(data, [f"{path} already accepts this configuration"])
    rows = (
        *((each.kind, each.value, "in the journal") for each in known),
        *((each.kind, each.value, "new") for each in fresh),
    )
    table = Table(("owner", "value", ""), rows)
    if yes:
        return Result(data, [table, f"added to {path}"])
    words = ("journal", "add", *(word for word in (kind, value) if word), "--yes")
    problem = ConfigurationError(
        f"nothing was added to {path}",
        code="needs_yes",
        remedy=f"if all of these are yours: {session.hint(*words)}",
    )
    return Result(data, [table], problem=problem, ended=ExitStatus.ACTION_NEEDED)


def configured_owners(settings: LayerSettings) -> tuple[JournalOwner, ...]:
    """The network, the accounts and the swap seed of a configuration.

    Raises:
        SignerError: a key's file cannot be read.
    """
    from layer2.assembly import owners_of

    seed: Path | None = getattr(settings, "swap_seed_file", None)
    return owners_of(settings, None if seed is None else SeedPreimages.from_file(seed).fingerprint)


@asynccontextmanager
async def existing_journal(path: Path) -> AsyncIterator[SqliteJournal]:
    """Open an existing journal. It never creates one.

    Raises:
        JournalError: the journal does not exist, or cannot be read.
    """
    from layer2.swap_engine.journal import SqliteJournal

    _check_exists(path)
    journal = await SqliteJournal.open(path)
    try:
        yield journal
    finally:
        await journal.aclose()


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise JournalError(
            f"there is no journal {path}",
            code="no_journal",
            remedy="check journal.path; the first transfer creates the journal",
        )


def _counted(records: Sequence[SwapRecord]) -> dict[tuple[str, str], int]:
    counts = Counter((record.role.value, str(record.state.get("state", "?"))) for record in records)
    return dict(sorted(counts.items()))
