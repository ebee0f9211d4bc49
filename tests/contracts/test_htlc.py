"""Calls, ids, answers and events of the HTLC as bytes, against eth-abi as an independent oracle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import resources

import pytest
from eth_abi.abi import encode
from eth_utils.abi import event_abi_to_log_topic, function_abi_to_4byte_selector
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.contracts.htlc import (
    HTLC_ADDRESS,
    NATIVE_COIN,
    ClaimedEvent,
    HtlcLock,
    LockedEvent,
    LockStatus,
    RefundedEvent,
    claim_call,
    decode_probe_sha256,
    decode_spent,
    decode_status,
    lock_call,
    parse_event,
    probe_sha256_call,
    refund_call,
    spent_call,
    status_call,
)
from layer2.errors import FormatError
from layer2.model.transactions import Preimage

PREIMAGE = Preimage(b"\x01" * 32)
LOCK = HtlcLock(
    chain_id=60808,
    contract=HTLC_ADDRESS,
    payment_hash=PREIMAGE.payment_hash,
    token=b"\x02" * 20,
    amount=100_000,
    payee=b"\x03" * 20,
    payer=b"\x04" * 20,
    deadline=1_800_000_000,
    terms_hash=b"\x05" * 32,
)
WORD = st.binary(min_size=32, max_size=32)
ADDRESS = st.binary(min_size=20, max_size=20)
POSITIVE = st.integers(1, 2**256 - 1)

_ABI = json.loads((resources.files("layer2.contracts") / "htlc.json").read_text())["abi"]
FUNCTIONS = {entry["name"]: entry for entry in _ABI if entry["type"] == "function"}
EVENTS = {entry["name"]: entry for entry in _ABI if entry["type"] == "event"}


def _word(value: int | bytes) -> bytes:
    """The ABI encoding of a number, an address or 32 bytes."""
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\x00")


LOCKED_TOPICS = [event_abi_to_log_topic(EVENTS["Locked"]), LOCK.lock_id, LOCK.payment_hash, _word(LOCK.payer)]
LOCKED_DATA = _word(LOCK.payee) + _word(LOCK.token) + _word(LOCK.amount) + _word(LOCK.deadline) + LOCK.terms_hash
CLAIMED_TOPICS = [event_abi_to_log_topic(EVENTS["Claimed"]), LOCK.lock_id, LOCK.payment_hash]
REFUNDED_TOPICS = [event_abi_to_log_topic(EVENTS["Refunded"]), LOCK.lock_id, LOCK.payment_hash]

LOGS = {
    "Locked": (LOCKED_TOPICS, LOCKED_DATA),
    "Claimed": (CLAIMED_TOPICS, PREIMAGE.secret),
    "Refunded": (REFUNDED_TOPICS, b""),
}


def _call(name: str, *values: object) -> bytes:
    """The call, encoded by eth-abi with the compiler's ABI."""
    function = FUNCTIONS[name]
    return function_abi_to_4byte_selector(function) + encode(
        [parameter["type"] for parameter in function["inputs"]], values
    )


@settings(max_examples=50, derandomize=True, database=None)
@given(POSITIVE, ADDRESS, WORD, ADDRESS, POSITIVE, ADDRESS.filter(any), ADDRESS, POSITIVE, WORD)
def test_the_lock_id_is_the_hash_of_all_terms_in_abi_encoding(
    chain_id: int,
    contract: bytes,
    payment_hash: bytes,
    token: bytes,
    amount: int,
    payee: bytes,
    payer: bytes,
    deadline: int,
    terms_hash: bytes,
) -> None:
    terms = (chain_id, contract, payment_hash, token, amount, payee, payer, deadline, terms_hash)
    types = ["uint256", "address", "bytes32", "address", "uint256", "address", "address", "uint256", "bytes32"]
    assert HtlcLock(*terms).lock_id == keccak(encode(types, terms))


@pytest.mark.parametrize(
    "other",
    [
        replace(LOCK, chain_id=1),
        replace(LOCK, contract=b"\x99" * 20),
        replace(LOCK, payment_hash=b"\x99" * 32),
        replace(LOCK, token=NATIVE_COIN),
        replace(LOCK, amount=LOCK.amount - 1),
        replace(LOCK, payee=b"\x99" * 20),
        replace(LOCK, payer=b"\x99" * 20),
        replace(LOCK, payee=LOCK.payer, payer=LOCK.payee),
        replace(LOCK, deadline=LOCK.deadline + 1),
        replace(LOCK, terms_hash=b"\x99" * 32),
    ],
)
def test_every_term_changes_the_lock_id(other: HtlcLock) -> None:
    assert other.lock_id != LOCK.lock_id


