"""Durable transitions of the journal, and how long a standby needs to take over."""
