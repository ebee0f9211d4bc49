"""The attempt to send an intent that began last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column. An attempt of an earlier version has no id: no later one is the same."""
    op.add_column("intents", sa.Column("attempt", sa.String(32)))
