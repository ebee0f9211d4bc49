"""What swaps write: their creation, their next states, and the deliveries of their acts.

Each function makes the writes of many swaps with few statements, because a statement costs more than a row. It returns
a result for each write, in order: what the caller gets, or the error that it raises, in which case nothing was written
for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, tuple_, update

from layer2.errors import FundsRulesError, IdempotencyConflict, JournalError, StaleSwap
from layer2.journal.deliveries import begun_delivery, ended_delivery
from layer2.journal.nonces import NonceTable
from layer2.journal.register import Departure
from layer2.journal.rows import SWAPS, insert_or_keep, intent_of, row_of, swap_that_holds
from layer2.journal.schema import coins, events, fundings, intents, lineage, swaps
from layer2.legs.views import Verb
from layer2.model.transactions import SwapId
from layer2.ports.journal import (
    Delivery,
    Intent,
    Json,
    Role,
    SwapRecord,
    swap_holder,
)
from layer2.ports.nonces import NonceClaim

__all__ = [
    "Advance",
    "Beginning",
    "Begun",
    "Delivered",
    "advance_swaps",
    "begin_deliveries",
    "create_swaps",
    "next_epoch",
    "record_deliveries",
]

_PAID: Final = ("completed", "lost")
"""Final states of swaps whose own funding was collected."""


@dataclass(frozen=True, slots=True)
class Advance:
    """The next version of a swap."""

    record: SwapRecord
    state: Json
    is_final: bool
    event: str
    now: int
    terms: Json | None
    """None keeps those of the record."""
    intents: Sequence[Intent] = field(repr=False)
    attention: str | None
    holds_key: bool
    """False releases the key and the quote; True keeps what the record has."""
    nonces: Sequence[NonceClaim] = ()

    @property
    def funds(self) -> bool:
        """Whether it has an intent to fund."""
        return any(intent.verb == Verb.FUND.value for intent in self.intents)


@dataclass(frozen=True, slots=True)
class Beginning:
    """An attempt to send an intent, which begins."""

    swap_id: SwapId
    version: int
    """The version of the swap from which it was decided."""
    number: int
    was: Delivery
    """What was known of the delivery then."""
    attempt: str
    """The id of the attempt."""
    nonces: Sequence[NonceClaim] = ()
    """Those of the intent's transactions, which must still have them."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that has begun."""

    delivery: Delivery
    departure: Departure | None
    """What the register has to know before the act leaves; None without a register."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What is known of the delivery of an intent after an attempt."""

    swap_id: SwapId
    version: int
    """The version of the swap at which the attempt began."""
    number: int
    delivery: Delivery
    attempt: str | None
    """None: one that has begun."""
    nonces: Sequence[NonceClaim] = ()
    """Those that count as not sent again if the attempt was certainly not sent."""


