"""Amounts on the command line: digits only, so that none is ambiguous."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, TypeAlias

from cyclopts import Parameter, Token

__all__ = ["Satoshi", "parse_amount"]

_DIGITS = re.compile(r"[0-9]{1,3}(?:[,_][0-9]{3})+|[0-9]{1,18}")


def parse_amount(text: str) -> int:
    """Read an amount: ``100000``, ``100,000`` or ``100_000``.

    The integers of the command-line library are not used: they would read 1.5 as 2, and 0x10 as 16.

    Raises:
        ValueError: anything else, for example a fraction, a sign or an exponent.
    """
    if not _DIGITS.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number of satoshi, such as 100000")
    return int(text.replace(",", "").replace("_", ""))


def _convert(_: object, tokens: Sequence[Token]) -> int:
    return parse_amount(tokens[0].value)


Satoshi: TypeAlias = Annotated[int, Parameter(converter=_convert, n_tokens=1, metavar="SATOSHI")]
"""A whole number of satoshi."""
