"""Swaps that a provider accepts: added only by a process that has taken all others into account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from layer2.journal.schema import swaps
from layer2.journal.transitions import create_swaps
from layer2.ports.journal import Role, SeenSwaps, SwapRecord

__all__ = ["Accepted", "accept_swaps", "last_number"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A swap that a process accepts, and what it had taken into account when it decided that."""

    record: SwapRecord
    seen: SeenSwaps
    reads: int


def accept_swaps(connection: Connection, given: Sequence[Accepted]) -> Sequence[SwapRecord | Exception | None]:
    """Add swaps. See ``SwapJournal.accept``. No other transaction of this kind may overlap with this one.

    A transaction that is rolled back leaves ``seen.last`` too high. That is harmless: a number is given out once, so
    every swap that another process adds later has a higher one.
    """
    last = last_number(connection, Role.PROVIDER)
    # ``last`` before ``reads``: the event loop can change both meanwhile, in the other order.
    is_current = [last <= each.seen.last and each.reads == each.seen.reads for each in given]
    made = [each for each, current in zip(given, is_current, strict=True) if current]
    if not made:
        return [None] * len(given)
    results = iter(create_swaps(connection, [each.record for each in made]))
    last = last_number(connection, Role.PROVIDER)
    for each in made:
        each.seen.last = max(each.seen.last, last)
    return [next(results) if current else None for current in is_current]


def last_number(connection: Connection, role: Role) -> int:
    """The number of the newest swap of a role, 0 without one."""
    found: int | None = connection.execute(select(func.max(swaps.c.number)).where(swaps.c.role == role)).scalar()
    return found or 0
