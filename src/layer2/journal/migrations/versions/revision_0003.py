"""The swap that funds or has paid a hash, and the sessions of those who write."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_PAID = ("completed", "lost")


def upgrade() -> None:
    """Create the tables, and fill ``fundings`` from the swaps and their intents."""
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(32), primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("acts", sa.Boolean, nullable=False),
    )
    fundings = op.create_table(
        "fundings",
        sa.Column("role", sa.String(16), primary_key=True),
        sa.Column("payment_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("swap_id", sa.String(32), sa.ForeignKey("swaps.swap_id"), nullable=False),
    )
    rows = op.get_bind().execute(
        sa.text(
            "SELECT role, payment_hash, swap_id, is_final, state, EXISTS (SELECT 1 FROM intents "
            "WHERE intents.swap_id = swaps.swap_id AND intents.verb = 'fund') AS has_funded "
            "FROM swaps WHERE payment_hash IS NOT NULL ORDER BY number"
        )
    )
    taken: dict[tuple[str, bytes], str] = {}
    for row in rows:
        key = row.role, bytes(row.payment_hash)
        if row.is_final and json.loads(row.state)["state"] in _PAID:
            taken[key] = row.swap_id
        elif row.has_funded and not row.is_final:
            taken.setdefault(key, row.swap_id)
    if taken:
        op.bulk_insert(
            fundings,
            [
                {"role": role, "payment_hash": payment_hash, "swap_id": swap_id}
                for (role, payment_hash), swap_id in taken.items()
            ],
        )
