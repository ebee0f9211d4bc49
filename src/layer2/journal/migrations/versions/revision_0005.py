"""The transactions that have the nonces of accounts, and how many nonces are final."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables. Transactions that were journaled before take their nonces when they are sent again."""
    op.create_table(
        "nonces",
        sa.Column("protocol", sa.String(32), primary_key=True),
        sa.Column("account", sa.String(64), primary_key=True),
        sa.Column("nonce", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tx_id", sa.Text, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("worker", sa.String(32), nullable=False),
        sa.Column("is_out", sa.Boolean, nullable=False),
    )
    op.create_table(
        "accounts",
        sa.Column("protocol", sa.String(32), primary_key=True),
        sa.Column("account", sa.String(64), primary_key=True),
        sa.Column("final_count", sa.BigInteger, nullable=False),
    )
