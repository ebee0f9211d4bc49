"""The records of single sends. As in ``transitions``, the writes of many callers share a few statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, tuple_

from layer2.errors import FundsRulesError, IdempotencyConflict
from layer2.journal.nonces import NonceTable
from layer2.journal.register import Departure
from layer2.journal.rows import insert_or_keep, row_of
from layer2.journal.schema import coins as coin_table
from layer2.journal.schema import sends
from layer2.journal.transitions import next_epoch
from layer2.ports.journal import SendRecord
from layer2.ports.nonces import NonceClaim

__all__ = ["AddSend", "Added", "add_sends", "hold_coins", "send_where"]

_OF_KEYS: Final = select(sends).where(
    tuple_(sends.c.protocol, sends.c.idempotency_key).in_(bindparam("keys", expanding=True))
)


@dataclass(frozen=True, slots=True)
class AddSend:
    """A send to be recorded, with what it takes: a nonce, or coins for a holder."""

    record: SendRecord
    claim: NonceClaim | None = None
    holder: str = ""
    coins: Sequence[str] = ()
    """Each as ``TXID:INDEX``."""

    @property
    def key(self) -> tuple[str, str]:
        """The key of the record."""
        return self.record.protocol, self.record.idempotency_key

    @property
    def claims(self) -> Sequence[NonceClaim]:
        """The nonces that it takes."""
        return () if self.claim is None else (self.claim,)


@dataclass(frozen=True, slots=True)
class Added:
    """The record of a key."""

    record: SendRecord
    departure: Departure | None = None
    """What the register has to know before the send leaves."""


def add_sends(connection: Connection, given: Sequence[AddSend]) -> Sequence[Added | Exception]:
    """Record sends. See ``SendRecords.add_send``, ``NonceRecords.add_send_with_nonce`` and ``add_send_of_coins``."""
    found = connection.execute(_OF_KEYS, {"keys": list({each.key for each in given})})
    known = {(row.protocol, row.idempotency_key): SendRecord(**row._asdict()) for row in found}
    table = NonceTable(connection, [claim for each in given for claim in each.claims])
    results: list[SendRecord | Exception] = []
    added: list[SendRecord] = []
    for each in given:
        earlier, refusal = known.get(each.key), table.refusal(each.claims)
        # Without a key of the caller the key is the transaction's id: another worker may have signed the same bytes.
        if earlier is not None and (refusal is None or earlier.tx_id != each.record.tx_id):
            results.append(_same_request(earlier, each.record))
        elif refusal is not None:
            results.append(refusal)
        elif not hold_coins(connection, each.record.protocol, each.holder, each.coins):
            results.append(_coins_held(each.record))
        else:
            table.take(each.claims)
            known[each.key] = each.record
            added.append(each.record)
            results.append(each.record)
    if added:
        connection.execute(insert(sends), [row_of(record) for record in added])
    table.write()
    return _with_departures(connection, results)


def _with_departures(connection: Connection, results: Sequence[SendRecord | Exception]) -> Sequence[Added | Exception]:
    """Add what the register has to know. Only a send with a key can be repeated.

    A record that exists already may be missing in the register, if that could not be written.
    """
    is_known = any(isinstance(each, SendRecord) and each.idempotency_key != each.tx_id for each in results)
    epoch = next_epoch(connection) if is_known else None
    return [
        each
        if isinstance(each, Exception)
        else Added(each, None if epoch is None or each.idempotency_key == each.tx_id else Departure(epoch, each))
        for each in results
    ]


def _same_request(known: SendRecord, asked: SendRecord) -> SendRecord | IdempotencyConflict:
    if known.request == asked.request:
        return known
    return IdempotencyConflict(
        "the idempotency key was used with another request; nothing was sent",
        protocol=asked.protocol,
        tx_id=known.tx_id,
    )


def _coins_held(record: SendRecord) -> FundsRulesError:
    return FundsRulesError(
        "another send or swap holds one of the coins; nothing was sent", code="coins_held", protocol=record.protocol
    )


def send_where(connection: Connection, protocol: str, condition: ColumnElement[bool]) -> SendRecord | None:
    """The first send of a protocol for which a condition holds, or None."""
    row = connection.execute(select(sends).where(sends.c.protocol == protocol, condition).limit(1)).first()
    return None if row is None else SendRecord(**row._asdict())


def hold_coins(connection: Connection, protocol: str, holder: str, coins: Sequence[str]) -> bool:
    """Hold coins for a holder, all or none; return False if another holder has one of them."""
    if not coins:
        return True
    query = select(coin_table.c.coin).where(
        coin_table.c.protocol == protocol, coin_table.c.coin.in_(coins), coin_table.c.holder != holder
    )
    if connection.execute(query).first() is not None:
        return False
    rows = [{"protocol": protocol, "coin": coin, "holder": holder} for coin in coins]
    connection.execute(insert_or_keep(connection, coin_table).values(rows))
    return True
