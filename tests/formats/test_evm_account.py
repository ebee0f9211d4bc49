"""Accounts of the state trie. Oracle: the library ``rlp``."""

from __future__ import annotations

import pytest
import rlp  # type: ignore[import-untyped]  # a test oracle without types
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.evm_account import EvmAccount, decode_account
from layer2.formats.keccak import keccak256
from layer2.formats.merkle_patricia import EMPTY_ROOT

NO_CODE = keccak256(b"")
FIELDS = [b"\x05", b"\x07", EMPTY_ROOT, NO_CODE]
ENCODED: bytes = rlp.encode(FIELDS)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**256 - 1), st.binary(min_size=32, max_size=32))
def test_every_account_is_read_as_the_oracle_writes_it(nonce: int, balance: int, root: bytes) -> None:
    account = decode_account(rlp.encode([nonce, balance, root, NO_CODE]))
    assert account == EvmAccount(nonce, balance, root, NO_CODE)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        FIELDS[:3],
        [*FIELDS, b""],
        [b"\x00", *FIELDS[1:]],
        [b"\x01" * 9, *FIELDS[1:]],
        [b"\x05", b"\x00\x07", *FIELDS[2:]],
        [b"\x05", b"\x01" * 33, *FIELDS[2:]],
        [*FIELDS[:2], bytes(31), NO_CODE],
        [*FIELDS[:2], bytes(33), NO_CODE],
        [*FIELDS[:3], b""],
        [*FIELDS[:3], [NO_CODE]],
        [[b"\x05"], *FIELDS[1:]],
    ],
    ids=[
        "no fields",
        "three fields",
        "five fields",
        "a zero byte as the nonce",
        "a wide nonce",
        "a balance with a zero",
        "a wide balance",
        "a short root",
        "a long root",
        "no code hash",
        "a list as the code hash",
        "a list as the nonce",
    ],
)
def test_other_fields_are_refused(fields: list[object]) -> None:
    with pytest.raises(FormatError):
        decode_account(rlp.encode(fields))


def test_truncations_appended_bytes_and_other_items_are_refused() -> None:
    for data in (b"", ENCODED[:-1], ENCODED + b"\x00", b"\x80", b"\xc0", rlp.encode(ENCODED)):
        with pytest.raises(FormatError):
            decode_account(data)


@given(st.binary(max_size=120), st.integers(0, len(ENCODED) - 1), st.integers(1, 255))
def test_any_bytes_are_refused_or_the_only_encoding(data: bytes, place: int, change: int) -> None:
    flipped = bytearray(ENCODED)
    flipped[place] ^= change
    for given_bytes in (data, bytes(flipped)):
        try:
            account = decode_account(given_bytes)
        except FormatError:
            continue
        assert rlp.encode([account.nonce, account.balance, account.storage_root, account.code_hash]) == given_bytes