@pytest.mark.parametrize(
    "wrong",
    [
        {"contract": b"\x01" * 19},
        {"payment_hash": b"\x01" * 31},
        {"token": b""},
        {"payee": b"\x01" * 32},
        {"payee": bytes(20)},
        {"payer": b"\x01" * 21},
        {"terms_hash": b""},
        {"chain_id": 0},
        {"amount": 0},
        {"amount": -1},
        {"amount": True},
        {"amount": 2**256},
        {"deadline": 0},
        {"deadline": 2**256},
    ],
    ids=lambda wrong: ",".join(f"{name}={value!r:.20}" for name, value in wrong.items()),
)
def test_terms_that_the_contract_never_accepts_make_no_lock(wrong: dict[str, int | bytes]) -> None:
    with pytest.raises(FormatError):
        replace(LOCK, **wrong)  # type: ignore[arg-type]  # the names decide the types


def test_calls_are_encoded_as_the_compilers_abi_says() -> None:
    lock = LOCK
    assert lock_call(lock) == _call(
        "lock", lock.payment_hash, lock.token, lock.amount, lock.payee, lock.deadline, lock.terms_hash
    )
    terms = (lock.token, lock.amount, lock.payee, lock.payer, lock.deadline, lock.terms_hash)
    assert claim_call(lock, PREIMAGE) == _call("claim", PREIMAGE.secret, *terms)
    assert refund_call(lock) == _call("refund", lock.payment_hash, *terms)
    assert status_call(lock.lock_id) == _call("status", lock.lock_id)
    assert spent_call(lock.payment_hash) == _call("spent", lock.payment_hash)
    assert probe_sha256_call(b"\x07" * 32) == _call("probe_sha256", b"\x07" * 32)


def test_the_contract_has_no_other_functions_and_events() -> None:
    assert set(FUNCTIONS) == {"lock", "claim", "refund", "status", "spent", "probe_sha256"}
    assert [name for name, entry in FUNCTIONS.items() if entry["stateMutability"] == "payable"] == ["lock"]
    assert {
        name: [(field["name"], field["type"], field["indexed"]) for field in entry["inputs"]]
        for name, entry in EVENTS.items()
    } == {
        "Locked": [
            ("lock_id", "bytes32", True),
            ("payment_hash", "bytes32", True),
            ("payer", "address", True),
            ("payee", "address", False),
            ("token", "address", False),
            ("amount", "uint256", False),
            ("deadline", "uint256", False),
            ("terms_hash", "bytes32", False),
        ],
        "Claimed": [
            ("lock_id", "bytes32", True),
            ("payment_hash", "bytes32", True),
            ("preimage", "bytes32", False),
        ],
        "Refunded": [("lock_id", "bytes32", True), ("payment_hash", "bytes32", True)],
    }


def test_a_claim_with_a_preimage_of_another_hash_is_not_even_written() -> None:
    with pytest.raises(FormatError, match="preimage"):
        claim_call(LOCK, Preimage(b"\x02" * 32))


@pytest.mark.parametrize("status", LockStatus)
def test_a_status_is_read(status: LockStatus) -> None:
    assert decode_status(_word(status.value)) is status


@pytest.mark.parametrize("answer", [b"", b"\x01", _word(4), _word(1) + b"\x00", b"\xff" * 32])
def test_an_answer_that_is_not_a_status_is_refused(answer: bytes) -> None:
    with pytest.raises(FormatError):
        decode_status(answer)


def test_spent_is_read_strictly() -> None:
    assert decode_spent(_word(1)) is True
    assert decode_spent(_word(0)) is False
    for answer in (b"", _word(2), _word(1) + _word(1)):
        with pytest.raises(FormatError):
            decode_spent(answer)


@pytest.mark.parametrize("answer", [b"", b"\x01" * 31, b"\x01" * 33])
def test_a_probe_answer_of_another_length_is_refused(answer: bytes) -> None:
    with pytest.raises(FormatError):
        decode_probe_sha256(answer)


