"""The JSON-RPC's hexadecimal texts: each value has one form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.evm_hex import format_data, format_quantity, parse_data, parse_quantity


@given(st.binary(max_size=40), st.integers(0, (1 << 256) - 1))
@settings(max_examples=50)
def test_bytes_and_numbers_go_round(data: bytes, number: int) -> None:
    assert parse_data(format_data(data), "field", size=len(data)) == data
    assert parse_quantity(format_quantity(number), "field") == number


@pytest.mark.parametrize(
    "value", ["", "0x0", "00", "0xg0", "0X00", "0x00\n", " 0x00", "0x\uff10\uff10", 0, None, b"0x"]
)
def test_what_is_not_data_is_refused_and_the_field_named(value: object) -> None:
    with pytest.raises(FormatError, match="topic"):
        parse_data(value, "topic")


@pytest.mark.parametrize("value", ["", "0x", "0x00", "0x01", "-0x1", "0x-1", "0x_1", "0x1\n", "1", 1, True, None])
def test_what_is_not_a_quantity_is_refused_and_the_field_named(value: object) -> None:
    with pytest.raises(FormatError, match="gasUsed"):
        parse_quantity(value, "gasUsed")


def test_size_and_width_are_kept() -> None:
    with pytest.raises(FormatError, match="31 bytes, expected 32"):
        parse_data("0x" + "00" * 31, "field", size=32)
    assert parse_quantity("0xff", "field", bits=8) == 255
    with pytest.raises(FormatError, match="wider than 8 bits"):
        parse_quantity("0x100", "field", bits=8)
    with pytest.raises(FormatError):
        parse_quantity("0x1" + "0" * 64, "field")


def test_a_negative_number_is_not_written() -> None:
    with pytest.raises(FormatError):
        format_quantity(-1)
