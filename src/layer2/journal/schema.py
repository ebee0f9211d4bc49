"""The tables of a new journal. ``migrations`` makes the same of an older one; a test compares both."""

from __future__ import annotations

import json
from enum import Enum
from typing import Final

import sqlalchemy
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)

from layer2.ports.journal import Delivery, Json, Role

__all__ = [
    "HEAD",
    "METADATA",
    "REVISION",
    "accounts",
    "coins",
    "events",
    "fundings",
    "intents",
    "lineage",
    "nonces",
    "owners",
    "proofs",
    "sends",
    "sessions",
    "swaps",
]

HEAD: Final = "0006"
"""The newest revision in ``migrations``."""

METADATA: Final = MetaData()

REVISION: Final = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), primary_key=True, nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table, which states the revision of the others."""

_HELD: Final = text("holds_key")


class _JsonText(TypeDecorator[Json]):
    """A JSON object as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Json | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json | None:
        return None if value is None else json.loads(value)


def _value_of(kind: type[Enum]) -> sqlalchemy.Enum:
    """A member of an enum, stored as its value."""
    return sqlalchemy.Enum(kind, native_enum=False, length=16, values_callable=lambda each: [one.value for one in each])


swaps: Final = Table(
    "swaps",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("swap_id", String(32), nullable=False, unique=True),
    Column("role", _value_of(Role), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", _JsonText, nullable=False),
    Column("is_final", Boolean, nullable=False),
    Column("payment_hash", LargeBinary(32)),
    Column("terms", _JsonText),
    Column("request", _JsonText, nullable=False),
    Column("provider_name", Text),
    Column("quote_id", String(32)),
    Column("access", LargeBinary(32)),
    Column("idempotency_key", Text),
    Column("holds_key", Boolean, nullable=False),
    Column("attention", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("from_old_copy", Boolean, nullable=False, server_default=false()),
    Index("ix_swaps_payment_hash", "payment_hash"),
    Index("ix_swaps_is_final", "is_final"),
    Index("uq_swaps_key", "role", "idempotency_key", unique=True, sqlite_where=_HELD, postgresql_where=_HELD),
    Index("uq_swaps_quote", "role", "quote_id", unique=True, sqlite_where=_HELD, postgresql_where=_HELD),
)

intents: Final = Table(
    "intents",
    METADATA,
    Column("swap_id", String(32), ForeignKey("swaps.swap_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("verb", String(16), nullable=False),
    Column("end", String(16), nullable=False),
    Column("act", _JsonText, nullable=False),
    Column("delivery", _value_of(Delivery), nullable=False),
    Column("attempt", String(32)),
)
"""``attempt`` is the id of the attempt to send the intent that began last."""

events: Final = Table(
    "events",
    METADATA,
    Column("swap_id", String(32), ForeignKey("swaps.swap_id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("event", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("state", _JsonText, nullable=False),
)

fundings: Final = Table(
    "fundings",
    METADATA,
    Column("role", _value_of(Role), primary_key=True),
    Column("payment_hash", LargeBinary(32), primary_key=True),
    Column("swap_id", String(32), ForeignKey("swaps.swap_id"), nullable=False),
)
"""The swap of a role that has an intent to fund a hash, or has paid it. One that ends otherwise has no row."""

proofs: Final = Table(
    "proofs",
    METADATA,
    Column("swap_id", String(32), ForeignKey("swaps.swap_id"), primary_key=True),
    Column("proof", LargeBinary, nullable=False),
)

owners: Final = Table(
    "owners",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("value", Text, primary_key=True),
)

sends: Final = Table(
    "sends",
    METADATA,
    Column("protocol", String(32), primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("tx_id", Text, nullable=False),
    Column("act", _JsonText, nullable=False),
)

coins: Final = Table(
    "coins",
    METADATA,
    Column("protocol", String(32), primary_key=True),
    Column("coin", Text, primary_key=True),
    Column("holder", Text, nullable=False),
)

nonces: Final = Table(
    "nonces",
    METADATA,
    Column("protocol", String(32), primary_key=True),
    Column("account", String(64), primary_key=True),
    Column("nonce", BigInteger, primary_key=True, autoincrement=False),
    Column("tx_id", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("worker", String(32), nullable=False),
    Column("is_out", Boolean, nullable=False),
)
"""The transaction of each nonce that is not final."""

accounts: Final = Table(
    "accounts",
    METADATA,
    Column("protocol", String(32), primary_key=True),
    Column("account", String(64), primary_key=True),
    Column("final_count", BigInteger, nullable=False),
)
"""How many nonces of an account are final. They have no rows in ``nonces``, and no new transaction can have one."""

sessions: Final = Table(
    "sessions",
    METADATA,
    Column("session_id", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("acts", Boolean, nullable=False),
)
"""The objects that write now. Each transaction writes its number here, so that a COMMIT whose answer was lost can be
looked up. The one that acts deletes the row of its predecessor, whose later transactions find no row and fail."""

lineage: Final = Table(
    "lineage",
    METADATA,
    Column("journal_id", String(32), primary_key=True),
    Column("branch", String(32), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("has_register", Boolean, nullable=False),
)
"""One row: which journal this is, and how many acts it has recorded. See ``register``."""