def test_a_locked_event_is_read_and_rebuilds_its_lock() -> None:
    event = parse_event(HTLC_ADDRESS, LOCKED_TOPICS, LOCKED_DATA)
    assert isinstance(event, LockedEvent)
    assert event.lock(LOCK.chain_id) == LOCK


def test_a_locked_event_with_the_lock_id_of_other_terms_rebuilds_nothing() -> None:
    event = parse_event(HTLC_ADDRESS, LOCKED_TOPICS, LOCKED_DATA)
    assert isinstance(event, LockedEvent)
    with pytest.raises(FormatError, match="lock_id"):
        event.lock(LOCK.chain_id + 1)
    with pytest.raises(FormatError, match="lock_id"):
        replace(event, amount=event.amount + 1).lock(LOCK.chain_id)


def test_claimed_and_refunded_events_are_read() -> None:
    assert parse_event(HTLC_ADDRESS, CLAIMED_TOPICS, PREIMAGE.secret) == ClaimedEvent(
        HTLC_ADDRESS, LOCK.lock_id, LOCK.payment_hash, PREIMAGE
    )
    assert parse_event(HTLC_ADDRESS, REFUNDED_TOPICS, b"") == RefundedEvent(
        HTLC_ADDRESS, LOCK.lock_id, LOCK.payment_hash
    )


@pytest.mark.parametrize("name", LOGS)
def test_the_same_event_of_another_contract_does_not_count(name: str) -> None:
    topics, data = LOGS[name]
    elsewhere = b"\x66" * 20
    assert parse_event(elsewhere, topics, data) is None
    assert parse_event(elsewhere, topics, data, contract=elsewhere) is not None
    assert parse_event(HTLC_ADDRESS, topics, data, contract=elsewhere) is None


def test_other_events_of_the_contract_are_not_ours() -> None:
    assert parse_event(HTLC_ADDRESS, [], b"") is None
    assert parse_event(HTLC_ADDRESS, [b"\x01" * 32, LOCK.lock_id], b"") is None


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda topics, data: (topics[:-1], data),
        lambda topics, data: ([*topics, bytes(32)], data),
        lambda topics, data: ([*topics[:-1], topics[-1][1:]], data),
        lambda topics, data: (topics, data + b"\x00"),
        lambda topics, data: (topics, data + bytes(32)),
        lambda topics, data: (topics, data[:-1] if data else b"\x00"),
        lambda topics, data: (topics, data[32:] if data else bytes(32)),
    ],
    ids=["topic gone", "topic more", "topic short", "byte more", "word more", "byte gone", "word gone"],
)
def test_an_event_of_another_shape_is_refused(
    name: str, damage: Callable[[list[bytes], bytes], tuple[list[bytes], bytes]]
) -> None:
    topics, data = damage(*LOGS[name])
    with pytest.raises(FormatError):
        parse_event(HTLC_ADDRESS, topics, data)


def test_addresses_with_bits_above_their_20_bytes_are_refused() -> None:
    dirty = b"\x01" + LOCKED_TOPICS[3][1:]
    with pytest.raises(FormatError):
        parse_event(HTLC_ADDRESS, [*LOCKED_TOPICS[:3], dirty], LOCKED_DATA)
    for word in (0, 1):
        data = bytearray(LOCKED_DATA)
        data[32 * word] = 1
        with pytest.raises(FormatError):
            parse_event(HTLC_ADDRESS, LOCKED_TOPICS, bytes(data))


@settings(max_examples=100, derandomize=True, database=None)
@given(st.integers(0, 32 * 8 * 8 - 1))
def test_no_flipped_bit_of_a_locked_event_rebuilds_the_lock(bit: int) -> None:
    whole = bytearray(b"".join(LOCKED_TOPICS[1:]) + LOCKED_DATA)
    whole[bit // 8] ^= 1 << bit % 8
    topics = [LOCKED_TOPICS[0], *(bytes(whole[start : start + 32]) for start in (0, 32, 64))]
    with pytest.raises(FormatError):
        _rebuild(topics, bytes(whole[96:]))


def _rebuild(topics: list[bytes], data: bytes) -> HtlcLock:
    event = parse_event(HTLC_ADDRESS, topics, data)
    assert isinstance(event, LockedEvent)
    return event.lock(LOCK.chain_id)


def test_a_claimed_event_with_a_preimage_of_another_hash_is_refused() -> None:
    with pytest.raises(FormatError, match="preimage"):
        parse_event(HTLC_ADDRESS, CLAIMED_TOPICS, b"\x02" * 32)
