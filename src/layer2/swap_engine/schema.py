"""The tables of the journal. ``migrations`` makes them; a test compares the two."""

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
    UniqueConstraint,
)

__all__ = ["HEAD", "METADATA", "events", "intents", "proofs", "sends", "swaps"]

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
    Column("idempotency_key", Text),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    UniqueConstraint("role", "idempotency_key", name="uq_swaps_role_idempotency_key"),
    Index("ix_swaps_payment_hash", "payment_hash"),
    Index("ix_swaps_is_final", "is_final"),
)

intents: Final = Table(
    "intents",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("swap_id", String(32), ForeignKey("swaps.swap_id"), nullable=False),
    Column("key", String(64), nullable=False),
    Column("act", Text, nullable=False),
    Column("outcome", Text),
    UniqueConstraint("swap_id", "key", name="uq_intents_swap_id_key"),
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

sends: Final = Table(
    "sends",
    METADATA,
    Column("protocol", String(32), primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("tx_id", Text, nullable=False),
    Column("act", Text, nullable=False),
)