_CURRENT: Final = select(swaps.c.swap_id, swaps.c.version, swaps.c.idempotency_key, swaps.c.holds_key).where(
    swaps.c.swap_id.in_(bindparam("ids", expanding=True))
)
_UPDATE: Final = (
    update(swaps)
    .where(swaps.c.swap_id == bindparam("of"))
    .values(
        version=bindparam("version"),
        state=bindparam("state"),
        is_final=bindparam("is_final"),
        attention=bindparam("attention"),
        updated_at=bindparam("updated_at"),
        holds_key=bindparam("holds_key"),
    )
)
_UPDATE_TERMS: Final = update(swaps).where(swaps.c.swap_id == bindparam("of")).values(terms=bindparam("terms"))
_HOLDERS: Final = (
    select(fundings.c.role, fundings.c.payment_hash, fundings.c.swap_id, swaps.c.is_final)
    .join(swaps, swaps.c.swap_id == fundings.c.swap_id)
    .where(fundings.c.payment_hash.in_(bindparam("hashes", expanding=True)))
)
_TAKE_HASH: Final = (
    update(fundings)
    .where(fundings.c.role == bindparam("of_role"), fundings.c.payment_hash == bindparam("of_hash"))
    .values(swap_id=bindparam("of"))
)
_RELEASE_HASH: Final = delete(fundings).where(fundings.c.swap_id == bindparam("of"))
_RELEASE_COINS: Final = delete(coins).where(
    coins.c.holder == bindparam("of_holder"),
    ~select(swaps.c.number).where(swaps.c.payment_hash == bindparam("of_hash"), swaps.c.is_final.is_(False)).exists(),
)
_DELIVERIES: Final = (
    select(swaps.c.swap_id, swaps.c.version, intents.c.number, intents.c.delivery, intents.c.attempt)
    .join(intents, intents.c.swap_id == swaps.c.swap_id)
    .where(swaps.c.swap_id.in_(bindparam("ids", expanding=True)))
)
_BEGIN: Final = (
    update(intents)
    .where(intents.c.swap_id == bindparam("of"), intents.c.number == bindparam("of_number"))
    .values(delivery=bindparam("delivery"), attempt=bindparam("attempt"))
)
_END: Final = (
    update(intents)
    .where(intents.c.swap_id == bindparam("of"), intents.c.number == bindparam("of_number"))
    .values(delivery=bindparam("delivery"))
)
_KNOWN_WITH: Final = {
    name: select(swaps.c.number).where(swaps.c[name].in_(bindparam("given", expanding=True))).limit(1)
    for name in ("swap_id", "idempotency_key", "quote_id")
}
_NEXT_EPOCH: Final = (
    update(lineage).where(lineage.c.has_register).values(epoch=lineage.c.epoch + 1).returning(lineage.c.epoch)
)
_RECORDS: Final = SWAPS.where(swaps.c.swap_id.in_(bindparam("ids", expanding=True)))
_INTENTS: Final = select(intents).where(
    tuple_(intents.c.swap_id, intents.c.number).in_(bindparam("numbers", expanding=True))
)


def create_swaps(connection: Connection, records: Sequence[SwapRecord]) -> Sequence[SwapRecord | Exception]:
    """Add swaps as version 1. See ``SwapJournal.create``."""
    if _are_new(connection, records):
        return _added(connection, records)
    return [_created(connection, record) for record in records]


def _added(connection: Connection, records: Sequence[SwapRecord]) -> Sequence[SwapRecord]:
    added = [replace(record, version=1) for record in records]
    connection.execute(insert(swaps), [row_of(record) for record in added])
    _add_events(connection, [(record, "created", record.created_at) for record in added])
    return added


def _are_new(connection: Connection, records: Sequence[SwapRecord]) -> bool:
    """Whether no two of these and no known swap can have a key, a quote or an id in common."""
    for name in _KNOWN_WITH:
        given = [value for record in records if (value := getattr(record, name)) is not None]
        if len(given) != len(set(given)) or (given and connection.execute(_KNOWN_WITH[name], {"given": given}).first()):
            return False
    return True


def _created(connection: Connection, record: SwapRecord) -> SwapRecord | Exception:
    """The new swap, or the one that holds its key or its quote."""
    try:
        known = swap_that_holds(connection, record)
    except IdempotencyConflict as error:
        return error
    if known is not None:
        return known
    if connection.execute(_CURRENT, {"ids": [record.swap_id]}).first() is not None:
        return JournalError("the journal already has a swap with that id", transfer_id=record.swap_id)
    return _added(connection, [record])[0]


def advance_swaps(connection: Connection, advances: Sequence[Advance]) -> Sequence[SwapRecord | Exception]:
    """Write the next versions of swaps. See ``SwapJournal.advance``."""
    found = connection.execute(_CURRENT, {"ids": [each.record.swap_id for each in advances]})
    current = {row.swap_id: row for row in found}
    holders = _holders(connection, [each.record for each in advances if each.funds])
    table = NonceTable(connection, [claim for each in advances for claim in each.nonces])
    results: list[SwapRecord | Exception] = []
    made: list[tuple[Advance, SwapRecord]] = []
    for each in advances:
        # Of several advances of one swap the first is made; the others expect a version that is gone.
        row = current.pop(each.record.swap_id, None)
        if row is None or row.version != each.record.version:
            results.append(StaleSwap("another task has advanced the swap", transfer_id=each.record.swap_id))
            continue
        # The hash is taken last, because a swap that is refused must not hold it.
        problem = table.refusal(each.nonces) or (_funding_problem(each, holders) if each.funds else None)
        if problem is not None:
            results.append(problem)
            continue
        advanced = replace(
            each.record,
            version=each.record.version + 1,
            state=each.state,
            is_final=each.is_final,
            attention=each.attention,
            updated_at=each.now,
            terms=each.record.terms if each.terms is None else each.terms,
            # A retry of the request may have given it a key.
            idempotency_key=row.idempotency_key,
            holds_key=row.holds_key and each.holds_key,
        )
        table.take(each.nonces)
        made.append((each, advanced))
        results.append(advanced)
    _write(connection, made)
    table.write()
    return results


