"""SQL statements for single sends and held coins."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, select

from layer2.errors import IdempotencyConflict
from layer2.journal.register import Departure
from layer2.journal.rows import insert_or_keep, row_of
from layer2.journal.schema import coins as coin_table
from layer2.journal.schema import sends
from layer2.journal.transitions import next_epoch
from layer2.ports.journal import SendRecord

__all__ = ["add_send", "departure_of", "find_send", "hold_coins"]


def departure_of(connection: Connection, record: SendRecord) -> Departure | None:
    """What the register has to know before a new send leaves: only a send with a key can be repeated."""
    if record.idempotency_key == record.tx_id:
        return None
    epoch = next_epoch(connection)
    return None if epoch is None else Departure(epoch, record)


def find_send(connection: Connection, protocol: str, condition: ColumnElement[bool]) -> SendRecord | None:
    row = connection.execute(select(sends).where(sends.c.protocol == protocol, condition).limit(1)).first()
    return None if row is None else SendRecord(**row._asdict())


def add_send(connection: Connection, record: SendRecord) -> tuple[SendRecord, bool]:
    """The record of that key, and whether this call wrote it."""
    statement = insert_or_keep(connection, sends).values(row_of(record)).returning(sends.c.protocol)
    if connection.execute(statement).first() is not None:
        return record, True
    known = find_send(connection, record.protocol, sends.c.idempotency_key == record.idempotency_key)
    assert known is not None
    if known.request != record.request:
        raise IdempotencyConflict(
            "the idempotency key was used with another request; nothing was sent",
            protocol=record.protocol,
            tx_id=known.tx_id,
        )
    return known, False


def hold_coins(connection: Connection, protocol: str, holder: str, coins: Sequence[str]) -> bool:
    """Hold the coins, unless another holder has one of them."""
    query = select(coin_table.c.coin).where(
        coin_table.c.protocol == protocol, coin_table.c.coin.in_(coins), coin_table.c.holder != holder
    )
    if connection.execute(query).first() is not None:
        return False
    rows = [{"protocol": protocol, "coin": coin, "holder": holder} for coin in coins]
    if rows:
        connection.execute(insert_or_keep(connection, coin_table).values(rows))
    return True
