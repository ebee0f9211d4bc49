"""SQL statements on the journal's tables, for use within a transaction of the journal."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from layer2.errors import FundsRulesError, IdempotencyConflict, JournalError
from layer2.legs.views import Verb
from layer2.model.transactions import SwapId
from layer2.ports.journal import Delivery, Intent, Json, Role, SendRecord, SwapRecord
from layer2.swap_engine.schema import events, intents, sends, swaps

__all__ = [
    "add_event",
    "add_intent",
    "add_swap",
    "check_hash_is_free",
    "find_send",
    "find_send_of",
    "find_swap",
    "one_swap",
    "read_intent",
    "read_json",
    "read_swap",
    "swap_that_holds",
    "write_json",
]


_PAID: Final = ("completed", "lost")
"""Final states of swaps whose own funding was collected."""


def write_json(value: Json) -> str:
    """The text that the journal stores."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_json(text: str) -> Json:
    """The reverse of ``write_json``."""
    value: Json = json.loads(text)
    return value


def read_swap(row: Row[Any]) -> SwapRecord:
    """A row of ``swaps`` as a record."""
    return SwapRecord(
        swap_id=SwapId(row.swap_id),
        role=Role(row.role),
        version=row.version,
        state=read_json(row.state),
        is_final=row.is_final,
        payment_hash=row.payment_hash,
        terms=None if row.terms is None else read_json(row.terms),
        request=read_json(row.request),
        provider_name=row.provider_name,
        quote_id=row.quote_id,
        access=row.access,
        idempotency_key=row.idempotency_key,
        holds_key=row.holds_key,
        attention=row.attention,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def read_intent(row: Row[Any]) -> Intent:
    """A row of ``intents`` as an intent."""
    return Intent(row.number, row.verb, row.end, read_json(row.act), Delivery(row.delivery))


def one_swap(connection: Connection, swap_id: SwapId) -> SwapRecord:
    """A swap that exists."""
    return read_swap(connection.execute(select(swaps).where(swaps.c.swap_id == swap_id)).one())


def find_swap(connection: Connection, role: Role, idempotency_key: str) -> SwapRecord | None:
    """The swap of that role that holds the key, otherwise the newest swap that was abandoned with it, or None."""
    query = (
        select(swaps)
        .where(swaps.c.role == role.value, swaps.c.idempotency_key == idempotency_key)
        .order_by(swaps.c.holds_key.desc(), swaps.c.number.desc())
        .limit(1)
    )
    return _first(connection, query)


def swap_that_holds(connection: Connection, asked: SwapRecord) -> SwapRecord | None:
    """The swap that holds the key or the quote of a new swap, or None if both are free.

    Raises:
        IdempotencyConflict: another request holds the key, or a swap with another key holds the quote.
    """
    held = select(swaps).where(swaps.c.role == asked.role.value, swaps.c.holds_key)
    if asked.idempotency_key is not None:
        known = _first(connection, held.where(swaps.c.idempotency_key == asked.idempotency_key))
        if known is not None:
            if known.request != asked.request:
                raise _conflict("the idempotency key was used with another request", known)
            return known
    if asked.quote_id is None:
        return None
    known = _first(connection, held.where(swaps.c.quote_id == asked.quote_id))
    if known is None:
        return None
    if known.request != asked.request:
        raise _conflict("the quote was used with another request", known)
    if asked.idempotency_key is None:
        return known
    if known.idempotency_key is not None:
        raise _conflict("the quote was used with another idempotency key", known)
    # From now on the key finds this swap, even with another quote.
    keyed = update(swaps).where(swaps.c.swap_id == known.swap_id).values(idempotency_key=asked.idempotency_key)
    connection.execute(keyed)
    return one_swap(connection, known.swap_id)


def _conflict(what: str, known: SwapRecord) -> IdempotencyConflict:
    return IdempotencyConflict(f"{what}; no transfer was started", transfer_id=known.swap_id)


def _first(connection: Connection, query: Select[Any]) -> SwapRecord | None:
    row = connection.execute(query).first()
    return None if row is None else read_swap(row)


def add_swap(connection: Connection, record: SwapRecord) -> SwapRecord:
    """Add a swap as version 1, with its first event.

    Raises:
        JournalError: a swap with that id exists.
    """
    values = {
        "swap_id": record.swap_id,
        "role": record.role.value,
        "version": 1,
        "state": write_json(record.state),
        "is_final": record.is_final,
        "payment_hash": record.payment_hash,
        "terms": None if record.terms is None else write_json(record.terms),
        "request": write_json(record.request),
        "provider_name": record.provider_name,
        "quote_id": record.quote_id,
        "access": record.access,
        "idempotency_key": record.idempotency_key,
        "holds_key": record.holds_key,
        "attention": record.attention,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
    try:
        connection.execute(insert(swaps).values(values))
    except IntegrityError as error:
        raise JournalError("the journal already has a swap with that id", transfer_id=record.swap_id) from error
    add_event(connection, record.swap_id, 1, "created", record.created_at, record.state)
    return one_swap(connection, record.swap_id)


def check_hash_is_free(connection: Connection, record: SwapRecord) -> None:
    """Check that no other swap pays the hash.

    Call it in the transaction that writes the intent, so that two swaps cannot both find the hash free.

    Raises:
        FundsRulesError: another open swap of this role has an intent to fund the same hash, or a swap that ended has
            paid it: a third party's invoice is paid once, over any layer.
    """
    same_hash = select(swaps).where(
        swaps.c.payment_hash == record.payment_hash,
        swaps.c.role == record.role.value,
        swaps.c.swap_id != record.swap_id,
    )
    paid = same_hash.where(func.json_extract(swaps.c.state, "$.state").in_(_PAID))
    if _first(connection, paid) is not None:
        raise FundsRulesError("another transfer has already paid this payment hash", transfer_id=record.swap_id)
    begun = same_hash.join(intents, intents.c.swap_id == swaps.c.swap_id).where(
        swaps.c.is_final.is_(False), intents.c.verb == Verb.FUND.value
    )
    if _first(connection, begun) is not None:
        raise FundsRulesError("another open transfer has funded the same payment hash", transfer_id=record.swap_id)


def add_intent(connection: Connection, swap_id: SwapId, intent: Intent) -> None:
    """Add an intent.

    Raises:
        JournalError: an intent with its number exists.
    """
    try:
        connection.execute(
            insert(intents).values(
                swap_id=swap_id,
                number=intent.number,
                verb=intent.verb,
                end=intent.end,
                act=write_json(intent.act),
                delivery=intent.delivery.value,
            )
        )
    except IntegrityError as error:
        raise JournalError(f"the intent {intent.number} already exists", transfer_id=swap_id) from error


def add_event(connection: Connection, swap_id: SwapId, version: int, event: str, at: int, state: Json) -> None:
    """Add the event of a version."""
    connection.execute(
        insert(events).values(swap_id=swap_id, version=version, event=event, at=at, state=write_json(state))
    )


def find_send(connection: Connection, protocol: str, key: str) -> SendRecord | None:
    """The record of a single send by its key, or None."""
    found = select(sends).where(sends.c.protocol == protocol, sends.c.idempotency_key == key)
    return _read_send(connection.execute(found).one_or_none())


def find_send_of(connection: Connection, protocol: str, tx_id: str) -> SendRecord | None:
    """The record of a single send by its transaction, or None."""
    found = select(sends).where(sends.c.protocol == protocol, sends.c.tx_id == tx_id).limit(1)
    return _read_send(connection.execute(found).one_or_none())


def _read_send(row: Row[Any] | None) -> SendRecord | None:
    if row is None:
        return None
    return SendRecord(row.protocol, row.idempotency_key, row.request, row.tx_id, read_json(row.act))