_Holders = dict[tuple[Role, bytes | None], tuple[SwapId, bool]]


def _holders(connection: Connection, records: Sequence[SwapRecord]) -> _Holders:
    """The swap that holds each hash, and whether it has ended."""
    if not records:
        return {}
    rows = connection.execute(_HOLDERS, {"hashes": [record.payment_hash for record in records]})
    return {(row.role, row.payment_hash): (row.swap_id, row.is_final) for row in rows}


def _funding_problem(each: Advance, holders: _Holders) -> FundsRulesError | None:
    """Why the swap cannot fund its hash; None if it can, and from now on it holds the hash."""
    record = each.record
    swap_id, has_ended = holders.setdefault((record.role, record.payment_hash), (record.swap_id, False))
    if swap_id == record.swap_id:
        return None
    return FundsRulesError(
        "another transfer has already paid this payment hash"
        if has_ended
        else "another open transfer has funded the same payment hash",
        transfer_id=record.swap_id,
    )


def _write(connection: Connection, made: Sequence[tuple[Advance, SwapRecord]]) -> None:
    if not made:
        return
    rows = [
        {
            "of": record.swap_id,
            "version": record.version,
            "state": record.state,
            "is_final": record.is_final,
            "attention": record.attention,
            "updated_at": record.updated_at,
            "holds_key": record.holds_key,
        }
        for _, record in made
    ]
    connection.execute(_UPDATE, rows)
    terms = [{"of": record.swap_id, "terms": each.terms} for each, record in made if each.terms is not None]
    if terms:
        connection.execute(_UPDATE_TERMS, terms)
    added = [row_of(intent) | {"swap_id": record.swap_id} for each, record in made for intent in each.intents]
    if added:
        connection.execute(insert(intents), added)
    _add_events(connection, [(record, each.event, each.now) for each, record in made])
    _hold_hashes(connection, (record for each, record in made if each.funds))
    _end(connection, [record for _, record in made if record.is_final and record.payment_hash is not None])


def _add_events(connection: Connection, made: Sequence[tuple[SwapRecord, str, int]]) -> None:
    rows = [
        {"swap_id": record.swap_id, "version": record.version, "event": event, "at": now, "state": record.state}
        for record, event, now in made
    ]
    connection.execute(insert(events), rows)


def _hold_hashes(connection: Connection, records: Iterable[SwapRecord]) -> None:
    rows = [{"role": record.role, "payment_hash": record.payment_hash, "swap_id": record.swap_id} for record in records]
    if rows:
        connection.execute(insert_or_keep(connection, fundings), rows)


def _end(connection: Connection, ended: Sequence[SwapRecord]) -> None:
    """Keep the hashes of swaps that ended and have paid them, and release those of the others; and all their coins."""
    paid = [record for record in ended if record.state["state"] in _PAID]
    if paid:
        _hold_hashes(connection, paid)
        # Another swap may hold the hash although this one has paid it, and would release it at its end.
        given = [{"of": each.swap_id, "of_role": each.role, "of_hash": each.payment_hash} for each in paid]
        connection.execute(_TAKE_HASH, given)
    unpaid = [{"of": record.swap_id} for record in ended if record.state["state"] not in _PAID]
    if unpaid:
        connection.execute(_RELEASE_HASH, unpaid)
    if ended:
        connection.execute(_RELEASE_COINS, list(_released(ended)))


def _released(ended: Sequence[SwapRecord]) -> Iterator[Mapping[str, object]]:
    for record in ended:
        assert record.payment_hash is not None
        yield {"of_holder": swap_holder(record.payment_hash), "of_hash": record.payment_hash}


