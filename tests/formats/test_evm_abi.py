"""Static ABI words. Oracle: eth-abi; selectors and topics are those of well-known contracts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from eth_abi import abi as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.evm_abi import (
    Word,
    address_of_word,
    bool_of_word,
    encode_call,
    encode_words,
    event_topic,
    selector,
    split_words,
    uint256_of_word,
)

WordType = Literal["uint256", "address", "bytes32", "bool"]
READERS: dict[WordType, Callable[[bytes], Word]] = {
    "uint256": uint256_of_word,
    "address": address_of_word,
    "bytes32": bytes,
    "bool": bool_of_word,
}
VALUES: dict[WordType, st.SearchStrategy[Word]] = {
    "uint256": st.integers(0, (1 << 256) - 1),
    "address": st.binary(min_size=20, max_size=20),
    "bytes32": st.binary(min_size=32, max_size=32),
    "bool": st.booleans(),
}
typed_words = st.lists(
    st.sampled_from(list(VALUES)).flatmap(lambda name: VALUES[name].map(lambda value: (name, value))),
    max_size=6,
)


def for_oracle(name: WordType, value: Word) -> object:
    return "0x" + value.hex() if name == "address" and isinstance(value, bytes) else value


@given(typed_words)
@settings(max_examples=150)
def test_words_go_round_and_as_the_oracle_encodes_them(words: list[tuple[WordType, Word]]) -> None:
    types = [name for name, _ in words]
    values = [value for _, value in words]
    data = encode_words(*values)
    assert data == oracle.encode(types, [for_oracle(name, value) for name, value in words])
    read = [READERS[name](word) for name, word in zip(types, split_words(data, len(types)), strict=True)]
    assert read == values
    assert encode_call(f"f({','.join(types)})", *values)[4:] == data


@given(typed_words, st.binary(min_size=1, max_size=32))
@settings(max_examples=50)
def test_another_length_is_refused(words: list[tuple[WordType, Word]], appended: bytes) -> None:
    data = encode_words(*[value for _, value in words])
    for wrong in (data + appended, data[: -len(appended)] if data else b"\x00"):
        with pytest.raises(FormatError):
            split_words(wrong, len(words))


@given(st.sampled_from(list(VALUES)), st.binary(min_size=32, max_size=32))
@settings(max_examples=100)
def test_any_word_is_refused_or_is_the_encoding_of_what_it_decodes_to(name: WordType, word: bytes) -> None:
    try:
        value = READERS[name](word)
    except FormatError:
        return
    assert encode_words(value) == word


def test_every_bit_above_an_address_and_above_a_bool_is_refused() -> None:
    for bit in range(96):
        with pytest.raises(FormatError):
            address_of_word((1 << 255 - bit).to_bytes(32, "big"))
    for bit in range(1, 256):
        with pytest.raises(FormatError):
            bool_of_word((1 << bit).to_bytes(32, "big"))


def test_single_words_are_read_by_their_type() -> None:
    assert split_words(encode_words(5, b"\x11" * 20, True), 3) == (
        uint256 := bytes(31) + b"\x05",
        address := bytes(12) + b"\x11" * 20,
        truth := bytes(31) + b"\x01",
    )
    assert uint256_of_word(uint256) == 5
    assert address_of_word(address) == b"\x11" * 20
    assert bool_of_word(truth) is True
    with pytest.raises(FormatError):
        uint256_of_word(b"\x05")


def test_names_are_hashed_as_the_known_contracts_have_them() -> None:
    assert selector("transfer(address,uint256)").hex() == "a9059cbb"
    assert selector("decimals()").hex() == "313ce567"
    assert (
        event_topic("Transfer(address,address,uint256)").hex()
        == "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    )


@pytest.mark.parametrize(
    "signature",
    [
        "transfer",
        "transfer(address, uint256)",
        "transfer(address,uint256) ",
        "transfer(address,uint)",
        "transfer(address,)",
        "transfer(bytes)",
        "transfer(uint7)",
        "transfer(uint264)",
        "transfer(uint0)",
        "transfer(uint08)",
        "transfer(uint130)",
        "1(bool)",
        "transfer(uint256[])",
    ],
)
def test_signatures_that_are_not_canonical_are_refused(signature: str) -> None:
    with pytest.raises(FormatError):
        selector(signature)


@pytest.mark.parametrize("bits", range(8, 257, 8))
def test_every_width_of_integer_is_known_and_its_range_kept(bits: int) -> None:
    assert encode_call(f"f(uint{bits})", (1 << bits) - 1)[4:] == ((1 << bits) - 1).to_bytes(32, "big")
    with pytest.raises(FormatError):
        encode_call(f"f(uint{bits})", 1 << bits)


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("f(uint256)", ()),
        ("f()", (1,)),
        ("f(uint256)", (-1,)),
        ("f(uint256)", (True,)),
        ("f(bool)", (1,)),
        ("f(address)", (bytes(32),)),
        ("f(bytes32)", (bytes(20),)),
        ("f(uint256)", (bytes(32),)),
        ("f(address)", (5,)),
    ],
)
def test_a_call_takes_only_arguments_of_its_signature(signature: str, values: tuple[Word, ...]) -> None:
    with pytest.raises(FormatError):
        encode_call(signature, *values)


@pytest.mark.parametrize("value", [-1, 1 << 256, b"", bytes(31), bytes(33)])
def test_values_that_fill_no_word_are_refused(value: Word) -> None:
    with pytest.raises(FormatError):
        encode_words(value)
