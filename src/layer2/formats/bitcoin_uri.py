"""``bitcoin:`` URIs, written, and parsed strictly.

Sources: BIP 21, and BIP 321, which replaces it: keys in any case, an optional address, several values for one key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from layer2.errors.base import FormatError
from layer2.formats.printable import printable
from layer2.model.money import BTC, MSAT_DECIMALS

__all__ = ["BitcoinUri", "read", "read_parameters", "write"]

MAX_LENGTH: Final = 10_000
"""Characters: the longest invoice, an address, and additional texts."""
_MSAT_PER_BTC: Final = 100_000_000_000
_MOST_MSAT: Final = 21_000_000 * _MSAT_PER_BTC
_AMOUNT: Final = re.compile(r"(?P<whole>[0-9]{0,30})(?:\.(?P<fraction>[0-9]{0,30}))?")
_BAD_ESCAPE: Final = re.compile("%(?![0-9a-fA-F]{2})")
_ONCE: Final = ("amount", "label", "message", "pop")


@dataclass(frozen=True, slots=True)
class BitcoinUri:
    """The parts of a URI. Neither the address nor the values are parsed."""

    address: str
    """On the chain; empty without one."""
    amount_msat: int | None
    """Millisatoshi, or None if the payer chooses the amount."""
    parameters: tuple[tuple[str, str], ...]
    """Every key, in lower case, with its value, in order."""

    def values(self, key: str) -> tuple[str, ...]:
        """The values of one key, given in lower case."""
        return tuple(value for known, value in self.parameters if known == key)


def read(text: str) -> BitcoinUri:
    """Parse a URI.

    Args:
        text: the whole URI, with its scheme in any case.

    Raises:
        FormatError: it is not a ``bitcoin:`` URI, it is longer than ``MAX_LENGTH``, it repeats a key that may appear
            once, its amount is not decimal BTC, or it requires an unknown feature (``req-``).

    Sources: BIP 21, BIP 321.
    """
    if len(text) > MAX_LENGTH:
        raise FormatError(f"a bitcoin: URI is longer than {MAX_LENGTH} characters")
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() != "bitcoin":
        raise FormatError("a bitcoin: URI does not begin with bitcoin:")
    if "#" in rest:
        raise FormatError("a bitcoin: URI has a '#' that is not percent-encoded (%23)")
    address, _, query = rest.partition("?")
    parameters = read_parameters(query)
    # BIP 321 counts req-pop as pop.
    keys = [key.removeprefix("req-") for key, _ in parameters]
    for key in _ONCE:
        if keys.count(key) > 1:
            raise FormatError(f"a bitcoin: URI repeats {key}")
    for key, _ in parameters:
        if key.startswith("req-"):
            raise FormatError(f"a bitcoin: URI requires {printable(key[:40])!r}, which is unknown")
    amount = dict(parameters).get("amount")
    return BitcoinUri(address, None if amount is None else _msat(amount), parameters)


def write(address: str, amount: int) -> str:
    """The URI of a payment.

    Args:
        amount: satoshi.
    """
    whole, rest = divmod(amount, 10**BTC.decimals)
    return f"bitcoin:{address}?amount={whole}.{rest:0{BTC.decimals}d}"


def read_parameters(query: str) -> tuple[tuple[str, str], ...]:
    """The parameters of a query: keys in lower case, and percent-encoding decoded.

    A plus sign stays a plus sign, unlike in the fields of a form.

    Raises:
        FormatError: a percent-encoding is malformed or not UTF-8.

    Source: RFC 3986, 2.1.
    """
    pairs = [part.partition("=") for part in query.split("&") if part]
    return tuple((_unescaped(key).lower(), _unescaped(value)) for key, _, value in pairs)


def _unescaped(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise FormatError("a URI has a percent sign that is not followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("a URI has percent-encoded bytes that are not UTF-8") from None


def _msat(amount: str) -> int:
    match = _AMOUNT.fullmatch(amount)
    whole, fraction = (match["whole"], match["fraction"] or "") if match else ("", "")
    if not whole and not fraction:
        raise FormatError(
            f"the amount of a bitcoin: URI is {printable(amount[:40])!r}; it must be decimal BTC, such as 0.00015"
        )
    if fraction[MSAT_DECIMALS:].strip("0"):
        raise FormatError("the amount of a bitcoin: URI is finer than a millisatoshi")
    msat = int(whole or "0") * _MSAT_PER_BTC + int(fraction[:MSAT_DECIMALS].ljust(MSAT_DECIMALS, "0"))
    if msat > _MOST_MSAT:
        raise FormatError("the amount of a bitcoin: URI is more than 21 million BTC")
    return msat