def begin_deliveries(connection: Connection, beginnings: Sequence[Beginning]) -> Sequence[Begun | Exception]:
    """Note that attempts begin, and count that acts may leave. See ``SwapJournal.begin_delivery``."""
    current = _deliveries(connection, [each.swap_id for each in beginnings])
    table = NonceTable(connection, [claim for each in beginnings for claim in each.nonces])
    results: list[Delivery | Exception] = []
    rows: list[dict[str, Any]] = []
    for each in beginnings:
        known, delivery = current.get((each.swap_id, each.number)), begun_delivery(each.was)
        is_begun = known is not None and (known.delivery, known.attempt) == (delivery, each.attempt)
        if known is None or known.version != each.version or (known.delivery is not each.was and not is_begun):
            results.append(StaleSwap("another task acts for the swap", transfer_id=each.swap_id))
            continue
        refusal = table.refusal(each.nonces)
        if refusal is not None:
            results.append(refusal)
            continue
        if delivery is Delivery.LEAVING and table.is_sent_by_another(each.nonces[-1:]):
            # The answer to the first call was lost, and meanwhile a worker that found the nonce has sent the act.
            delivery = Delivery.UNKNOWN
        table.take(each.nonces)
        # Of several attempts that begin together, the first one changes what the others expect.
        current[each.swap_id, each.number] = _Known(each.version, delivery, each.attempt)
        rows.append({"of": each.swap_id, "of_number": each.number, "delivery": delivery, "attempt": each.attempt})
        results.append(delivery)
    if rows:
        connection.execute(_BEGIN, rows)
    table.write()
    # Also of a repeated call: the register may not have the first one.
    departures = _departures(connection, [(each["of"], each["of_number"]) for each in rows])
    return [
        result if isinstance(result, Exception) else Begun(result, departures.get((each.swap_id, each.number)))
        for each, result in zip(beginnings, results, strict=True)
    ]


def next_epoch(connection: Connection) -> int | None:
    """Count a transaction that lets an act leave; None without a register."""
    return connection.execute(_NEXT_EPOCH).scalar()


def _departures(
    connection: Connection, leaving: Sequence[tuple[SwapId, int]]
) -> Mapping[tuple[SwapId, int], Departure]:
    epoch = next_epoch(connection) if leaving else None
    if epoch is None:
        return {}
    found = connection.execute(_RECORDS, {"ids": [swap_id for swap_id, _ in leaving]})
    records = {row.swap_id: SwapRecord(**row._asdict()) for row in found}
    rows = connection.execute(_INTENTS, {"numbers": leaving})
    return {(row.swap_id, row.number): Departure(epoch, records[row.swap_id], intent_of(row)) for row in rows}


def record_deliveries(connection: Connection, delivered: Sequence[Delivered]) -> Sequence[Delivery | Exception]:
    """Write what is known of deliveries. See ``SwapJournal.record_delivery``."""
    current = _deliveries(connection, [each.swap_id for each in delivered])
    table = NonceTable(connection, [claim for each in delivered for claim in each.nonces])
    results: list[Delivery | Exception] = []
    rows: list[Mapping[str, object]] = []
    for each in delivered:
        known = current.get((each.swap_id, each.number))
        if known is None:
            results.append(JournalError("there is no such intent", transfer_id=each.swap_id))
            continue
        has_begun = each.attempt in (None, known.attempt)
        is_current = known.version == each.version
        delivery = ended_delivery(known.delivery, each.delivery, has_begun=has_begun, is_current=is_current)
        is_returned = delivery is Delivery.UNSENT and known.delivery is Delivery.LEAVING
        if is_returned and not table.return_unsent(each.nonces):
            delivery = Delivery.UNKNOWN
        current[each.swap_id, each.number] = replace(known, delivery=delivery)
        rows.append({"of": each.swap_id, "of_number": each.number, "delivery": delivery})
        results.append(delivery)
    if rows:
        connection.execute(_END, rows)
    table.write()
    return results


@dataclass(frozen=True, slots=True)
class _Known:
    """An intent's delivery in the journal, and the version of its swap."""

    version: int
    delivery: Delivery
    attempt: str | None


def _deliveries(connection: Connection, swap_ids: Sequence[SwapId]) -> dict[tuple[SwapId, int], _Known]:
    rows = connection.execute(_DELIVERIES, {"ids": swap_ids})
    return {(row.swap_id, row.number): _Known(row.version, row.delivery, row.attempt) for row in rows}
