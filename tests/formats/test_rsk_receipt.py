"""Rootstock's receipts. Vectors: receipts of the mainnet and the testnet that RSK's powHSM signs for."""

from __future__ import annotations

import pytest

from formats.rsk_vectors import vectors
from layer2.errors import FormatError
from layer2.formats import rlp
from layer2.formats.evm_receipt import EvmReceipt, bloom_of
from layer2.formats.rlp import RlpItem
from layer2.formats.rsk_receipt import decode_rsk_receipt, encode_rsk_receipt

*GOLDEN, MADE_UP = [bytes.fromhex(str(vector["receipt"])) for vector in vectors()["receipt_proofs"]]
# The last one was made for a test of the powHSM, which does not check the bloom filter.


@pytest.mark.parametrize("data", GOLDEN)
def test_the_golden_receipts_go_round(data: bytes) -> None:
    receipt = decode_rsk_receipt(data)
    assert receipt.succeeded
    assert receipt.logs
    items = rlp.decode(data)
    assert isinstance(items, list)
    assert encode_rsk_receipt(receipt, rlp.decode_int(items[4])) == data


@pytest.mark.parametrize("data", GOLDEN)
def test_every_truncation_and_appended_byte_is_refused(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decode_rsk_receipt(data[:length])
    with pytest.raises(FormatError):
        decode_rsk_receipt(data + b"\x80")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, b""),
        (0, bytes(32)),
        (5, b""),
        (5, b"\x02"),
        (4, b"\xff" * 8),
        (4, b"\x00"),
        (4, b"\x01" * 9),
        (2, bytes(256)),
    ],
)
def test_fields_that_contradict_each_other_are_refused(place: int, value: bytes) -> None:
    items = rlp.decode(GOLDEN[0])
    assert isinstance(items, list)
    changed: list[RlpItem] = [*items[:place], value, *items[place + 1 :]]
    with pytest.raises(FormatError):
        decode_rsk_receipt(rlp.encode(changed))


def test_a_bloom_that_is_not_the_one_of_the_logs_is_refused() -> None:
    with pytest.raises(FormatError, match="bloom"):
        decode_rsk_receipt(MADE_UP)


def test_a_failed_transaction_has_an_empty_status_twice() -> None:
    failed = EvmReceipt(0, succeeded=False, cumulative_gas_used=21_000, logs_bloom=bloom_of(()), logs=())
    data = encode_rsk_receipt(failed, 21_000)
    assert rlp.decode(data) == [b"", rlp.encode_int(21_000), bytes(256), [], rlp.encode_int(21_000), b""]
    assert decode_rsk_receipt(data) == failed


def test_typed_receipts_and_impossible_gas_are_not_written() -> None:
    typed = EvmReceipt(2, succeeded=True, cumulative_gas_used=21_000, logs_bloom=bloom_of(()), logs=())
    with pytest.raises(FormatError):
        encode_rsk_receipt(typed, 21_000)
    legacy = EvmReceipt(0, succeeded=True, cumulative_gas_used=21_000, logs_bloom=bloom_of(()), logs=())
    for gas in (-1, 21_001):
        with pytest.raises(FormatError):
            encode_rsk_receipt(legacy, gas)
