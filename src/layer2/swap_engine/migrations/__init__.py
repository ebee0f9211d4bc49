"""Alembic's revisions of the journal's schema, run by the journal when it opens a file."""
