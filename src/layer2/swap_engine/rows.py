"""SQL statements on the journal's tables, for use within a transaction of the journal."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from sqlalchemy import Connection, Executable, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from layer2.errors import FundsRulesError, IdempotencyConflict, JournalError
from layer2.legs.views import Verb
from layer2.model.transactions import SwapId
from layer2.ports.journal import Intent, Json, SendRecord, SwapRecord
from layer2.swap_engine.schema import events, intents, swaps

__all__ = [
    "SWAPS",
    "add_event",
    "add_intent",
    "add_swap",
    "check_hash_is_free",
    "first_swap",
    "row_of",
    "swap_that_holds",
]

SWAPS: Final = select(*(swaps.c[each.name] for each in fields(SwapRecord)))
"""All swaps; ``SwapRecord`` has a field for each column but the number."""
_PAID: Final = ("completed", "lost")
"""Final states of swaps whose own funding was collected."""


def row_of(record: SwapRecord | Intent | SendRecord) -> dict[str, object]:
    """The fields of a record, which are the columns of its table."""
    return {each.name: getattr(record, each.name) for each in fields(record)}


def first_swap(connection: Connection, query: Executable) -> SwapRecord | None:
    """The first swap of a query on ``SWAPS``, or None."""
    row = connection.execute(query).first()
    return None if row is None else SwapRecord(**row._asdict())


def swap_that_holds(connection: Connection, asked: SwapRecord) -> SwapRecord | None:
    """The swap that holds the key or the quote of a new swap, or None if both are free.

    Raises:
        IdempotencyConflict: another request holds the key, or a swap with another key holds the quote.
    """
    held = SWAPS.where(swaps.c.role == asked.role, swaps.c.holds_key)
    if asked.idempotency_key is not None:
        known = first_swap(connection, held.where(swaps.c.idempotency_key == asked.idempotency_key))
        if known is not None:
            if known.request != asked.request:
                raise _conflict("the idempotency key was used with another request", known)
            return known
    if asked.quote_id is None:
        return None
    known = first_swap(connection, held.where(swaps.c.quote_id == asked.quote_id))
    if known is None:
        return None
    if known.request != asked.request:
        raise _conflict("the quote was used with another request", known)
    if asked.idempotency_key is None:
        return known
    if known.idempotency_key is not None:
        raise _conflict("the quote was used with another idempotency key", known)
    # From now on the key finds this swap, even with another quote.
    of_known = swaps.c.swap_id == known.swap_id
    connection.execute(update(swaps).where(of_known).values(idempotency_key=asked.idempotency_key))
    return first_swap(connection, SWAPS.where(of_known))


def _conflict(what: str, known: SwapRecord) -> IdempotencyConflict:
    return IdempotencyConflict(f"{what}; no transfer was started", transfer_id=known.swap_id)


def add_swap(connection: Connection, record: SwapRecord) -> SwapRecord:
    """Add a swap as version 1, with its first event, and return it.

    Raises:
        JournalError: a swap with that id exists.
    """
    try:
        connection.execute(insert(swaps).values(row_of(record) | {"version": 1}))
    except IntegrityError as error:
        raise JournalError("the journal already has a swap with that id", transfer_id=record.swap_id) from error
    add_event(connection, record.swap_id, 1, "created", record.created_at, record.state)
    added = first_swap(connection, SWAPS.where(swaps.c.swap_id == record.swap_id))
    assert added is not None
    return added


def check_hash_is_free(connection: Connection, record: SwapRecord) -> None:
    """Check that no other swap pays the hash.

    Call it in the transaction that writes the intent, so that two swaps cannot both find the hash free.

    Raises:
        FundsRulesError: another open swap of this role has an intent to fund the same hash, or a swap that ended has
            paid it: a third party's invoice is paid once, over any layer.
    """
    same_hash = SWAPS.where(
        swaps.c.payment_hash == record.payment_hash,
        swaps.c.role == record.role,
        swaps.c.swap_id != record.swap_id,
    )
    paid = same_hash.where(func.json_extract(swaps.c.state, "$.state").in_(_PAID))
    if first_swap(connection, paid) is not None:
        raise FundsRulesError("another transfer has already paid this payment hash", transfer_id=record.swap_id)
    begun = same_hash.join(intents, intents.c.swap_id == swaps.c.swap_id).where(
        swaps.c.is_final.is_(False), intents.c.verb == Verb.FUND.value
    )
    if first_swap(connection, begun) is not None:
        raise FundsRulesError("another open transfer has funded the same payment hash", transfer_id=record.swap_id)


def add_intent(connection: Connection, swap_id: SwapId, intent: Intent) -> None:
    """Add an intent.

    Raises:
        JournalError: an intent with its number exists.
    """
    try:
        connection.execute(insert(intents).values(row_of(intent) | {"swap_id": swap_id}))
    except IntegrityError as error:
        raise JournalError(f"the intent {intent.number} already exists", transfer_id=swap_id) from error


def add_event(connection: Connection, swap_id: SwapId, version: int, event: str, at: int, state: Json) -> None:
    """Add the event of a version."""
    connection.execute(insert(events).values(swap_id=swap_id, version=version, event=event, at=at, state=state))
