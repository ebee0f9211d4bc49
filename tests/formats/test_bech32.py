"""Bech32: the strings of BIP 173, and groups of five bits. Oracle: PyPI's bech32."""

from __future__ import annotations

import bech32 as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats import bech32

HUMAN = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).map(str.lower)
GROUPS = st.lists(st.integers(0, 31), max_size=50).map(bytes)

# Source: BIP 173, "Test vectors".
VALID = [
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "11qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8247j",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
    "?1ezyfcl",
]
INVALID = [
    pytest.param("\x201nwldj5", id="space in the human-readable part"),
    pytest.param("\x7f1axkwrx", id="delete in the human-readable part"),
    pytest.param("\x801eym55h", id="beyond ASCII"),
    pytest.param("pzry9x0s0muk", id="no separator"),
    pytest.param("1pzry9x0s0muk", id="empty human-readable part"),
    pytest.param("x1b4n0q5v", id="character outside the alphabet"),
    pytest.param("li1dgmt3", id="checksum too short"),
    pytest.param("de1lg7wt\xff", id="character outside ASCII in the checksum"),
    pytest.param("A1G7SGD8", id="checksum over the upper-case form"),
    pytest.param("10a06t8", id="empty human-readable part, zero"),
    pytest.param("1qzzfhee", id="empty human-readable part, one"),
]
LONG = bech32.encode("lnbc", bytes([number % 29 for number in range(6000)]))


@pytest.mark.parametrize("text", VALID)
def test_valid_strings_of_bip_173_go_round(text: str) -> None:
    human, groups = bech32.decode(text)
    assert bech32.encode(human, groups) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_invalid_strings_of_bip_173_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        bech32.decode(text)


@given(HUMAN, GROUPS)
@settings(max_examples=100)
def test_what_is_encoded_decodes_to_itself_and_as_the_oracle_encodes_it(human: str, groups: bytes) -> None:
    text = bech32.encode(human, groups)
    assert text == oracle.bech32_encode(human, list(groups))
    assert bech32.decode(text) == (human, groups)
    assert bech32.decode(text.upper()) == (human, groups)


@pytest.mark.parametrize("length", [84, 85, 1009, 1010, 1011, 1012, 1013, 1014, 2040, 7000])
def test_there_is_no_limit_of_90_characters_nor_of_the_codes_1023(length: int) -> None:
    groups = bytes([number * number % 31 for number in range(length)])
    text = bech32.encode("lnbc", groups)
    assert text == oracle.bech32_encode("lnbc", list(groups))
    assert bech32.decode(text) == ("lnbc", groups)


@given(st.integers(0, 6000), st.integers(1, 31))
@settings(max_examples=60, deadline=None)
def test_any_changed_group_of_a_long_text_is_noticed(at: int, change: int) -> None:
    human, data = LONG.split("1")
    wrong = bech32.ALPHABET[bech32.ALPHABET.index(data[at]) ^ change]
    with pytest.raises(FormatError, match="checksum"):
        bech32.decode(f"{human}1{data[:at]}{wrong}{data[at + 1 :]}")


@pytest.mark.parametrize("human", ["", "A", "a b", "é"])
def test_a_human_part_that_cannot_be_read_back_is_not_written(human: str) -> None:
    with pytest.raises(FormatError):
        bech32.encode(human, b"")


def test_a_group_of_six_bits_is_not_written() -> None:
    with pytest.raises(FormatError):
        bech32.encode("a", b"\x20")


@given(st.binary(max_size=60))
def test_bytes_go_round_through_groups_as_the_oracle_converts_them(data: bytes) -> None:
    groups = bech32.groups_from_bytes(data)
    assert list(groups) == oracle.convertbits(data, 8, 5)
    assert bech32.groups_to_bytes(groups, name="test") == data


@given(GROUPS)
def test_only_groups_that_bytes_give_are_read_as_bytes(groups: bytes) -> None:
    expected = oracle.convertbits(groups, 5, 8, False)
    if expected is None:
        with pytest.raises(FormatError):
            bech32.groups_to_bytes(groups, name="test")
    else:
        assert bech32.groups_to_bytes(groups, name="test") == bytes(expected)


@given(st.integers(0, 2**200))
def test_numbers_take_the_fewest_groups(number: int) -> None:
    groups = bech32.groups_from_int(number)
    assert groups[:1] != b"\0"
    assert bech32.groups_to_int(groups) == number
    assert bech32.groups_to_int(b"\0" + groups) == number
