"""Keccak-256 agrees with pycryptodome's, and is not SHA3-256."""

from __future__ import annotations

import hashlib

from Crypto.Hash import keccak
from hypothesis import given
from hypothesis import strategies as st

from layer2.formats.keccak import keccak256


def test_the_digest_of_nothing_is_the_one_that_ethereum_names() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@given(st.binary(max_size=300))
def test_digests_agree_with_another_implementation_and_differ_from_sha3(data: bytes) -> None:
    assert keccak256(data) == keccak.new(data=data, digest_bits=256).digest()
    assert keccak256(data) != hashlib.sha3_256(data).digest()
