"""Receipts. Oracles: py-evm's receipts and bloom filter; deposits have no oracle, so their layout is written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import rlp as rlp_oracle  # type: ignore[import-untyped]  # a test oracle without types
from eth.rlp.logs import Log
from eth.rlp.receipts import Receipt
from eth.vm.forks.prague.receipts import PragueTypedReceipt
from eth_bloom.bloom import BloomFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats import rlp
from layer2.formats.evm_receipt import (
    DEPOSIT_TYPE,
    EvmLog,
    EvmReceipt,
    bloom_of,
    decode_receipt,
    receipt_from_rpc,
)
from layer2.formats.rlp import RlpItem

uint64 = st.integers(0, (1 << 64) - 1)
evm_logs = st.builds(
    EvmLog,
    address=st.binary(min_size=20, max_size=20),
    topics=st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    data=st.binary(max_size=70),
)


@st.composite
def receipts(draw: st.DrawFn) -> EvmReceipt:
    tx_type = draw(st.sampled_from([0, 1, 2, 4, DEPOSIT_TYPE]))
    succeeded = draw(st.booleans())
    logs = tuple(draw(st.lists(evm_logs, max_size=3))) if succeeded else ()
    since_canyon = tx_type == DEPOSIT_TYPE and draw(st.booleans())
    return EvmReceipt(
        tx_type=tx_type,
        succeeded=succeeded,
        cumulative_gas_used=draw(uint64),
        logs_bloom=bloom_of(logs),
        logs=logs,
        deposit_nonce=draw(uint64) if since_canyon else None,
        deposit_receipt_version=1 if since_canyon else None,
    )


CLAIM = EvmLog(address=b"\x11" * 20, topics=(b"\x22" * 32, b"\x33" * 32), data=b"\x44" * 64)
RECEIPT = EvmReceipt(2, True, 46_109, bloom_of([CLAIM]), (CLAIM,))
DEPOSIT = EvmReceipt(DEPOSIT_TYPE, True, 46_109, bloom_of([]), (), 20_000_001, 1)
EXAMPLES = [pytest.param(RECEIPT, id="type 2"), pytest.param(DEPOSIT, id="deposit")]


def rpc_of(receipt: EvmReceipt) -> dict[str, object]:
    """The receipt in op-geth's answer, among fields to which no root commits."""
    written: dict[str, object] = {
        "type": hex(receipt.tx_type),
        "status": "0x1" if receipt.succeeded else "0x0",
        "cumulativeGasUsed": hex(receipt.cumulative_gas_used),
        "logsBloom": "0x" + receipt.logs_bloom.hex(),
        "logs": [
            {
                "address": "0x" + log.address.hex(),
                "topics": ["0x" + topic.hex() for topic in log.topics],
                "data": "0x" + log.data.hex(),
                "logIndex": "0x0",
                "removed": False,
            }
            for log in receipt.logs
        ],
        "transactionHash": "0x" + "55" * 32,
        "gasUsed": "0x5208",
        "l1Fee": "0x1",
    }
    if receipt.deposit_nonce is not None:
        written["depositNonce"] = hex(receipt.deposit_nonce)
    if receipt.deposit_receipt_version is not None:
        written["depositReceiptVersion"] = hex(receipt.deposit_receipt_version)
    return written


@given(receipts())
@settings(max_examples=100)
def test_receipts_go_round_as_bytes_and_as_answers(receipt: EvmReceipt) -> None:
    assert decode_receipt(receipt.encode()) == receipt
    assert receipt_from_rpc(rpc_of(receipt)) == receipt


@given(receipts())
@settings(max_examples=80)
def test_receipts_are_encoded_as_the_oracle_encodes_them(receipt: EvmReceipt) -> None:
    logs = [
        Log(log.address, tuple([int.from_bytes(topic, "big") for topic in log.topics]), log.data)
        for log in receipt.logs
    ]
    oracle = Receipt(b"\x01" if receipt.succeeded else b"", receipt.cumulative_gas_used, logs)
    if receipt.tx_type == 0:
        assert receipt.encode() == oracle.encode()
    elif receipt.tx_type != DEPOSIT_TYPE:
        assert receipt.encode() == PragueTypedReceipt(receipt.tx_type, oracle).encode()
    else:
        parts = rlp_oracle.decode(oracle.encode())
        if receipt.deposit_nonce is not None:
            parts = [*parts, receipt.deposit_nonce, receipt.deposit_receipt_version]
        assert receipt.encode() == b"\x7e" + rlp_oracle.encode(parts)


@given(st.lists(evm_logs, max_size=5))
@settings(max_examples=50)
def test_blooms_agree_with_the_oracle(logs: list[EvmLog]) -> None:
    expected = BloomFilter.from_iterable(entry for log in logs for entry in (log.address, *log.topics))
    assert bloom_of(logs) == int(expected).to_bytes(256, "big")


@pytest.mark.parametrize("receipt", EXAMPLES)
def test_every_truncation_and_appended_byte_is_refused(receipt: EvmReceipt) -> None:
    encoded = receipt.encode()
    for length in range(len(encoded)):
        with pytest.raises(FormatError):
            decode_receipt(encoded[:length])
    for appended in (b"\x00", b"\x80", b"\xc0"):
        with pytest.raises(FormatError):
            decode_receipt(encoded + appended)


@pytest.mark.parametrize("receipt", EXAMPLES)
def test_every_flipped_bit_is_refused_or_is_another_receipt(receipt: EvmReceipt) -> None:
    encoded = receipt.encode()
    for bit in range(8 * len(encoded)):
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            other = decode_receipt(bytes(flipped))
        except FormatError:
            continue
        assert other != receipt
        assert other.encode() == bytes(flipped)


