"""Revert reasons in every form that contracts use, and a text for any bytes."""

from __future__ import annotations

import pytest
from eth_abi import abi as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.formats.evm_abi import encode_call, encode_words, selector
from layer2.formats.evm_revert import decode_revert

PANIC = bytes.fromhex("4e487b71")
ALICE = bytes(range(20))


def error_of(text: str) -> bytes:
    return bytes.fromhex("08c379a0") + bytes(oracle.encode(["string"], [text]))


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=100))
@settings(max_examples=50)
def test_the_text_of_a_revert_is_read(text: str) -> None:
    assert decode_revert(error_of(text)) == (text or "no reason given")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no reason given"),
        (b"\x08\xc3", "2 bytes that are not an error"),
        (PANIC + encode_words(0x11), "panic 0x11: arithmetic overflow or underflow"),
        (PANIC + encode_words(0x99), "panic 0x99: unknown"),
        (PANIC + encode_words(0x11, 0x11), "malformed Panic(uint256) of 64 bytes"),
        (error_of("late")[:60], "malformed Error(string) of 56 bytes"),
        (error_of("late")[:69], "malformed Error(string) of 65 bytes"),
        (selector("TooLate()"), f"custom error 0x{selector('TooLate()').hex()} with 0 bytes"),
    ],
)
def test_a_reason_is_shown_as_text(data: bytes, reason: str) -> None:
    assert decode_revert(data) == reason


def test_a_tokens_own_errors_are_named_with_their_arguments() -> None:
    data = encode_call("ERC20InsufficientBalance(address,uint256,uint256)", ALICE, 7, 2**255)
    assert decode_revert(data) == f"ERC20InsufficientBalance(sender 0x{ALICE.hex()}, balance 7, needed {2**255})"
    data = encode_call("ERC20InvalidReceiver(address)", ALICE)
    assert decode_revert(data) == f"ERC20InvalidReceiver(receiver 0x{ALICE.hex()})"
    assert decode_revert(data + b"\x00") == "malformed ERC20InvalidReceiver of 33 bytes"
    assert decode_revert(data[:4] + b"\x01" + data[5:]) == "malformed ERC20InvalidReceiver of 32 bytes"


def test_the_arguments_of_an_unknown_error_are_not_shown_as_they_may_be_the_calls_own() -> None:
    secret = bytes(range(100, 132))
    reason = decode_revert(selector("Unknown(bytes32)") + secret)
    assert reason == f"custom error 0x{selector('Unknown(bytes32)').hex()} with 32 bytes"


def test_a_reason_cannot_flood_or_colour_the_terminal() -> None:
    assert decode_revert(error_of("\x1b[31mpaid\n")) == "\ufffd[31mpaid\ufffd"
    assert len(decode_revert(error_of("a" * 10_000))) < 300
    assert len(decode_revert(b"\x01" * 10_000)) < 300
    assert len(decode_revert(PANIC + b"\xff" * 32)) < 300


_NAMES = st.sampled_from(
    [b"", PANIC, error_of("")[:4], encode_call("ERC20InsufficientAllowance(address,uint256,uint256)", ALICE, 1, 2)[:4]]
)


@given(_NAMES, st.lists(st.sampled_from([0, 1, 32, 64, 2**256 - 1]), max_size=5), st.binary(max_size=80))
@settings(max_examples=300)
def test_any_bytes_give_a_short_printable_text(name: bytes, words: list[int], rest: bytes) -> None:
    reason = decode_revert(name + encode_words(*words) + rest)
    assert reason.isprintable()
    assert len(reason) < 600


@given(st.sampled_from(["cut", "flip"]), st.integers(0, 99))
@settings(max_examples=60)
def test_a_damaged_reason_still_gives_a_text(kind: str, place: int) -> None:
    data = bytearray(error_of("the lock is not there"))
    if kind == "cut":
        del data[place:]
    else:
        data[place] ^= 0xFF
    assert decode_revert(bytes(data)).isprintable()
