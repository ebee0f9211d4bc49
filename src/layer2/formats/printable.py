"""Text from nodes, providers and contracts, made safe for errors and logs."""

from __future__ import annotations

__all__ = ["printable"]

_LONGEST = 300


def printable(text: str) -> str:
    """Text of another program as one line of about 300 characters at most.

    Each control character, which a terminal would execute, becomes a space. Secrets in the text are not removed.
    """
    line = "".join([sign if sign.isprintable() else " " for sign in text[:_LONGEST]])
    return line + ("..." if len(text) > _LONGEST else "")
