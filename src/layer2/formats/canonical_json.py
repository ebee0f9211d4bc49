"""Canonical JSON (RFC 8785) without floating-point numbers: one value, one byte string, so that it can be hashed.

Values are None, booleans, integers from -(2**53 - 1) to 2**53 - 1, text, lists, and objects whose keys are text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

import rfc8785

from layer2.errors.base import FormatError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "JsonValue", "check_nesting", "decode", "decode_strict", "encode", "parse"]

JsonValue: TypeAlias = "bool | int | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
"""``decode`` returns lists and dicts; ``encode`` accepts lists, tuples and dicts and no other containers."""

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 64
"""Levels of lists and objects."""
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""An unterminated string matches to the end of the data: a new match at each quote would take quadratic time. Nothing
is matched again in another way, which would take 100 times the data's memory."""
_MAX_INTEGER: Final = 2**53 - 1
_MAX_DIGITS: Final = 20
_FEWEST_UNSAFE_DIGITS: Final = 16
_PLAIN: Final = (str, bool, type(None))
_CONTAINERS: Final = (list, tuple, dict)


def encode(value: JsonValue) -> bytes:
    """The one canonical form of a value, in UTF-8.

    Raises:
        FormatError: a float, an integer beyond 2**53 - 1, a key that is not text, text that is not Unicode
            (a lone surrogate), another type, or more than ``MAX_DEPTH`` levels.

    Source: RFC 8785. Unicode is not normalised: texts that look alike may differ.
    """
    _check(value, MAX_DEPTH)
    return _written(value)


def decode(data: bytes, *, max_bytes: int = MAX_BYTES) -> JsonValue:
    """Read JSON in any order of keys and with any white space.

    Args:
        data: UTF-8 without a byte order mark.
        max_bytes: the maximum length.

    Raises:
        FormatError: too long, not JSON, a repeated key in one object, or a value that ``encode`` would refuse. A number
            with a fraction or an exponent is refused even if its value is an integer.
    """
    value = _canonical_value(data, max_bytes)
    if b"\\u" in data:
        # Only an escape gives a lone surrogate.
        _written(value)
    return value


def parse(data: bytes) -> object:
    """Read JSON that need not have a canonical form: numbers can have fractions.

    Args:
        data: UTF-8; the caller limits its length.

    Raises:
        FormatError: not JSON, a repeated key in one object, too deep nesting, or an integer of too many digits.
    """
    value: object = _parsed(data, _ANY_NUMBERS)
    return value


def decode_strict(data: bytes, *, max_bytes: int = MAX_BYTES, max_values: int = MAX_BYTES) -> JsonValue:
    """Read JSON that must be in its canonical form, byte for byte.

    Args:
        max_bytes: the maximum length.
        max_values: the maximum number of ``,``, ``[`` and ``{``, also within texts. There are no more values than that
            and one.

    Raises:
        FormatError: as ``decode`` does, or ``data`` is not what ``encode`` writes for its value.
    """
    # A megabyte can hold 400,000 values, which take 50 times as much memory. Shorter data cannot have so many.
    if len(data) > max_values and sum([data.count(mark) for mark in (b",", b"[", b"{")]) > max_values:
        raise FormatError(f"JSON has more than {max_values} values")
    if len(data) > max_bytes:
        raise FormatError(f"JSON is longer than {max_bytes} bytes")
    # A repeated key is not written again, so it needs no check of its own.
    value: JsonValue = _parsed(data, _CANONICAL_KEYS)
    if _written(value) != data:
        raise FormatError("JSON is not in its canonical form (RFC 8785)")
    return value


def check_nesting(data: bytes) -> None:
    """Check the depth of nesting, before any parser reads the data.

    Raises:
        FormatError: it is deeper than ``MAX_DEPTH``.
    """
    # The parser relies on the interpreter's recursion limit. Some libraries raise that limit so far that a deep text
    # overflows the stack and ends the process.
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(data):
        if match[0] in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise FormatError(f"JSON is nested deeper than {MAX_DEPTH} levels")
        elif match[0] in (b"]", b"}"):
            depth -= 1


def _canonical_value(data: bytes, max_bytes: int) -> JsonValue:
    """The value, if it has a canonical form; a text in it may still have a lone surrogate."""
    if len(data) > max_bytes:
        raise FormatError(f"JSON is longer than {max_bytes} bytes")
    value: JsonValue = _parsed(data, _SAFE_INTEGERS)
    return value


def _parsed(data: bytes, decoder: json.JSONDecoder) -> Any:
    check_nesting(data)
    try:
        return decoder.decode(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise FormatError("JSON is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error.msg} (character {error.pos})") from None


def _written(value: JsonValue) -> bytes:
    """The canonical form of a value that ``_check`` accepts, or that was read from JSON without fractions."""
    text = _WRITER.encode(value)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("a JSON text has a lone surrogate") from None
    # The writer sorts keys by code points, and RFC 8785 by UTF-16 code units, which is the same order within ASCII.
    return data if text.isascii() else rfc8785.dumps(value)


def _check(value: object, depth: int) -> None:
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, int):
        _check_integer(value)
        return
    if not isinstance(value, _CONTAINERS):
        raise FormatError(f"{type(value).__name__} has no canonical JSON form")
    if depth == 0:
        raise FormatError(f"JSON is nested deeper than {MAX_DEPTH} levels")
    items: Iterable[object] = value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise FormatError("a JSON object has a key that is not text")
        items = value.values()
    for item in items:
        if not isinstance(item, str):
            _check(item, depth - 1)


def _check_integer(value: int) -> int:
    if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        raise FormatError("a JSON integer is beyond 2**53 - 1")
    return value


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


def _safe_integer(digits: str) -> int:
    return int(digits) if len(digits) < _FEWEST_UNSAFE_DIGITS else _check_integer(_integer(digits))


def _refuse_fraction(text: str) -> NoReturn:
    raise FormatError("a JSON number is not a whole number without fraction or exponent")


def _refuse_constant(name: str) -> NoReturn:
    raise FormatError(f"JSON has no {name}")


_WRITER: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)
_ANY_NUMBERS: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_refuse_constant)
_CANONICAL_KEYS: Final = json.JSONDecoder(
    parse_int=_safe_integer, parse_float=_refuse_fraction, parse_constant=_refuse_constant
)
_SAFE_INTEGERS: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_safe_integer,
    parse_float=_refuse_fraction,
    parse_constant=_refuse_constant,
)
