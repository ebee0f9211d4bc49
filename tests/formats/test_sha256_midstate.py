"""SHA-256 from a state. Oracle: hashlib, from the standard's initial state and from blocks before."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.sha256_midstate import resume_sha256

# Source: FIPS 180-4, section 5.3.3.
INITIAL = bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_from_the_initial_state_it_is_sha_256(message: bytes) -> None:
    assert resume_sha256(INITIAL, 0, message) == hashlib.sha256(message).digest()


@given(st.binary(max_size=130), st.binary(max_size=130))
@settings(max_examples=60)
def test_the_digest_of_a_padded_message_is_the_state_after_it(message: bytes, tail: bytes) -> None:
    padded = message + b"\x80" + bytes(-(len(message) + 9) % 64) + (8 * len(message)).to_bytes(8, "big")
    state = hashlib.sha256(message).digest()
    assert resume_sha256(state, len(padded), tail) == hashlib.sha256(padded + tail).digest()


@pytest.mark.parametrize(("state", "done"), [(bytes(31), 0), (bytes(33), 64), (bytes(32), 63), (bytes(32), 1 << 32)])
def test_a_state_of_another_size_or_not_after_whole_blocks_is_refused(state: bytes, done: int) -> None:
    with pytest.raises(FormatError):
        resume_sha256(state, done, b"")
