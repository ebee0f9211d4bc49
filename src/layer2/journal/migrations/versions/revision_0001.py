"""The first schema of the journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    _make_swaps()
    op.create_table(
        "intents",
        sa.Column("swap_id", sa.String(32), sa.ForeignKey("swaps.swap_id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("end", sa.String(16), nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("delivery", sa.String(16), nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("swap_id", sa.String(32), sa.ForeignKey("swaps.swap_id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_table(
        "proofs",
        sa.Column("swap_id", sa.String(32), sa.ForeignKey("swaps.swap_id"), primary_key=True),
        sa.Column("proof", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "owners",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
    )
    op.create_table(
        "sends",
        sa.Column("protocol", sa.String(32), primary_key=True),
        sa.Column("idempotency_key", sa.Text, primary_key=True),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("tx_id", sa.Text, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
    )


def _make_swaps() -> None:
    op.create_table(
        "swaps",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("swap_id", sa.String(32), nullable=False, unique=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("is_final", sa.Boolean, nullable=False),
        sa.Column("payment_hash", sa.LargeBinary(32)),
        sa.Column("terms", sa.Text),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("provider_name", sa.Text),
        sa.Column("quote_id", sa.String(32)),
        sa.Column("access", sa.LargeBinary(32)),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("holds_key", sa.Boolean, nullable=False),
        sa.Column("attention", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_swaps_payment_hash", "swaps", ["payment_hash"])
    op.create_index("ix_swaps_is_final", "swaps", ["is_final"])
    # An abandoned swap releases its key and its quote.
    held = sa.text("holds_key")
    for name, column in (("uq_swaps_key", "idempotency_key"), ("uq_swaps_quote", "quote_id")):
        op.create_index(name, "swaps", ["role", column], unique=True, sqlite_where=held, postgresql_where=held)
