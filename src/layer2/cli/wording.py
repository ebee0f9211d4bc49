"""How the command line says amounts, times, hashes and errors. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from layer2.errors import (
    InvalidRequest,
    Layer2Error,
    NodeError,
    Outcome,
    QuoteExpired,
    QuoteRefused,
    TermsRefused,
    TransactionError,
)

__all__ = ["at_time", "sat", "sentence", "short_hash", "signed", "until", "wei"]

_SHORT = 10
_BEFORE_SENDING = (InvalidRequest, NodeError, QuoteRefused, QuoteExpired, TermsRefused, TransactionError)
"""Errors of which a user asks first what happened to the money."""


def sat(amount: int) -> str:
    """``100,000 sat``"""
    return f"{amount:,} sat"


def wei(amount: int) -> str:
    """Wei as ETH, exactly: ``0.000021 ETH``."""
    whole, rest = divmod(abs(amount), 10**18)
    fraction = f"{rest:018}".rstrip("0")
    return f"{'-' if amount < 0 else ''}{whole:,}{'.' if fraction else ''}{fraction} ETH"


def signed(amount: int) -> str:
    """A change, with its sign: ``+420``, ``-420``, ``0``."""
    return f"{amount:+,}" if amount else "0"


def at_time(seconds: float) -> str:
    """``24 Nov 2026 18:02:05 UTC``; what is later than any date, as somebody else's terms may have it, as a number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%-d %b %Y %H:%M:%S UTC")
    except (ValueError, OverflowError):
        return f"{seconds:.0f} s after 1970"


def until(seconds: float, now: float) -> str:
    """A time and how far it is: ``18:02:05 UTC (in 95 s)``; with its date where it is not near."""
    left = int(seconds - now)
    if abs(left) >= 12 * 3600:
        return at_time(seconds)
    away = f"in {_duration(left)}" if left >= 0 else f"{_duration(-left)} ago"
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S} UTC ({away})"


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 2 * 3600 else f"{seconds // 3600} h"


def short_hash(text: str | None, *, whole: bool = False) -> str:
    """The first digits of a hash, or all of it; a dash where there is none."""
    if not text:
        return "-"
    return text if whole or len(text) <= _SHORT + 2 else f"{text[:_SHORT]}.."


def sentence(error: Layer2Error) -> str:
    """One sentence: what happened, where the money is, by when, and what to do.

    An error about a transfer that goes on is answered with the command that goes on with it, since nothing drives
    a transfer while no ``layer2`` process runs.
    """
    parts = [f"[{error.code}] {error.message}"]
    if error.funds:
        parts.append(error.funds)
    elif error.outcome is Outcome.NOT_SENT and isinstance(error, _BEFORE_SENDING) and "nothing" not in error.message:
        parts.append("nothing was sent")
    if error.deadline is not None:
        parts.append(f"the next deadline is {at_time(error.deadline)}")
    for name, value in (("transfer", error.transfer_id), ("transaction", error.tx_id)):
        if value and value not in error.message:
            parts.append(f"{name} {value}")
    if error.code == "transfer_timeout":
        parts.append(f"go on before that: layer2 wait {error.transfer_id}")
    elif error.remedy:
        parts.append(error.remedy)
    return "; ".join(parts)