@given(st.sampled_from([b"", b"\x01", b"\x02", b"\x7e"]), st.binary(max_size=60))
@settings(max_examples=60)
def test_bytes_that_are_not_a_receipt_are_refused(envelope: bytes, data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_receipt(envelope + data)


@pytest.mark.parametrize("tx_type", [0, 3, 5, 0x7D, 0x7F, 0x80, 0xBF])
def test_an_unknown_type_and_a_type_before_a_legacy_receipt_are_refused(tx_type: int) -> None:
    with pytest.raises(FormatError, match="type"):
        decode_receipt(bytes((tx_type,)) + RECEIPT.encode()[1:])


LOG: list[RlpItem] = [CLAIM.address, [*CLAIM.topics], CLAIM.data]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(0, b"\x02", id="status 2"),
        pytest.param(0, b"\x00", id="status with a leading zero"),
        pytest.param(0, b"\x01" * 32, id="state root of the time before Byzantium"),
        pytest.param(0, b"", id="reverted with logs"),
        pytest.param(0, [], id="list as status"),
        pytest.param(1, b"\x01" * 9, id="gas too wide"),
        pytest.param(1, b"\x00\x01", id="gas with a leading zero"),
        pytest.param(2, bytes(256), id="bloom without the logs"),
        pytest.param(2, b"\xff" * 256, id="bloom with more than the logs"),
        pytest.param(2, b"", id="no bloom"),
        pytest.param(2, [], id="list as bloom"),
        pytest.param(3, b"", id="bytes as logs"),
        pytest.param(3, [], id="logs missing"),
        pytest.param(3, [LOG[:2]], id="log without data"),
        pytest.param(3, [[*LOG, b""]], id="log with more parts"),
        pytest.param(3, [[b"\x11" * 19, *LOG[1:]]], id="short address"),
        pytest.param(3, [[LOG[0], b"", LOG[2]]], id="bytes as topics"),
        pytest.param(3, [[LOG[0], [b"\x22" * 31], LOG[2]]], id="short topic"),
        pytest.param(3, [[LOG[0], [[]], LOG[2]]], id="list as topic"),
        pytest.param(3, [[LOG[0], [b"\x22" * 32] * 5, LOG[2]]], id="five topics"),
        pytest.param(3, [[*LOG[:2], []]], id="list as data"),
    ],
)
def test_a_part_of_another_form_is_refused(place: int, value: RlpItem) -> None:
    parts = rlp.decode(RECEIPT.encode()[1:])
    assert isinstance(parts, list)
    parts[place] = value
    with pytest.raises(FormatError):
        decode_receipt(b"\x02" + rlp.encode(parts))


@pytest.mark.parametrize("count", [0, 3, 5, 7])
def test_a_number_of_parts_that_no_receipt_has_is_refused(count: int) -> None:
    parts = rlp.decode(DEPOSIT.encode()[1:])
    assert isinstance(parts, list)
    with pytest.raises(FormatError, match="malformed list"):
        decode_receipt(b"\x7e" + rlp.encode([*parts, b""][:count]))


def test_only_deposits_have_a_deposit_nonce_and_always_with_its_version() -> None:
    with pytest.raises(FormatError, match="without a deposit"):
        decode_receipt(b"\x02" + DEPOSIT.encode()[1:])
    with pytest.raises(FormatError, match="both"):
        replace(DEPOSIT, deposit_receipt_version=None)
    with pytest.raises(FormatError, match="64 bits"):
        replace(DEPOSIT, deposit_nonce=1 << 64)
    with pytest.raises(FormatError, match="64 bits"):
        replace(RECEIPT, cumulative_gas_used=-1)


def test_a_receipt_of_a_blob_transaction_cannot_be_made() -> None:
    with pytest.raises(FormatError, match="type 3 is not supported"):
        replace(RECEIPT, tx_type=3)


@pytest.mark.parametrize("key", ["type", "status", "cumulativeGasUsed", "logsBloom", "logs"])
def test_an_answer_without_a_field_or_with_a_malformed_one_is_refused(key: str) -> None:
    answer = rpc_of(RECEIPT)
    malformed: list[object] = [None, "", "0x", 1, True, {}, "0x0" + "1" * 600, ["0x"]]
    for wrong in malformed:
        with pytest.raises(FormatError):
            receipt_from_rpc({**answer, key: wrong})


@pytest.mark.parametrize("key", ["depositNonce", "depositReceiptVersion"])
def test_an_answer_with_half_of_a_deposit_is_refused(key: str) -> None:
    answer = rpc_of(DEPOSIT)
    for wrong in (None, "0x", 1):
        with pytest.raises(FormatError):
            receipt_from_rpc({**answer, key: wrong})


@pytest.mark.parametrize(
    "change", [{"address": "0x11"}, {"topics": "0x"}, {"topics": ["0x22"]}, {"topics": [1]}, {"data": None}]
)
def test_an_answer_with_a_malformed_log_is_refused(change: dict[str, object]) -> None:
    answer = rpc_of(RECEIPT)
    assert isinstance(answer["logs"], list)
    with pytest.raises(FormatError):
        receipt_from_rpc({**answer, "logs": [{**answer["logs"][0], **change}]})


def test_an_answer_whose_logs_differ_from_its_bloom_is_refused() -> None:
    answer = rpc_of(RECEIPT)
    with pytest.raises(FormatError, match="bloom"):
        receipt_from_rpc({**answer, "logs": []})
