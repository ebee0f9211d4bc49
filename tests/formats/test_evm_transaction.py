"""Transactions of type 2. Oracle: eth-account signs the same bytes (RFC 6979 on both sides)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from coincurve import PrivateKey
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats import rlp
from layer2.formats.evm_address import address_of_public_key
from layer2.formats.evm_transaction import Eip1559Transaction, SignedTransaction, decode_signed
from layer2.formats.rlp import RlpItem

KEY = PrivateKey.from_int(0xB0B)
SENDER = address_of_public_key(KEY.public_key.format())
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
PLAIN = Eip1559Transaction(
    chain_id=60808,
    nonce=7,
    max_priority_fee_per_gas=1_000_000,
    max_fee_per_gas=3_000_000,
    gas_limit=21_000,
    to=b"\x11" * 20,
    value=10**15,
)

addresses = st.binary(min_size=20, max_size=20)
uint64 = st.integers(0, (1 << 64) - 2)
uint256 = st.integers(0, (1 << 256) - 1)


@st.composite
def transactions(draw: st.DrawFn) -> Eip1559Transaction:
    fees = sorted([draw(uint256), draw(uint256)])
    keys = st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple)
    return Eip1559Transaction(
        chain_id=draw(st.integers(1, 1 << 63)),
        nonce=draw(uint64),
        max_priority_fee_per_gas=fees[0],
        max_fee_per_gas=fees[1],
        gas_limit=draw(uint64),
        to=draw(st.none() | addresses),
        value=draw(uint256),
        data=draw(st.binary(max_size=100)),
        access_list=tuple(draw(st.lists(st.tuples(addresses, keys), max_size=3))),
    )


def sign(transaction: Eip1559Transaction) -> SignedTransaction:
    return transaction.signed(KEY.sign_recoverable(transaction.signing_hash(), hasher=None))


@given(transactions())
@settings(max_examples=60)
def test_signed_bytes_and_hash_are_those_of_the_oracle_and_go_round(transaction: Eip1559Transaction) -> None:
    signed = sign(transaction)
    expected = Account.sign_transaction(
        {
            "type": 2,
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "maxPriorityFeePerGas": transaction.max_priority_fee_per_gas,
            "maxFeePerGas": transaction.max_fee_per_gas,
            "gas": transaction.gas_limit,
            "to": transaction.to if transaction.to is not None else b"",
            "value": transaction.value,
            "data": transaction.data,
            "accessList": [
                {"address": "0x" + address.hex(), "storageKeys": ["0x" + key.hex() for key in keys]}
                for address, keys in transaction.access_list
            ],
        },
        KEY.secret,
    )
    assert signed.raw == bytes(expected.raw_transaction)
    assert signed.hash == bytes(expected.hash)
    assert signed.sender == SENDER
    assert decode_signed(signed.raw) == signed


def test_every_flipped_bit_is_refused_or_is_a_transaction_of_another_account() -> None:
    signed = sign(PLAIN)
    for bit in range(8 * len(signed.raw)):
        damaged = bytearray(signed.raw)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            other = decode_signed(bytes(damaged))
        except FormatError:
            continue
        assert other.raw == bytes(damaged)
        assert other.hash != signed.hash
        assert other.sender != signed.sender


def test_every_truncation_and_appended_byte_is_refused() -> None:
    raw = sign(replace(PLAIN, data=b"\x01" * 60)).raw
    for length in range(len(raw)):
        with pytest.raises(FormatError):
            decode_signed(raw[:length])
    for appended in (b"\x00", b"\x80", b"\xc0"):
        with pytest.raises(FormatError):
            decode_signed(raw + appended)


@given(st.binary(max_size=60))
@settings(max_examples=100)
def test_any_bytes_after_the_type_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_signed(b"\x02" + data)


def test_the_upper_s_of_the_same_signature_is_refused() -> None:
    signature = KEY.sign_recoverable(PLAIN.signing_hash(), hasher=None)
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    high = signature[:32] + s.to_bytes(32, "big") + bytes((1 - signature[64],))
    assert PLAIN.signed(signature).sender == SENDER
    with pytest.raises(FormatError, match="EIP-2"):
        PLAIN.signed(high)


def test_the_lower_half_of_s_ends_where_eip_2_says() -> None:
    r = KEY.sign_recoverable(PLAIN.signing_hash(), hasher=None)[:32]
    half = CURVE_ORDER // 2
    assert PLAIN.signed(r + half.to_bytes(32, "big") + b"\x00").sender != SENDER
    with pytest.raises(FormatError, match="EIP-2"):
        PLAIN.signed(r + (half + 1).to_bytes(32, "big") + b"\x00")


def test_signatures_out_of_range_or_of_another_form_are_refused() -> None:
    signature = KEY.sign_recoverable(PLAIN.signing_hash(), hasher=None)
    r, s, parity = signature[:32], signature[32:64], signature[64:]
    zero, order = bytes(32), CURVE_ORDER.to_bytes(32, "big")
    # No point of the curve has the abscissa 5.
    no_point = bytes(31) + b"\x05"
    for wrong in (
        b"",
        signature[:-1],
        signature + b"\x00",
        zero + s + parity,
        r + zero + parity,
        order + s + parity,
        no_point + s + parity,
        r + s + b"\x02",
        r + s + b"\x1b",
    ):
        with pytest.raises(FormatError):
            PLAIN.signed(wrong)


def parts_of(signed: SignedTransaction) -> list[RlpItem]:
    parts = rlp.decode(signed.raw[1:])
    assert isinstance(parts, list)
    return parts


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, b""),
        (0, b"\x00\x01"),
        (1, b"\xff" * 8),
        (1, b"\x01" * 9),
        (2, b"\x7f" * 32),
        (3, b"\x01" * 33),
        (4, b"\x01" * 9),
        (5, b"\x11" * 19),
        (5, [b"\x11" * 20]),
        (6, b"\x00"),
        (6, [b""]),
        (7, [b"\x01"]),
        (8, b""),
        (8, [b"\x11" * 20]),
        (8, [[b"\x11" * 20]]),
        (8, [[b"\x11" * 19, []]]),
        (8, [[b"\x11" * 20, [b"\x01" * 31]]]),
        (8, [[b"\x11" * 20, [[b"\x01" * 32]]]]),
        (8, [[b"\x11" * 20, [], []]]),
        (9, b"\x02"),
        (9, b"\x00"),
        (9, b"\x01\x01"),
        (10, b""),
        (11, b""),
        (10, b"\x01" * 33),
    ],
)
def test_a_part_of_another_form_is_refused(place: int, value: RlpItem) -> None:
    parts = parts_of(sign(PLAIN))
    parts[place] = value
    with pytest.raises(FormatError):
        decode_signed(b"\x02" + rlp.encode(parts))


def test_a_list_with_more_or_fewer_parts_is_refused() -> None:
    parts = parts_of(sign(PLAIN))
    for wrong in (parts[:-1], [*parts, b""], parts[:9]):
        with pytest.raises(FormatError, match="12 parts"):
            decode_signed(b"\x02" + rlp.encode(wrong))


@pytest.mark.parametrize("raw", [b"\x01\xc0", b"\x03\xc0", b"\x04\xc0", b"\x7e\xc0", b"\xbf\xc0"])
def test_other_types_are_refused_by_name(raw: bytes) -> None:
    with pytest.raises(FormatError, match=r"transaction type \d+ is not supported"):
        decode_signed(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 0},
        {"chain_id": 1 << 256},
        {"nonce": -1},
        {"nonce": (1 << 64) - 1},
        {"max_priority_fee_per_gas": 3_000_001},
        {"max_fee_per_gas": 1 << 256},
        {"gas_limit": 1 << 64},
        {"value": -1},
        {"value": 1 << 256},
        {"to": b""},
        {"to": b"\x11" * 21},
        {"access_list": ((b"\x11" * 19, ()),)},
        {"access_list": ((b"\x11" * 20, (b"\x01",)),)},
    ],
)
def test_values_that_no_transaction_has_are_refused(change: dict[str, int | bytes]) -> None:
    with pytest.raises(FormatError):
        replace(PLAIN, **change)  # type: ignore[arg-type]  # each case names a field and a value of its type


def test_the_raw_bytes_are_not_in_the_representation() -> None:
    signed = sign(PLAIN)
    assert repr(signed.raw) not in repr(signed)
