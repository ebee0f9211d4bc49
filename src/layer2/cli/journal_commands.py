"""``layer2 journal``: what a journal holds, who owns it, whether it is sound, and copies of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from layer2.assembly import journal_place, register_place
from layer2.cli.exit_status import ExitStatus
from layer2.cli.journal_reading import check_exists, configured_owners, existing_journal, guard_holders, is_stopped
from layer2.cli.output import Line, Result, table
from layer2.cli.session import InSession
from layer2.cli.transfer_wording import state_name
from layer2.cli.wording import fields_of
from layer2.errors import ConfigurationError, InvalidRequest, JournalError, Layer2Error
from layer2.journal.copying import back_up, move
from layer2.journal.place import JournalPlace
from layer2.journal.registration import release_register as release
from layer2.journal.registration import renew_register as renew
from layer2.journal.registration import restore_journal
from layer2.legs.timelock_settings import TimelockSettings, settings_for
from layer2.ports.journal import SwapRecord
from layer2.swap_engine.records import outlook_of

__all__ = ["add", "backup", "check", "migrate", "release_register", "renew_register", "restore", "show"]


async def show(*, session: InSession) -> Result:
    """Show the journal's owners, the number of transfers in each state, and the process that acts on it.

    It only reads, and does not disturb a running service.
    """
    settings = session.settings()
    place = journal_place(settings)
    mine = configured_owners(settings)
    async with existing_journal(place) as journal:
        owners = await journal.owners()
        records = await journal.list()
    rules, holders = settings_for(settings.network), guard_holders(place)
    counts = sorted(Counter((each.role.value, state_name(each, rules)) for each in records).items())
    rows = tuple((each.kind, each.value, "yes" if each in mine else "no") for each in owners)
    states = tuple((whose, state, str(count)) for (whose, state), count in counts)
    return Result(
        {
            "place": str(place),
            "owners": [{**fields_of(each, "kind", "value"), "is_configured": each in mine} for each in owners],
            "states": [{"role": whose, "state": state, "count": count} for (whose, state), count in counts],
            "held_by": None if holders is None else ", ".join(holders.processes),
        },
        [
            f"journal      {place}",
            f"used by      {holders or 'no process'}{', which is stopped' if is_stopped(holders) else ''}",
            table(("owner", "value", "in the configuration"), rows) if rows else "no owners yet",
            table(("role", "state", ">count"), states) if states else "no transfers yet",
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
    place = journal_place(settings)
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
    async with existing_journal(place) as journal:
        known = await journal.owners()
        fresh = [each for each in wanted if each not in known]
        if fresh and yes:
            await journal.add_owners(fresh)
    data = {"place": str(place), "owners": [fields_of(each, "kind", "value") for each in fresh], "added": yes}
    if not fresh:
        return Result(data, [f"{place} already accepts this configuration"])
    rows = (
        *((each.kind, each.value, "in the journal") for each in known),
        *((each.kind, each.value, "new") for each in fresh),
    )
    shown = table(("owner", "value", ""), rows)
    if yes:
        return Result(data, [shown, f"added to {place}"])
    words = ("journal", "add", *(word for word in (kind, value) if word), "--yes")
    remedy = f"if all of these are yours: {session.hint(*words)}"
    return _unconfirmed(data, f"nothing was added to {place}", remedy, shown)


async def check(*, session: InSession) -> Result:
    """Check that the journal is sound: its file, its rows, and that this version can read every transfer.

    It only reads, and does not disturb a running service.
    """
    settings = session.settings()
    place = journal_place(settings)
    async with existing_journal(place) as journal:
        records = await journal.list()
        problems = [*await journal.problems(), *_unreadable(records, settings_for(settings.network))]
    data = {"place": str(place), "swaps": len(records), "problems": problems}
    if not problems:
        return Result(data, [f"{place} is sound: {len(records)} swaps"])
    problem = JournalError(
        f"{place} has {len(problems)} problems",
        code="journal_damaged",
        remedy="keep a copy of it as it is, and stop what uses it before you repair it",
    )
    return Result(data, problems, problem=problem, ended=ExitStatus.ACTION_NEEDED)


def _unreadable(records: Sequence[SwapRecord], rules: TimelockSettings) -> list[str]:
    found = []
    for record in records:
        try:
            outlook_of(record, rules)
        except Layer2Error as error:
            found.append(f"swap {record.swap_id} cannot be read: {error.message}")
    return found


async def backup(file: Path, *, session: InSession) -> Result:
    """Copy the journal to a new SQLite file. A running service can continue to use the journal.

    A backup is old as soon as the next transfer begins: never act on it while the journal itself exists.

    Args:
        file: The new file, created with mode 0600.
    """
    place = journal_place(session.settings())
    check_exists(place)
    counts = await back_up(place, JournalPlace(path=file))
    return Result({"file": str(file), "rows": counts}, [f"copied {counts['swaps']} swaps of {place} to {file}"])


async def migrate(to: str, *, session: InSession) -> Result:
    """Move the journal, with its open transfers, to another empty database. No process may act on it meanwhile.

    Afterwards the old journal cannot be opened. If the command is interrupted, run it again.

    Args:
        to: postgresql://USER@HOST/DATABASE, or the path of a new file. Keep a password out of the arguments: use
            libpq's password file, or the environment variable PGPASSWORD.
    """
    settings, target = session.settings(), JournalPlace.of(to)
    place, register = journal_place(settings), register_place(settings)
    check_exists(place)
    counts = await move(place, target)
    setting = f'url = "{target}"' if target.url is not None else f'path = "{target}"'
    if register is not None:
        # It belongs to the journal, wherever that is.
        setting += f' and register_{"file" if register.url is None else "url"} = "{register}"'
    return Result(
        {"place": str(target), "rows": counts, "register": None if register is None else str(register)},
        [
            f"moved {counts['swaps']} swaps of {place} to {target}" if counts else f"ended the move to {target}",
            f"now set {setting} in [journal] of {session.file}",
        ],
    )


async def restore(*, session: InSession) -> Result:
    """Build a journal that was lost again, from its register: with its open transfers, idempotency keys and sends.

    The transfers then continue by the rules for old copies: nothing more is funded for them; what can be collected or
    refunded is. Proofs of transfers that have ended are lost. If the journal still exists as an old copy, put it back
    and start as usual instead: it is found to be old by itself.
    """
    place, register = _both_places(session)
    count = await restore_journal(place, register)
    return Result(
        {"place": str(place), "register": str(register), "open_swaps": count},
        [f"restored {place} from {register}: {count} open swaps", f"now continue them: {_continuing(session)}"],
    )


async def renew_register(*, yes: bool = False, session: InSession) -> Result:
    """Make a new register for a journal whose register was lost.

    Nothing shows then whether the journal is an old copy. So its open transfers continue by the rules for old copies:
    nothing more is funded for them. Without --yes the command only shows what it would do.

    Args:
        yes: Make it.
    """
    place, register = _both_places(session)
    check_exists(place)
    data: dict[str, object] = {"place": str(place), "register": str(register), "made": yes}
    if not yes:
        remedy = f"if the one of {place} is lost: {session.hint('journal', 'renew-register', '--yes')}"
        return _unconfirmed(data, f"no register was made at {register}", remedy)
    count = await renew(place, register)
    return Result(data | {"open_swaps": count}, [f"made {register} for {place}, and marked {count} open swaps"])


async def release_register(*, yes: bool = False, session: InSession) -> Result:
    """Use the journal without its register from now on, for example with workers.

    Nothing shows then whether the journal is an old copy, and a lost journal cannot be restored. Run it while the
    configuration still names the register, and remove register_file or register_url from [journal] afterwards.
    Without --yes the command only shows what it would do.

    Args:
        yes: Release it.
    """
    place, register = _both_places(session)
    check_exists(place)
    data: dict[str, object] = {"place": str(place), "register": str(register), "released": yes}
    if not yes:
        remedy = f"to use it without one: {session.hint('journal', 'release-register', '--yes')}"
        return _unconfirmed(data, f"{place} still has the register {register}", remedy)
    await release(place, register)
    return Result(data, [f"{place} has no register now; name none in [journal]"])


def _unconfirmed(data: dict[str, object], message: str, remedy: str, *shown: Line) -> Result:
    problem = ConfigurationError(message, code="needs_yes", remedy=remedy)
    return Result(data, shown, problem=problem, ended=ExitStatus.ACTION_NEEDED)


def _both_places(session: InSession) -> tuple[JournalPlace, JournalPlace]:
    settings = session.settings()
    register = register_place(settings)
    if register is None:
        raise ConfigurationError(
            f"{session.file} names no register",
            code="missing_key",
            remedy="set register_url or register_file in [journal]",
        )
    return journal_place(settings), register


def _continuing(session: InSession) -> str:
    return session.hint("provider", "serve") if session.role == "provider" else session.hint("resume")
