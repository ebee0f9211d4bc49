"""Amounts, times, hashes and errors as text for people. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum

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
from layer2.model.money import BTC, AssetId
from layer2.terms.transfers import Actor

__all__ = [
    "amount_of",
    "at_time",
    "due",
    "duration",
    "fields_of",
    "sat",
    "sentence",
    "short_hash",
    "signed",
    "until",
    "wei",
]

_SHORT = 10
_SECONDS_MATTER = 600
"""A time nearer than this is shown with seconds."""
_HALF_DAY = 12 * 3600
_BEFORE_SENDING = (InvalidRequest, NodeError, QuoteRefused, QuoteExpired, TermsRefused, TransactionError)
"""Errors after which a user asks whether money was sent."""


def fields_of(one: object, *names: str) -> dict[str, object]:
    """Attributes of an object, for JSON: an enum as its value."""
    values = {name: getattr(one, name) for name in names}
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def sat(amount: int) -> str:
    """``100,000 sat``"""
    return f"{amount:,} sat"


def amount_of(asset: AssetId, amount: int) -> str:
    """An amount in the asset's smallest unit, exactly: satoshi for BTC, coins and their code for other assets."""
    if asset == BTC:
        return sat(amount)
    whole, rest = divmod(abs(amount), 10**asset.decimals)
    fraction = f"{rest:0{asset.decimals}}".rstrip("0")
    return f"{'-' if amount < 0 else ''}{whole:,}{'.' if fraction else ''}{fraction} {asset.code}"


def wei(amount: int, coin: str = "ETH") -> str:
    """Wei as whole coins, exactly: ``0.000021 ETH``."""
    return amount_of(AssetId(coin, 18), amount)


def signed(amount: int) -> str:
    """A change, with its sign: ``+420``, ``-420``, ``0``."""
    return f"{amount:+,}" if amount else "0"


def at_time(seconds: float) -> str:
    """``24 Nov 2026 18:02:05 UTC``."""
    return _formatted(seconds, "%-d %b %Y %H:%M:%S UTC")


def until(seconds: float, now: float) -> str:
    """A time and the distance to it: ``21:58 UTC (in 1 h 20 min)``, ``18:02:05 UTC (95 s ago)``; with the date if it is
    more than twelve hours away."""
    left = int(seconds - now)
    away = f"(in {duration(left)})" if left >= 0 else f"({duration(-left)} ago)"
    if abs(left) >= _HALF_DAY:
        return _formatted(seconds, f"%-d %b %H:%M UTC {away}")
    return _formatted(seconds, f"{'%H:%M:%S' if abs(left) < _SECONDS_MATTER else '%H:%M'} UTC {away}")


def _formatted(seconds: float, form: str) -> str:
    """A time; a number if no calendar has the time, which the terms of a stranger may contain."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s after 1970"


def duration(seconds: int) -> str:
    """``95 s``, ``12 min``, ``1 h 20 min``, ``4 d 3 h``; rounded down."""
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    large, small, names = (seconds // 3600, seconds % 3600 // 60, "h min")
    if seconds >= 2 * 86_400:
        large, small, names = (seconds // 86_400, seconds % 86_400 // 3600, "d h")
    first, second = names.split()
    return f"{large} {first} {small} {second}" if small else f"{large} {first}"


def due(actor: Actor, deadline: int, now: float, *, other: str = "the provider") -> str:
    """The party that must act, and by when; or that the deadline is past.

    Args:
        other: the party other than you.
    """
    when, is_past = until(deadline, now), deadline < now
    match actor:
        case Actor.YOU:
            return f"act now: your deadline {when} has passed" if is_past else f"act before {when}"
        case Actor.PROVIDER:
            return f"{other}'s deadline {when} has passed" if is_past else f"{other} must act before {when}"
        case Actor.NOBODY:
            return f"ended {when}" if is_past else f"ends {when}"


def short_hash(text: str | None, *, whole: bool = False) -> str:
    """The first digits of a hash, or the whole hash; a dash if there is none."""
    if not text:
        return "-"
    return text if whole or len(text) <= _SHORT + 2 else f"{text[:_SHORT]}.."


def sentence(error: Layer2Error, now: float) -> str:
    """One sentence: what happened, where the money is, the deadline, and the remedy.

    An error about a transfer never states that nothing was sent: the state of the transfer shows that.
    """
    parts = [f"[{error.code}] {error.message}"]
    if error.funds:
        parts.append(error.funds)
    elif (
        error.outcome is Outcome.NOT_SENT
        and error.transfer_id is None
        and error.tx_id is None
        and isinstance(error, _BEFORE_SENDING)
        and error.code not in ("usage", "unreadable_file")
        and "nothing" not in error.message
    ):
        parts.append("nothing was sent")
    if error.deadline is not None:
        is_past = error.deadline < now
        when = until(error.deadline, now)
        parts.append(f"the deadline {when} has passed" if is_past else f"the next deadline is {when}")
    for name, value in (("transfer", error.transfer_id), ("transaction", error.tx_id)):
        if value and value not in error.message:
            parts.append(f"{name} {value}")
    if error.remedy:
        parts.append(error.remedy)
    return "; ".join(parts)
