"""The HTLC contract: its locks, the acts on them, its events, and its approval."""
