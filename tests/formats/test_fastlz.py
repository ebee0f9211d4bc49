"""FastLZ's length. ``tests/networks/test_fees.py`` shows by receipts that it equals op-geth's to the byte."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layer2.formats.fastlz import compressed_size, largest_compressed_size

NOISE = hashlib.shake_256(b"noise").digest(100_000)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"", 0),
        (b"a", 2),
        (NOISE[:32], 33),
        (NOISE[:33], 35),
        (bytes(13), 14),
        (bytes(100), 12),
        (bytes(1_000), 21),
        (bytes(100_000), 1_155),
        (NOISE[:50] * 4, 61),
        (NOISE, 103_111),
    ],
)
def test_golden_lengths_hold(data: bytes, size: int) -> None:
    assert compressed_size(data) == size


_PIECES = st.binary(max_size=70) | st.sampled_from([b"\x00" * 40, b"ab" * 150, b"\x01", NOISE[:9], NOISE[:300]])


@given(st.lists(_PIECES, max_size=12).map(b"".join))
def test_nothing_comes_to_more_than_the_bound(data: bytes) -> None:
    assert compressed_size(data) <= largest_compressed_size(len(data))


@given(st.integers(0, 3_000))
def test_the_bound_is_reached_by_what_does_not_repeat(size: int) -> None:
    # Two-byte numbers after a marker byte: no three bytes repeat.
    data = b"".join([b"\xff" + number.to_bytes(2, "big") for number in range(size // 3 + 1)])[:size]
    assert compressed_size(data) == largest_compressed_size(size)


def test_a_copy_from_too_far_away_is_not_used() -> None:
    near = NOISE[:40] + NOISE[1_000:9_000] + NOISE[:40]
    far = NOISE[:40] + NOISE[1_000:9_200] + NOISE[:40]
    assert compressed_size(near) < largest_compressed_size(len(near)) - 20
    assert compressed_size(far) >= largest_compressed_size(len(far)) - 20
