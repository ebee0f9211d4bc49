"""Words of nodes, providers and contracts, made fit for our own errors and logs."""

from __future__ import annotations

__all__ = ["printable"]

_LONGEST = 300


def printable(text: str) -> str:
    """Text of another program as one line of at most some 300 characters.

    Each control character, which a terminal would obey, becomes a space. Secrets in the words stay in them.
    """
    line = "".join([sign if sign.isprintable() else " " for sign in text[:_LONGEST]])
    return line + ("..." if len(text) > _LONGEST else "")
