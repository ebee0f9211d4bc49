"""Canonical JSON (RFC 8785) without floating-point numbers: one value, one byte string, so that it can be hashed.

Values are None, booleans, integers from -(2**53 - 1) to 2**53 - 1, text, lists, and objects whose keys are text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn, TypeAlias, cast

import rfc8785

from layer2.errors.base import FormatError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "JsonValue", "check_nesting", "decode", "decode_strict", "encode", "parse"]

JsonValue: TypeAlias = "bool | int | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
"""``decode`` returns lists and dicts; ``encode`` accepts lists, tuples and dicts and no other containers."""

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 64
"""Levels of lists and objects."""
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
"""An unterminated string matches to the end of the data: a new match at each quote would take quadratic time."""
_MAX_INTEGER: Final = 2**53 - 1
_MAX_DIGITS: Final = 20


def encode(value: JsonValue) -> bytes:
    """The one canonical form of a value, in UTF-8.

    Raises:
        FormatError: a float, an integer beyond 2**53 - 1, a key that is not text, text that is not Unicode
            (a lone surrogate), another type, or more than ``MAX_DEPTH`` levels.

    Source: RFC 8785. Unicode is not normalised: texts that look alike may differ.
    """
    _check(value, MAX_DEPTH)
    # The check leaves only what rfc8785 writes; it sorts keys by their UTF-16 code units as the standard asks.
    return rfc8785.dumps(value)


def decode(data: bytes, *, max_bytes: int = MAX_BYTES) -> JsonValue:
    """Read JSON in any order of keys and with any white space.

    Args:
        data: UTF-8 without a byte order mark.
        max_bytes: the maximum length.

    Raises:
        FormatError: too long, not JSON, a repeated key in one object, or a value that ``encode`` would refuse. A number
            with a fraction or an exponent is refused even if its value is an integer.
    """
    if len(data) > max_bytes:
        raise FormatError(f"JSON is longer than {max_bytes} bytes")
    value = parse(data, parse_float=_refuse_fraction)
    _check(value, MAX_DEPTH)
    return cast("JsonValue", value)


def parse(data: bytes, *, parse_float: Callable[[str], object] = float) -> object:
    """Read JSON that need not have a canonical form: numbers can have fractions.

    Args:
        data: UTF-8; the caller limits its length.
        parse_float: reads a number that has a fraction or an exponent.

    Raises:
        FormatError: not JSON, a repeated key in one object, too deep nesting, or an integer of too many digits.
    """
    check_nesting(data)
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=parse_float,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError:
        raise FormatError("JSON is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error.msg} at character {error.pos}") from None


def decode_strict(data: bytes, *, max_bytes: int = MAX_BYTES) -> JsonValue:
    """Read JSON that must be in its canonical form, byte for byte.

    Raises:
        FormatError: as ``decode`` does, or ``data`` is not what ``encode`` writes for its value.
    """
    value = decode(data, max_bytes=max_bytes)
    if encode(value) != data:
        raise FormatError("JSON is not in its canonical form (RFC 8785)")
    return value


def check_nesting(data: bytes) -> None:
    """Check the depth of nesting, before any parser reads the data.

    Raises:
        FormatError: it is deeper than ``MAX_DEPTH``.
    """
    # The parser relies on the interpreter's recursion limit. Some libraries raise that limit so far that a deep text
    # overflows the stack and ends the process.
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(data):
        if match[0] in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise FormatError(f"JSON is nested deeper than {MAX_DEPTH} levels")
        elif match[0] in (b"]", b"}"):
            depth -= 1


def _check(value: object, depth: int) -> None:
    match value:
        case None | bool():
            pass
        case int():
            if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
                raise FormatError("a JSON integer is beyond 2**53 - 1")
        case str():
            _check_text(value)
        case list() | tuple():
            inner_depth = _deeper(depth)
            for item in value:
                _check(item, inner_depth)
        case dict():
            inner_depth = _deeper(depth)
            for key, item in value.items():
                if not isinstance(key, str):
                    raise FormatError("a JSON object has a key that is not text")
                _check_text(key)
                _check(item, inner_depth)
        case _:
            raise FormatError(f"{type(value).__name__} has no canonical JSON form")


def _deeper(depth: int) -> int:
    if depth == 0:
        raise FormatError(f"JSON is nested deeper than {MAX_DEPTH} levels")
    return depth - 1


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("a JSON text has a lone surrogate") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise FormatError("a JSON object repeats a key")
    return members


def _integer(digits: str) -> int:
    # Checked before int(), which takes quadratic time and raises another error for very long texts.
    if len(digits) > _MAX_DIGITS:
        raise FormatError(f"a JSON integer has more than {_MAX_DIGITS} digits")
    return int(digits)


def _refuse_fraction(text: str) -> NoReturn:
    raise FormatError("a JSON number is not a whole number without fraction or exponent")


def _refuse_constant(name: str) -> NoReturn:
    raise FormatError(f"JSON has no {name}")
