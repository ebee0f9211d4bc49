"""The first schema of the journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
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
        sa.Column("idempotency_key", sa.Text),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("updated_at", sa.Integer, nullable=False),
        sa.UniqueConstraint("role", "idempotency_key", name="uq_swaps_role_idempotency_key"),
    )
    op.create_index("ix_swaps_payment_hash", "swaps", ["payment_hash"])
    op.create_index("ix_swaps_is_final", "swaps", ["is_final"])
    op.create_table(
        "intents",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("swap_id", sa.String(32), sa.ForeignKey("swaps.swap_id"), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.UniqueConstraint("swap_id", "key", name="uq_intents_swap_id_key"),
    )
    op.create_table(
        "events",
        sa.Column("swap_id", sa.String(32), sa.ForeignKey("swaps.swap_id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_table(
        "proofs",
        sa.Column("swap_id", sa.String(32), sa.ForeignKey("swaps.swap_id"), primary_key=True),
        sa.Column("proof", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "sends",
        sa.Column("protocol", sa.String(32), primary_key=True),
        sa.Column("idempotency_key", sa.Text, primary_key=True),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("tx_id", sa.Text, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
    )
