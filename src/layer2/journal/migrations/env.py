"""Run by Alembic. The journal provides the connection, in a transaction that excludes other processes."""

from __future__ import annotations

from alembic import context

from layer2.journal.schema import METADATA

# SQLite can roll back DDL. Alembic assumes that it cannot, and would commit half of a revision.
context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
