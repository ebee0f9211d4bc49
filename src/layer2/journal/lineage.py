"""SQL statements that compare a journal with its register, and repair an old copy from it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Text, and_, insert, literal, or_, select, type_coerce, update

from layer2.journal.register import Lineage, Registered, is_kept
from layer2.journal.rows import SWAPS, insert_or_keep, intent_of, row_of
from layer2.journal.schema import events, fundings, intents, lineage, owners, sends, swaps
from layer2.model.transactions import SwapId
from layer2.ports.journal import Delivery, Intent, JournalOwner, Role, SendRecord, SwapRecord

__all__ = ["bind", "content_for_register", "departed", "ended_of", "lineage_of", "owners_of", "release", "repair"]

T = TypeVar("T")
_PAGE: Final = 500
_IS_OPEN: Final = swaps.c.is_final.is_(False)
_LEFT: Final = (
    select(intents)
    .join(swaps, swaps.c.swap_id == intents.c.swap_id)
    .where(_IS_OPEN, intents.c.delivery.in_([each for each in Delivery if each.is_out]))
)


def lineage_of(connection: Connection) -> tuple[Lineage, bool]:
    """The journal's lineage, and whether it has a register."""
    row = connection.execute(select(lineage)).one()
    return Lineage(row.journal_id, row.branch, row.epoch), row.has_register


def bind(connection: Connection) -> None:
    """Note that the journal has a register."""
    connection.execute(update(lineage).values(has_register=True))


def release(connection: Connection) -> None:
    """Note that the journal no longer has a register."""
    connection.execute(update(lineage).values(has_register=False))


def content_for_register(connection: Connection) -> Registered:
    """What the journal's register has to hold."""
    released = type_coerce(swaps.c.state, Text).contains('"state":"released"')
    may_be_kept = and_(swaps.c.terms.is_not(None), or_(_IS_OPEN, swaps.c.role == Role.TAKER, released))
    found = (SwapRecord(**row._asdict()) for row in connection.execute(SWAPS.where(may_be_kept)))
    keyed = select(sends).where(sends.c.idempotency_key != sends.c.tx_id)
    return Registered(
        lineage_of(connection)[0],
        [record for record in found if is_kept(record)],
        [(row.swap_id, intent_of(row)) for row in connection.execute(_LEFT)],
        [SendRecord(**row._asdict()) for row in connection.execute(keyed)],
        owners_of(connection),
    )


def owners_of(connection: Connection) -> Sequence[JournalOwner]:
    """The owners of the journal's swaps."""
    return [JournalOwner(**row._asdict()) for row in connection.execute(select(owners))]


def departed(connection: Connection) -> tuple[frozenset[SwapId], frozenset[tuple[SwapId, int]]]:
    """The agreed swaps that are open, and those of their intents that left, or were about to."""
    agreed = select(swaps.c.swap_id).where(_IS_OPEN, swaps.c.terms.is_not(None))
    left = select(intents.c.swap_id, intents.c.number).join(swaps, swaps.c.swap_id == intents.c.swap_id)
    left = left.where(_IS_OPEN, intents.c.delivery != Delivery.INTENDED)
    return (
        frozenset(connection.execute(agreed).scalars()),
        frozenset((row.swap_id, row.number) for row in connection.execute(left)),
    )


def ended_of(connection: Connection, swap_ids: Sequence[SwapId]) -> frozenset[SwapId]:
    """Those of the swaps that have ended."""
    return frozenset(
        swap_id
        for page in _pages(swap_ids)
        for swap_id in connection.execute(
            select(swaps.c.swap_id).where(swaps.c.swap_id.in_(page), swaps.c.is_final)
        ).scalars()
    )


def repair(connection: Connection, found: Registered | None, now: int, *, is_old: bool) -> int:
    """Add what only the register has. On an old copy, also mark every open swap, and begin another branch.

    Args:
        found: what the register holds; None if it is lost, so that only marks are made.
        now: unix seconds, for the events of swaps.

    Returns:
        The number of open swaps that are marked.
    """
    registered = () if found is None else found.swaps
    known = _versions(connection, [each.swap_id for each in registered])
    later = [each for each in registered if each.version > known.get(each.swap_id, each.version)]
    if not is_old:
        # The journal itself lacks no decision that matters, except an address that others may pay.
        plans = _plans(connection)
        later = [each for each in later if each.swap_id in plans and each.request.get("funded_by_others") is True]
    missing = [each for each in registered if each.swap_id not in known]
    kept = {each.swap_id: each for each in _give_keys(connection, (*missing, *later))}
    missing, later = ([kept[each.swap_id] for each in those] for those in (missing, later))
    _take_later(connection, later, known, now)
    if found is not None:
        _add_sends_and_owners(connection, found)
    if is_old:
        _mark_open(connection, now)
        own, _ = lineage_of(connection)
        epoch = max(own.epoch, 0 if found is None else found.lineage.epoch) + 1
        journal_id = own.journal_id if found is None else found.lineage.journal_id
        values = {"journal_id": journal_id, "branch": secrets.token_hex(16), "epoch": epoch, "has_register": True}
        connection.execute(update(lineage).values(values))
    _add(connection, [replace(each, version=1, from_old_copy=True, updated_at=now) for each in missing])
    if found is not None:
        _add_intents(connection, found.intents)
    return _hold_hashes(connection)


