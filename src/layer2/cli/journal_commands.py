"""``layer2 journal``: the owners of a journal, and its transfers by state."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from layer2.cli.exit_status import ExitStatus
from layer2.cli.journal_reading import configured_owners, existing_journal, guard_holder, is_stopped
from layer2.cli.output import Result, table
from layer2.cli.session import InSession
from layer2.cli.transfer_wording import state_name
from layer2.cli.wording import fields_of
from layer2.errors import ConfigurationError, InvalidRequest
from layer2.legs.timelock_settings import settings_for

__all__ = ["add", "show"]


async def show(*, session: InSession) -> Result:
    """Show the journal's owners, the number of transfers in each state, and the process that acts on it.

    It only reads, and does not disturb a running service.
    """
    settings = session.settings()
    path = settings.journal.path
    mine = configured_owners(settings)
    async with existing_journal(path) as journal:
        owners = await journal.owners()
        records = await journal.list()
    rules, holder = settings_for(settings.network), guard_holder(path)
    counts = sorted(Counter((each.role.value, state_name(each, rules)) for each in records).items())
    rows = tuple((each.kind, each.value, "yes" if each in mine else "no") for each in owners)
    states = tuple((whose, state, str(count)) for (whose, state), count in counts)
    return Result(
        {
            "path": str(path),
            "owners": [{**fields_of(each, "kind", "value"), "is_configured": each in mine} for each in owners],
            "states": [{"role": whose, "state": state, "count": count} for (whose, state), count in counts],
            "held_by": holder,
        },
        [
            f"journal      {path}",
            f"used by      {'no process' if holder is None else f'process {holder}'}"
            f"{', which is stopped' if is_stopped(holder) else ''}",
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
    data = {"path": str(path), "owners": [fields_of(each, "kind", "value") for each in fresh], "added": yes}
    if not fresh:
        return Result(data, [f"{path} already accepts this configuration"])
    rows = (
        *((each.kind, each.value, "in the journal") for each in known),
        *((each.kind, each.value, "new") for each in fresh),
    )
    shown = table(("owner", "value", ""), rows)
    if yes:
        return Result(data, [shown, f"added to {path}"])
    words = ("journal", "add", *(word for word in (kind, value) if word), "--yes")
    problem = ConfigurationError(
        f"nothing was added to {path}",
        code="needs_yes",
        remedy=f"if all of these are yours: {session.hint(*words)}",
    )
    return Result(data, [shown], problem=problem, ended=ExitStatus.ACTION_NEEDED)
