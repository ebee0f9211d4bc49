"""Legacy transactions. Vector: the example of EIP-155. Oracle: eth-account signs the same bytes."""

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
from layer2.formats.evm_transaction import LegacyTransaction, SignedTransaction, decode_signed
from layer2.formats.rlp import RlpItem

KEY = PrivateKey(b"\x46" * 32)
SENDER = address_of_public_key(KEY.public_key.format())
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
# Source: the example of EIP-155.
EXAMPLE = LegacyTransaction(chain_id=1, nonce=9, gas_price=20 * 10**9, gas_limit=21_000, to=b"\x35" * 20, value=10**18)
EXAMPLE_HASH = "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
EXAMPLE_V = 37
EXAMPLE_R = 18515461264373351373200002665853028612451056578545711640558177340181847433846
EXAMPLE_S = 46948507304638947509940763649030358759909902576025900602547168820602576006531

uint256 = st.integers(0, (1 << 256) - 1)
transactions = st.builds(
    LegacyTransaction,
    chain_id=st.sampled_from([1, 30, 31, 33, 60808]),
    nonce=st.integers(0, (1 << 64) - 2),
    gas_price=uint256,
    gas_limit=st.integers(0, (1 << 64) - 1),
    to=st.none() | st.binary(min_size=20, max_size=20),
    value=uint256,
    data=st.binary(max_size=100),
)


def sign(transaction: LegacyTransaction) -> SignedTransaction:
    return transaction.signed(KEY.sign_recoverable(transaction.signing_hash(), hasher=None))


def parts_of(signed: SignedTransaction) -> list[RlpItem]:
    parts = rlp.decode(signed.raw)
    assert isinstance(parts, list)
    return parts


def test_the_example_of_eip_155_is_signed_and_read() -> None:
    assert EXAMPLE.signing_hash().hex() == EXAMPLE_HASH
    signed = sign(EXAMPLE)
    assert [rlp.decode_int(part) for part in parts_of(signed)[6:]] == [EXAMPLE_V, EXAMPLE_R, EXAMPLE_S]
    assert decode_signed(signed.raw) == signed
    assert signed.sender == SENDER


@given(transactions)
@settings(max_examples=60)
def test_signed_bytes_and_hash_are_those_of_the_oracle_and_go_round(transaction: LegacyTransaction) -> None:
    signed = sign(transaction)
    expected = Account.sign_transaction(
        {
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "gasPrice": transaction.gas_price,
            "gas": transaction.gas_limit,
            "to": transaction.to if transaction.to is not None else b"",
            "value": transaction.value,
            "data": transaction.data,
        },
        KEY.secret,
    )
    assert signed.raw == bytes(expected.raw_transaction)
    assert signed.hash == bytes(expected.hash)
    assert decode_signed(signed.raw) == signed


def test_every_flipped_bit_is_refused_or_names_another_sender_or_chain() -> None:
    signed = sign(replace(EXAMPLE, chain_id=30, data=b"\x01\x02"))
    for bit in range(8 * len(signed.raw)):
        flipped = bytearray(signed.raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            other = decode_signed(bytes(flipped))
        except FormatError:
            continue
        assert other.raw == bytes(flipped)
        assert other.sender != SENDER


def test_every_truncation_and_appended_byte_is_refused() -> None:
    raw = sign(EXAMPLE).raw
    for wrong in [*[raw[:length] for length in range(len(raw))], raw + b"\x80", b"\x02" + raw]:
        with pytest.raises(FormatError):
            decode_signed(wrong)


@pytest.mark.parametrize("v", [0, 1, 27, 28, 29, 34, 35, 36])
def test_a_signature_without_a_chain_id_is_refused(v: int) -> None:
    parts = parts_of(sign(EXAMPLE))
    parts[6] = rlp.encode_int(v)
    with pytest.raises(FormatError, match="without a chain id"):
        decode_signed(rlp.encode(parts))


def test_the_upper_half_of_s_is_refused() -> None:
    parts = parts_of(sign(EXAMPLE))
    parts[6] = rlp.encode_int(EXAMPLE_V + 1)
    parts[8] = rlp.encode_int(CURVE_ORDER - EXAMPLE_S)
    with pytest.raises(FormatError, match="EIP-2"):
        decode_signed(rlp.encode(parts))


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, b"\x00"), (1, b"\x00\x01"), (2, bytes(9)), (3, bytes(19)), (4, bytes(33)), (7, b""), (8, b""), (5, [])],
)
def test_parts_of_another_form_are_refused(place: int, value: RlpItem) -> None:
    parts = parts_of(sign(EXAMPLE))
    parts[place] = value
    with pytest.raises(FormatError):
        decode_signed(rlp.encode(parts))


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 0},
        {"chain_id": 1 << 255},
        {"nonce": (1 << 64) - 1},
        {"gas_price": -1},
        {"gas_price": 1 << 256},
        {"gas_limit": 1 << 64},
        {"value": 1 << 256},
        {"to": b""},
    ],
)
def test_values_that_no_transaction_has_are_refused(change: dict[str, int | bytes]) -> None:
    with pytest.raises(FormatError):
        replace(EXAMPLE, **change)  # type: ignore[arg-type]  # each case names a field and a value of its type


def test_the_raw_bytes_are_not_in_the_representation_and_other_signatures_are_refused() -> None:
    signed = sign(EXAMPLE)
    assert repr(signed.raw) not in repr(signed)
    for wrong in (b"", bytes(65), bytes(64) + b"\x02"):
        with pytest.raises(FormatError):
            EXAMPLE.signed(wrong)