def _versions(connection: Connection, swap_ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for page in _pages(swap_ids):
        query = select(swaps.c.swap_id, swaps.c.version).where(swaps.c.swap_id.in_(page))
        found.update((row.swap_id, row.version) for row in connection.execute(query))
    return found


def _plans(connection: Connection) -> frozenset[str]:
    """The open swaps without terms."""
    return frozenset(connection.execute(select(swaps.c.swap_id).where(_IS_OPEN, swaps.c.terms.is_(None))).scalars())


def _give_keys(connection: Connection, records: Iterable[SwapRecord]) -> list[SwapRecord]:
    """Decide which swap holds each key and quote: the newest one that held it, because the others have released it.

    The swaps of the journal that hold one no longer release it here.

    Returns:
        The records, newest first. Those that lose their key no longer hold it.
    """
    taken: set[tuple[Role, str, str]] = set()
    kept: list[SwapRecord] = []
    for record in sorted(records, key=lambda each: each.created_at, reverse=True):
        names = ("idempotency_key", "quote_id") if record.holds_key else ()
        held = {name: value for name in names if (value := getattr(record, name)) is not None}
        mine = {(record.role, name, value) for name, value in held.items()}
        others = [_holds(record, name, value) for name, value in held.items()]
        if mine & taken or any(_is_newer(connection, other, record) for other in others):
            kept.append(replace(record, holds_key=False))
            continue
        taken |= mine
        kept.append(record)
        for other in others:
            connection.execute(update(swaps).where(other).values(holds_key=False))
    return kept


def _holds(record: SwapRecord, name: str, value: str) -> ColumnElement[bool]:
    return and_(
        swaps.c.role == record.role, swaps.c[name] == value, swaps.c.holds_key, swaps.c.swap_id != record.swap_id
    )


def _is_newer(connection: Connection, other: ColumnElement[bool], record: SwapRecord) -> bool:
    newer = select(swaps.c.number).where(other, swaps.c.created_at > record.created_at)
    return connection.execute(newer).first() is not None


def _take_later(connection: Connection, later: Sequence[SwapRecord], known: dict[str, int], now: int) -> None:
    """Continue from the state that the register has, which is later than that of the old copy."""
    for record in later:
        version = known[record.swap_id] + 1
        names = "state", "is_final", "terms", "idempotency_key", "holds_key"
        values: dict[str, Any] = {name: getattr(record, name) for name in names}
        values |= {"version": version, "updated_at": now, "from_old_copy": True}
        connection.execute(update(swaps).where(swaps.c.swap_id == record.swap_id).values(values))
        _add_events(connection, [replace(record, version=version)], "a later state, from the register", now)


def _mark_open(connection: Connection, now: int) -> None:
    marked = select(
        swaps.c.swap_id, swaps.c.version + 1, literal("the journal is an old copy"), literal(now), swaps.c.state
    ).where(_IS_OPEN)
    connection.execute(insert(events).from_select(["swap_id", "version", "event", "at", "state"], marked))
    values = {"version": swaps.c.version + 1, "from_old_copy": True, "updated_at": now}
    connection.execute(update(swaps).where(_IS_OPEN).values(values))
    # A late payment reopens a swap that has ended.
    connection.execute(update(swaps).where(~swaps.c.from_old_copy).values(from_old_copy=True))


def _add(connection: Connection, records: Sequence[SwapRecord]) -> None:
    for page in _pages(records):
        connection.execute(insert(swaps), [row_of(record) for record in page])
        _add_events(connection, page, "restored from the register")


def _add_events(connection: Connection, records: Sequence[SwapRecord], event: str, now: int | None = None) -> None:
    rows = [
        {
            "swap_id": record.swap_id,
            "version": record.version,
            "event": event,
            "at": record.updated_at if now is None else now,
            "state": record.state,
        }
        for record in records
    ]
    connection.execute(insert(events), rows)


def _add_intents(connection: Connection, left: Sequence[tuple[SwapId, Intent]]) -> None:
    """Add what left, and note that it left where the old copy only intended it."""
    known: dict[SwapId, dict[int, Intent]] = {}
    for page in _pages(list({swap_id for swap_id, _ in left})):
        for row in connection.execute(select(intents).where(intents.c.swap_id.in_(page))):
            known.setdefault(row.swap_id, {})[row.number] = intent_of(row)
    for swap_id, intent in left:
        of_swap = known.setdefault(swap_id, {})
        same = of_swap.get(intent.number)
        if same is not None and same.act == intent.act:
            if not same.delivery.is_out:
                of_row = and_(intents.c.swap_id == swap_id, intents.c.number == intent.number)
                connection.execute(update(intents).where(of_row).values(delivery=Delivery.LEAVING))
            continue
        # A superseded journal can have another intent with that number.
        number = intent.number if same is None else max(of_swap) + 1
        of_swap[number] = replace(intent, number=number, delivery=Delivery.LEAVING)
        connection.execute(insert(intents), row_of(of_swap[number]) | {"swap_id": swap_id})


def _add_sends_and_owners(connection: Connection, found: Registered) -> None:
    for page in _pages(found.sends):
        connection.execute(insert_or_keep(connection, sends), [row_of(each) for each in page])
    if found.owners:
        connection.execute(insert_or_keep(connection, owners), [row_of(each) for each in found.owners])


def _hold_hashes(connection: Connection) -> int:
    """Let marked swaps hold their hashes, which they may have funded; return how many of them are open."""
    marked = select(swaps.c.role, swaps.c.payment_hash, swaps.c.swap_id).where(
        swaps.c.from_old_copy, _IS_OPEN, swaps.c.payment_hash.is_not(None), swaps.c.terms.is_not(None)
    )
    rows = [row._asdict() for row in connection.execute(marked)]
    for page in _pages(rows):
        connection.execute(insert_or_keep(connection, fundings), page)
    return len(rows)


def _pages(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), _PAGE):
        yield rows[start : start + _PAGE]
