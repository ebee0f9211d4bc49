"""The coins of wallets, and who holds them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "coins",
        sa.Column("protocol", sa.String(32), primary_key=True),
        sa.Column("coin", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
    )
