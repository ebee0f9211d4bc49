"""Canonical JSON: one byte string for each value, and no text that two readers interpret differently."""

from __future__ import annotations

import json
import subprocess
import sys
from enum import IntEnum, StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats import canonical_json
from layer2.formats.canonical_json import MAX_DEPTH, JsonValue

LARGEST = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
@settings(max_examples=150)
def test_every_value_goes_round(value: JsonValue) -> None:
    encoded = canonical_json.encode(value)
    assert canonical_json.decode_strict(encoded) == value
    assert json.loads(encoded) == value


@given(VALUES)
@settings(max_examples=100)
def test_order_white_space_and_escapes_do_not_change_the_value(value: JsonValue) -> None:
    for text in (json.dumps(value, indent=2), json.dumps(value, ensure_ascii=False, sort_keys=True)):
        assert canonical_json.encode(canonical_json.decode(text.encode())) == canonical_json.encode(value)


SORTED_OTHERWISE = st.text("a\x7f\u00e9\u2028\ud7ff\ue000\uffff\U00010000\U0010ffff", max_size=3)
"""Texts that code points, UTF-8 and UTF-16 code units put into different orders."""


@given(VALUES | st.dictionaries(SORTED_OTHERWISE, st.integers(0, 9) | SORTED_OTHERWISE, max_size=6))
@settings(max_examples=400)
def test_the_form_is_that_of_an_independent_implementation(value: JsonValue) -> None:
    assert canonical_json.encode(value) == rfc8785.dumps(value)


def test_every_character_is_written_as_an_independent_implementation_writes_it() -> None:
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x11_0000, 97)]))
    assert canonical_json.encode(text) == rfc8785.dumps(text)
    for ascii_text in map(chr, range(0x80)):
        assert canonical_json.encode({ascii_text: ascii_text}) == rfc8785.dumps({ascii_text: ascii_text})


def test_subclasses_of_text_and_integers_are_written_as_their_values() -> None:
    class Name(StrEnum):
        FIRST = "first"

    class Number(IntEnum):
        ONE = 1

    assert canonical_json.encode({Name.FIRST: [Number.ONE, Name.FIRST]}) == b'{"first":[1,"first"]}'


# Source: RFC 8785, section 3.2.3, the keys of its sorting example, which UTF-16 and code points order differently.
def test_keys_are_sorted_by_their_utf_16_code_units() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    encoded = canonical_json.encode(dict.fromkeys(keys, 0))
    assert list(json.loads(encoded)) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


# Source: RFC 8785, section 3.2.2.2.
def test_text_is_escaped_as_little_as_the_standard_allows() -> None:
    text = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/"
    assert canonical_json.encode(text) == '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'.encode()


def test_tuples_are_written_as_lists() -> None:
    assert canonical_json.encode({"b": (1, 2), "a": None}) == b'{"a":null,"b":[1,2]}'


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        2**53,
        -(2**53),
        b"bytes",
        {1: "a"},
        {None: 1},
        {True: 1},
        {"a"},
        pytest.param(object(), id="object()"),
        "\ud800",
        {"\ud800": 1},
        [[0.5]],
        {"a": {"b": b""}},
    ],
    ids=repr,
)
def test_what_has_no_canonical_form_is_not_written(value: Any) -> None:
    with pytest.raises(FormatError):
        canonical_json.encode(value)


@pytest.mark.parametrize("number", [LARGEST, -LARGEST, 0])
def test_the_largest_safe_integers_are_written(number: int) -> None:
    assert canonical_json.decode_strict(canonical_json.encode(number)) == number


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"{}{}", id="two values"),
        pytest.param(b"{} x", id="something after it"),
        pytest.param(b"1.0", id="fraction"),
        pytest.param(b"1e3", id="exponent"),
        pytest.param(b"NaN", id="not a number"),
        pytest.param(b"-Infinity", id="infinity"),
        pytest.param(b"9007199254740992", id="integer above the largest"),
        pytest.param(b"9" * 5000, id="integer too long for int()"),
        pytest.param(b"01", id="leading zero"),
        pytest.param(b'{"a":1,"a":1}', id="key twice"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="key twice, once escaped"),
        pytest.param(b'{"x":[{"a":1,"a":2}]}', id="key twice within"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b"[1,]", id="trailing comma"),
        pytest.param(b'"\n"', id="raw control character"),
        pytest.param(b'"\\ud800"', id="lone surrogate"),
        pytest.param(b'{"\\udc00":1}', id="lone surrogate in a key"),
        pytest.param(b'"\xff"', id="not UTF-8"),
        pytest.param("{}".encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b"[" * 100_000, id="deep and cut off"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="deep lists"),
        pytest.param(b'{"a":' * 50_000 + b"1" + b"}" * 50_000, id="deep objects"),
    ],
)
def test_what_is_not_unambiguous_json_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        canonical_json.decode(data)


