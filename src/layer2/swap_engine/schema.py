"""The tables of the journal. ``migrations`` creates them; a test compares both."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

__all__ = ["HEAD", "METADATA", "events", "intents", "owners", "proofs", "sends", "swaps"]

HEAD: Final = "0001"
"""The newest revision in ``migrations``."""

METADATA: Final = MetaData()

swaps: Final = Table(
    "swaps",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("swap_id", String(32), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("is_final", Boolean, nullable=False),
    Column("payment_hash", LargeBinary(32)),
    Column("terms", Text),
    Column("request", Text, nullable=False),
    Column("provider_name", Text),
    Column("quote_id", String(32)),
    Column("access", LargeBinary(32)),
    Column("idempotency_key", Text),
    Column("holds_key", Boolean, nullable=False),
    Column("attention", Text),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Index("ix_swaps_payment_hash", "payment_hash"),
    Index("ix_swaps_is_final", "is_final"),
    Index("uq_swaps_key", "role", "idempotency_key", unique=True, sqlite_where=text("holds_key")),
    Index("uq_swaps_quote", "role", "quote_id", unique=True, sqlite_where=text("holds_key")),
)

intents: Final = Table(
    "intents",
    METADATA,
    Column("swap_id", String(32), ForeignKey("swaps.swap_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("verb", String(16), nullable=False),
    Column("end", String(16), nullable=False),
    Column("act", Text, nullable=False),
    Column("delivery", String(16), nullable=False),
)

events: Final = Table(
    "events",
    METADATA,
    Column("swap_id", String(32), ForeignKey("swaps.swap_id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("event", Text, nullable=False),
    Column("at", Integer, nullable=False),
    Column("state", Text, nullable=False),
)

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
    Column("act", Text, nullable=False),
)
