"""Alembic's revisions of the journal's schema. The journal runs them when it opens a file."""
