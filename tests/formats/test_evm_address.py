"""Addresses: the test vectors of EIP-55 and EIP-1014. Oracle: eth-account."""

from __future__ import annotations

import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.evm_address import (
    address_of_public_key,
    create2_address,
    parse_address,
    read_address,
    to_checksum,
)
from layer2.formats.keccak import keccak256

# Source: the test cases of EIP-55.
CHECKSUMMED = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]

# Source: the examples of EIP-1014: factory, salt, creation code, result.
CREATE2 = [
    ("00" * 20, "00" * 32, "00", "0x4D1A2e2bB4F88F0250f26Ffff098B0b30B26BF38"),
    ("deadbeef" + "00" * 16, "00" * 32, "00", "0xB928f69Bb1D91Cd65274e3c79d8986362984fDA3"),
    (
        "deadbeef" + "00" * 16,
        "00" * 12 + "feed" + "00" * 18,
        "00",
        "0xD04116cDd17beBE565EB2422F2497E06cC1C9833",
    ),
    ("00" * 20, "00" * 32, "deadbeef", "0x70f2b2914A2a4b783FaEFb75f459A580616Fcb5e"),
    ("00" * 20, "00" * 32, "", "0xE33C0C7F7df4809055C3ebA6c09CFe4BaF1BD9e0"),
]


@pytest.mark.parametrize("text", CHECKSUMMED)
def test_the_vectors_of_eip_55_are_read_and_written(text: str) -> None:
    assert to_checksum(parse_address(text)) == text
    assert parse_address(text.lower()) == parse_address(text)


@given(st.binary(min_size=20, max_size=20))
@settings(max_examples=100)
def test_checksums_agree_with_the_oracle_and_go_round(address: bytes) -> None:
    text = to_checksum(address)
    assert text == to_checksum_address(address)
    assert parse_address(text) == address


@given(st.binary(min_size=20, max_size=20), st.data())
@settings(max_examples=100)
def test_a_letter_of_the_other_case_is_refused(address: bytes, data: st.DataObject) -> None:
    text = to_checksum(address)
    letters = [place for place, sign in enumerate(text) if place > 1 and sign.isalpha()]
    if not letters:
        return
    place = data.draw(st.sampled_from(letters))
    changed = text[:place] + text[place].swapcase() + text[place + 1 :]
    if changed == changed.lower():
        assert parse_address(changed) == address
        return
    with pytest.raises(FormatError, match="checksum"):
        parse_address(changed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        CHECKSUMMED[4][:-1],
        CHECKSUMMED[4] + "0",
        CHECKSUMMED[4] + "\n",
        " " + CHECKSUMMED[4],
        CHECKSUMMED[4][2:],
        "0X" + CHECKSUMMED[4][2:].lower(),
        "0x" + "g" * 40,
        "0x" + "\uff11" * 40,
        "0x" + "AB" * 20,
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_address(text)


@given(st.integers(min_value=1, max_value=1 << 200))
@settings(max_examples=20)
def test_both_forms_of_a_public_key_give_the_address_that_the_oracle_gives(secret: int) -> None:
    key = PrivateKey.from_int(secret).public_key
    expected = Account.from_key(secret.to_bytes(32, "big")).address
    assert to_checksum(address_of_public_key(key.format(compressed=True))) == expected
    assert to_checksum(address_of_public_key(key.format(compressed=False))) == expected


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"\x02" * 32,
        b"\x04" + b"\x01" * 32,
        b"\x02" + b"\xff" * 32,
        b"\x04" + b"\x01" * 64,
        b"\x04" + b"\x01" * 65,
        b"\x05" + b"\x01" * 32,
    ],
)
def test_an_invalid_public_key_is_refused(key: bytes) -> None:
    with pytest.raises(FormatError, match="public key"):
        address_of_public_key(key)


def test_the_hybrid_form_of_a_public_key_is_refused() -> None:
    uncompressed = PrivateKey.from_int(7).public_key.format(compressed=False)
    hybrid = bytes((6 + uncompressed[-1] % 2,)) + uncompressed[1:]
    with pytest.raises(FormatError, match="public key"):
        address_of_public_key(hybrid)


@pytest.mark.parametrize(("factory", "salt", "code", "expected"), CREATE2)
def test_the_vectors_of_eip_1014_are_computed(factory: str, salt: str, code: str, expected: str) -> None:
    init_code_hash = keccak256(bytes.fromhex(code))
    assert to_checksum(create2_address(bytes.fromhex(factory), bytes.fromhex(salt), init_code_hash)) == expected


@pytest.mark.parametrize("sizes", [(19, 32, 32), (20, 31, 32), (20, 32, 33)])
def test_create2_refuses_arguments_of_another_size(sizes: tuple[int, int, int]) -> None:
    factory, salt, code = (bytes(size) for size in sizes)
    with pytest.raises(FormatError):
        create2_address(factory, salt, code)


def test_an_address_of_another_size_is_not_written() -> None:
    with pytest.raises(FormatError):
        to_checksum(bytes(19))


# Every network has a letter in another case.
ANYBODY = bytes.fromhex("deadbeef" * 5)


@pytest.mark.parametrize("chain_id", [None, 30, 31, 33, 60808])
@pytest.mark.parametrize("other", [None, 30, 31, 33])
def test_an_address_with_the_checksum_of_another_network_is_named_as_such(
    chain_id: int | None, other: int | None
) -> None:
    text = to_checksum(ANYBODY, other)
    if text == to_checksum(ANYBODY, chain_id):
        assert parse_address(text, chain_id) == ANYBODY
        return
    with pytest.raises(FormatError, match=f"checksum for chain {other}" if other else "EIP-55 checksum") as refused:
        parse_address(text, chain_id)
    assert refused.value.code == "other_network"


def test_an_address_whose_network_is_not_known_yet_is_read_with_any_checksum_and_no_other() -> None:
    for chain_id in (None, 30, 31, 33):
        assert read_address(to_checksum(ANYBODY, chain_id)) == ANYBODY
    assert read_address("0x" + ANYBODY.hex()) == ANYBODY
    with pytest.raises(FormatError, match="a digit may be mistyped") as refused:
        read_address(to_checksum(ANYBODY)[:-1] + "E")
    assert refused.value.code != "other_network"
