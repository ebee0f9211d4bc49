"""RLP: only the canonical encoding of an item decodes. Oracle: PyPI's rlp."""

from __future__ import annotations

import pytest
import rlp as oracle  # type: ignore[import-untyped]  # a test oracle without types
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats import rlp
from layer2.formats.rlp import RlpItem

items: st.SearchStrategy[RlpItem] = st.recursive(
    st.binary(max_size=80), lambda inner: st.lists(inner, max_size=5), max_leaves=12
)


@given(items)
@settings(max_examples=150)
def test_what_is_encoded_decodes_to_itself_and_as_the_oracle_encodes_it(item: RlpItem) -> None:
    encoded = rlp.encode(item)
    assert encoded == oracle.encode(item)
    assert rlp.decode(encoded) == item


@given(st.integers(min_value=0, max_value=1 << 260))
@settings(max_examples=100)
def test_integers_go_round_and_as_the_oracle_encodes_them(value: int) -> None:
    written = rlp.encode_int(value)
    assert rlp.encode(written) == oracle.encode(value)
    assert rlp.decode_int(written, max_bytes=33) == value


@pytest.mark.parametrize("size", [0, 1, 55, 56, 57, 255, 256, 65535, 65536])
def test_lengths_at_the_borders_agree_with_the_oracle(size: int) -> None:
    text = b"\x81" * size
    assert rlp.encode(text) == oracle.encode(text)
    assert rlp.decode(rlp.encode(text)) == text
    many: list[RlpItem] = [b"\x01"] * size
    assert rlp.encode(many) == oracle.encode(many)
    assert rlp.decode(rlp.encode(many)) == many


@given(items)
@settings(max_examples=60)
def test_every_truncation_is_refused(item: RlpItem) -> None:
    encoded = rlp.encode(item)
    for length in range(len(encoded)):
        with pytest.raises(FormatError):
            rlp.decode(encoded[:length])


@given(items, st.binary(min_size=1, max_size=3))
@settings(max_examples=60)
def test_appended_bytes_are_refused(item: RlpItem, appended: bytes) -> None:
    with pytest.raises(FormatError):
        rlp.decode(rlp.encode(item) + appended)


@given(items, st.data())
@settings(max_examples=200)
def test_a_flipped_bit_is_refused_or_decodes_to_something_else(item: RlpItem, data: st.DataObject) -> None:
    encoded = bytearray(rlp.encode(item))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        other = rlp.decode(bytes(encoded))
    except FormatError:
        return
    assert other != item
    assert rlp.encode(other) == bytes(encoded)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "0 items"),
        ("8100", "a byte that needs none"),
        ("817f", "a byte that needs none"),
        ("b801" + "80", "long length for a short payload"),
        ("b837" + "00" * 55, "long length for a short payload"),
        ("f837" + "01" * 55, "long length for a short payload"),
        ("b90038" + "00" * 56, "leading zeros"),
        ("b8", "within a length"),
        ("bfffffffffffffffff", "truncated"),
        ("c1b8", "within a length"),
        ("c1b838" + "00" * 56, "within a length"),
        ("c2b838" + "00" * 56, "longer than the list"),
        ("c182" + "0000", "longer than the list"),
        ("0102", "2 items"),
        ("c0c0", "2 items"),
    ],
)
def test_an_encoding_that_is_not_the_only_one_is_refused_with_its_reason(data: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        rlp.decode(bytes.fromhex(data))


def test_deep_lists_are_refused_without_exhausting_the_stack() -> None:
    item: RlpItem = b""
    for _ in range(rlp.MAX_DEPTH):
        item = [item]
    assert rlp.decode(rlp.encode(item)) == item
    with pytest.raises(FormatError, match="deeper"):
        rlp.decode(rlp.encode([item]))
    bomb = b"\xc0"
    for _ in range(5_000):
        bomb = _listed(bomb)
    with pytest.raises(FormatError, match="deeper"):
        rlp.decode(bomb)


def test_size_and_so_the_number_of_items_is_bounded() -> None:
    with pytest.raises(FormatError, match="the maximum is"):
        rlp.decode(b"\x00" * (rlp.MAX_SIZE + 1))
    full = _listed(b"\xc0" * (rlp.MAX_SIZE - 4))
    assert len(full) == rlp.MAX_SIZE
    assert rlp.decode(full) == [[]] * (rlp.MAX_SIZE - 4)
    with pytest.raises(FormatError, match="the maximum is"):
        rlp.decode(_listed(b"\xc0" * (rlp.MAX_SIZE - 3)))


@pytest.mark.parametrize(
    ("item", "reason"),
    [(b"\x00", "leading zeros"), (b"\x00\x01", "leading zeros"), (b"\x01" * 9, "the maximum is 8"), ([], "list")],
)
def test_an_integer_is_short_and_without_leading_zeros(item: RlpItem, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        rlp.decode_int(item, max_bytes=8)


def test_negative_integers_have_no_encoding() -> None:
    with pytest.raises(FormatError, match="not negative"):
        rlp.encode_int(-1)


def _listed(payload: bytes) -> bytes:
    """A list around an encoded payload."""
    if len(payload) <= 55:
        return bytes((0xC0 + len(payload),)) + payload
    length = len(payload).to_bytes((len(payload).bit_length() + 7) // 8, "big")
    return bytes((0xF7 + len(length),)) + length + payload
