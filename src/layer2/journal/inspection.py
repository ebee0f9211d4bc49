"""Checks what must be true of a journal's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, func, select, text

from layer2.journal.schema import events, fundings, intents, swaps
from layer2.legs.views import Verb
from layer2.swap_rules.states import ProviderReleasing

__all__ = ["problems_of"]

_SOUND: Final = "ok"


def problems_of(connection: Connection) -> Sequence[str]:
    """What is wrong with a journal's rows, one sentence for each problem; empty if they are sound."""
    return [*_damage(connection), *_missing_events(connection), *_missing_fundings(connection)]


def _damage(connection: Connection) -> list[str]:
    # PostgreSQL checks each page when it is read, if its checksums are on; and its foreign keys always hold.
    if connection.dialect.name != "sqlite":
        return []
    found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check"))]
    damage = [f"the file is damaged: {line}" for line in found if line != _SOUND]
    missing = connection.execute(text("PRAGMA foreign_key_check"))
    return damage + [f"a row of {row[0]} belongs to a swap that is missing" for row in missing]


def _missing_events(connection: Connection) -> list[str]:
    query = (
        select(swaps.c.swap_id, swaps.c.version, func.count(events.c.version))
        .outerjoin(events, events.c.swap_id == swaps.c.swap_id)
        .group_by(swaps.c.swap_id, swaps.c.version)
        .having(swaps.c.version != func.count(events.c.version))
    )
    return [
        f"swap {swap_id} has version {version} and {count} events"
        for swap_id, version, count in connection.execute(query)
    ]


def _missing_fundings(connection: Connection) -> list[str]:
    query = (
        select(swaps.c.swap_id, swaps.c.state)
        .distinct()
        .join(intents, intents.c.swap_id == swaps.c.swap_id)
        .outerjoin(fundings, fundings.c.swap_id == swaps.c.swap_id)
        .where(intents.c.verb == Verb.FUND.value, swaps.c.is_final.is_(False), fundings.c.swap_id.is_(None))
    )
    return [
        f"swap {row.swap_id} funds a hash that it does not hold"
        for row in connection.execute(query)
        # A swap that was released, and is open again to return a late funding, holds its hash no longer.
        if row.state["state"] != ProviderReleasing.name
    ]