@pytest.mark.parametrize(
    "data",
    [b' {"a":1}', b'{"a":1}\n', b'{"a": 1}', b'{"b":1,"a":2}', b'"\\u0061"', b'"\\/"', b"-0", b'"\\u000A"'],
)
def test_another_spelling_is_read_but_not_as_canonical(data: bytes) -> None:
    canonical_json.decode(data)
    with pytest.raises(FormatError, match="canonical"):
        canonical_json.decode_strict(data)


def test_depth_is_bounded_on_both_ways_at_the_same_level() -> None:
    deepest: JsonValue = []
    for _ in range(MAX_DEPTH - 1):
        deepest = [deepest]
    assert canonical_json.decode_strict(canonical_json.encode(deepest)) == deepest
    with pytest.raises(FormatError, match="deeper"):
        canonical_json.encode([deepest])
    with pytest.raises(FormatError, match="deeper"):
        canonical_json.decode(b"[" + canonical_json.encode(deepest) + b"]")


def test_brackets_beside_each_other_or_within_text_are_not_depth() -> None:
    wide: JsonValue = [[["[{" * MAX_DEPTH, '"[' * MAX_DEPTH]] for _ in range(MAX_DEPTH)]
    assert canonical_json.decode_strict(canonical_json.encode(wide)) == wide


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(FormatError, match="deeper"):
        canonical_json.encode(endless)


def test_length_is_bounded() -> None:
    assert canonical_json.decode(b'"abc"', max_bytes=5) == "abc"
    with pytest.raises(FormatError, match="4 bytes"):
        canonical_json.decode(b'"abc"', max_bytes=4)
    with pytest.raises(FormatError, match="4 bytes"):
        canonical_json.decode_strict(b'"abc"', max_bytes=4)


def test_the_number_of_values_is_bounded_before_they_are_read() -> None:
    lists = b"[" + b"[]," * 99 + b"[]]"
    assert lists.count(b"[") + lists.count(b",") == 200
    assert canonical_json.decode_strict(lists, max_values=200) == [[]] * 100
    with pytest.raises(FormatError, match="more than 199 values"):
        canonical_json.decode_strict(lists, max_values=199)
    with pytest.raises(FormatError, match="more than 199 values"):
        canonical_json.decode_strict(b"[" * 200, max_values=199)


DOCUMENT = canonical_json.encode({"amount": "100000", "parties": ["a", "b"], "version": 1})


def test_every_truncation_is_refused() -> None:
    for length in range(len(DOCUMENT)):
        with pytest.raises(FormatError):
            canonical_json.decode(DOCUMENT[:length])


def test_every_flipped_bit_is_refused_or_changes_the_value() -> None:
    original = canonical_json.decode(DOCUMENT)
    for at in range(len(DOCUMENT) * 8):
        flipped = bytearray(DOCUMENT)
        flipped[at // 8] ^= 1 << at % 8
        try:
            assert canonical_json.decode_strict(bytes(flipped)) != original
        except FormatError:
            continue


@given(st.binary(max_size=40))
@settings(max_examples=150)
def test_any_bytes_give_a_value_or_a_format_error(data: bytes) -> None:
    try:
        value = canonical_json.decode_strict(data)
    except FormatError:
        return
    assert canonical_json.encode(value) == data


def test_deep_nesting_is_refused_where_another_library_has_raised_the_recursion_limit() -> None:
    program = """
import sys
from layer2.errors import FormatError
from layer2.formats import canonical_json
sys.setrecursionlimit(1_000_000)
for text in (b"[" * 500_000, b'{"a":' * 150_000, b'["\\\\",' * 100_000):
    try:
        canonical_json.decode(text)
    except FormatError:
        continue
    sys.exit(3)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_string_that_does_not_end_is_read_in_linear_time() -> None:
    """Quadratic time would take hours for this."""
    with pytest.raises(FormatError, match="not JSON"):
        canonical_json.decode(b'"' + b'\\"' * 499_000)
