"""Which journal this is, how many acts it has recorded, and which swaps an old copy of it had."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table with its row, and the column of swaps."""
    op.add_column("swaps", sa.Column("from_old_copy", sa.Boolean, nullable=False, server_default=sa.false()))
    lineage = op.create_table(
        "lineage",
        sa.Column("journal_id", sa.String(32), primary_key=True),
        sa.Column("branch", sa.String(32), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("has_register", sa.Boolean, nullable=False),
    )
    row = {"journal_id": secrets.token_hex(16), "branch": secrets.token_hex(16), "epoch": 0, "has_register": False}
    op.bulk_insert(lineage, [row])
