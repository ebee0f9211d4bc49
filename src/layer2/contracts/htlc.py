"""The hash time-locked contract: its address, calls, answers and events.

A lock is identified by its ``lock_id``, which commits to all terms, to the chain and to the contract. The contract
stores no terms, so every call repeats them. This module encodes and decodes bytes and does not access nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from layer2.contracts.artefact import load_artefact
from layer2.contracts.factory import deployed_address
from layer2.errors.base import FormatError
from layer2.formats.evm_abi import (
    address_of_word,
    bool_of_word,
    encode_call,
    encode_words,
    event_topic,
    split_words,
    uint256_of_word,
)
from layer2.formats.keccak import keccak256
from layer2.model.transactions import Preimage

__all__ = [
    "CLAIMED",
    "CLAIM_GAS",
    "HTLC_ADDRESS",
    "HTLC_INIT_CODE_HASH",
    "HTLC_SALT",
    "LOCKED",
    "LOCK_GAS_ERC20",
    "LOCK_GAS_NATIVE",
    "NATIVE_COIN",
    "REFUNDED",
    "REFUND_GAS",
    "ClaimedEvent",
    "HtlcEvent",
    "HtlcLock",
    "LockStatus",
    "LockedEvent",
    "RefundedEvent",
    "claim_call",
    "decode_probe_sha256",
    "decode_spent",
    "decode_status",
    "htlc_address",
    "htlc_init_code",
    "lock_call",
    "parse_event",
    "probe_sha256_call",
    "refund_call",
    "spent_call",
    "status_call",
    "status_slot",
]

HTLC_SALT = bytes(32)
HTLC_INIT_CODE_HASH = bytes.fromhex("4d0e37722d249745bb3fae8bfc7588efaa96f5e5d26fdac312edcce0a328c4df")
HTLC_ADDRESS = bytes.fromhex("c59f2adb373bd4ce8e6a872fb39c997ffdaab552")
"""The contract's address on every chain on which the deterministic factory deployed it, 20 bytes. It commits to the
code."""

NATIVE_COIN = bytes(20)
"""The ``token`` of a lock of the native coin."""

# Gas limits are constants, because an estimate of a claim would show the preimage to the node. Unused gas costs
# nothing. The figures are measured with a plain ERC-20 under Prague's rules, and tested in tests/contracts/test_gas.py.
LOCK_GAS_ERC20 = 300_000
"""Measured: 75,400; 112,400 for the first lock in the contract. The rest is for tokens behind proxies."""
LOCK_GAS_NATIVE = 200_000
"""Measured: 53,700; 73,600 for the first lock in the contract. Rootstock has other prices of storage, not measured."""
CLAIM_GAS = 250_000
"""Measured: 72,200; 94,200 if the payee's account or balance is new. The payee is an account without code."""
REFUND_GAS = 250_000
"""Measured: 49,600; 66,700 if the payer has no other tokens. The payer is an account without code."""

_LOCK = "lock(bytes32,address,uint256,address,uint256,bytes32)"
_CLAIM = "claim(bytes32,address,uint256,address,address,uint256,bytes32)"
_REFUND = "refund(bytes32,address,uint256,address,address,uint256,bytes32)"

_LOCK_SIZES = {"contract": 20, "payment_hash": 32, "token": 20, "payee": 20, "payer": 20, "terms_hash": 32}
"""Bytes of each field of a lock that has bytes."""
_STATUS_MAPPING = (1).to_bytes(32, "big")
"""The slot of the mapping ``status`` in the compiler's layout; slot 0 is Vyper's flag against reentrancy."""

# The topics of the contract's events.
LOCKED = event_topic("Locked(bytes32,bytes32,address,address,address,uint256,uint256,bytes32)")
CLAIMED = event_topic("Claimed(bytes32,bytes32,bytes32)")
REFUNDED = event_topic("Refunded(bytes32,bytes32)")


def htlc_init_code() -> bytes:
    """The creation code. Deploy it with ``factory.deployment_call(HTLC_SALT, ...)``."""
    return load_artefact("htlc").init_code


def htlc_address() -> bytes:
    """Compute the contract's address from salt and creation code. It equals ``HTLC_ADDRESS``."""
    return deployed_address(HTLC_SALT, htlc_init_code())


class LockStatus(Enum):
    """The status of a ``lock_id`` in the contract."""

    NONE = 0
    """Never locked. It can be locked until its deadline."""
    LOCKED = 1
    CLAIMED = 2
    REFUNDED = 3


@dataclass(frozen=True, slots=True)
class HtlcLock:
    """All terms of one lock.

    Raises:
        FormatError: a field has a wrong size or is out of range, or the contract would never accept the terms.
    """

    chain_id: int
    contract: bytes
    """20 bytes."""
    payment_hash: bytes
    """32 bytes, sha256 of the preimage."""
    token: bytes
    """20 bytes; ``NATIVE_COIN`` for the native coin."""
    amount: int
    """In the token's smallest unit."""
    payee: bytes
    """20 bytes. A claim pays this account, and it may refund before the deadline."""
    payer: bytes
    """20 bytes. This account sends ``lock``, and a refund pays it."""
    deadline: int
    """Unix seconds of the chain's blocks. From then on anyone may refund."""
    terms_hash: bytes
    """32 bytes."""

    def __post_init__(self) -> None:
        for name, size in _LOCK_SIZES.items():
            if len(value := getattr(self, name)) != size:
                raise FormatError(f"HTLC lock: {name} of {len(value)} bytes, expected {size}")
        for name in ("chain_id", "amount", "deadline"):
            number = getattr(self, name)
            if isinstance(number, bool) or not 0 < number < 1 << 256:
                raise FormatError(f"HTLC lock: {name} is not a positive uint256")
        if not any(self.payee):
            raise FormatError("HTLC lock: payee is the zero address")

    @property
    def lock_id(self) -> bytes:
        """32 bytes that commit to every field."""
        return keccak256(encode_words(self.chain_id, self.contract, self.payment_hash, *self.ending_terms))

    @property
    def ending_terms(self) -> tuple[bytes | int, ...]:
        """The terms that the calls ``claim`` and ``refund`` repeat."""
        return self.token, self.amount, self.payee, self.payer, self.deadline, self.terms_hash


@dataclass(frozen=True, slots=True)
class LockedEvent:
    """Money was locked. Together with the chain id, the event contains all terms of the lock."""

    contract: bytes
    lock_id: bytes
    payment_hash: bytes
    payer: bytes
    payee: bytes
    token: bytes
    amount: int
    deadline: int
    terms_hash: bytes

    def lock(self, chain_id: int) -> HtlcLock:
        """Rebuild the lock.

        Raises:
            FormatError: the ``lock_id`` does not match these terms on that chain.
        """
        lock = HtlcLock(
            chain_id=chain_id,
            contract=self.contract,
            payment_hash=self.payment_hash,
            token=self.token,
            amount=self.amount,
            payee=self.payee,
            payer=self.payer,
            deadline=self.deadline,
            terms_hash=self.terms_hash,
        )
        if lock.lock_id != self.lock_id:
            raise FormatError(f"Locked event: the lock_id does not match the terms on chain {chain_id}")
        return lock


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """A claim made the preimage public and paid the payee."""

    contract: bytes
    lock_id: bytes
    payment_hash: bytes
    preimage: Preimage


@dataclass(frozen=True, slots=True)
class RefundedEvent:
    """The money was returned to the payer."""

    contract: bytes
    lock_id: bytes
    payment_hash: bytes


HtlcEvent: TypeAlias = LockedEvent | ClaimedEvent | RefundedEvent


def lock_call(lock: HtlcLock) -> bytes:
    """Encode the call that locks. The payer sends it; to lock the native coin, with the amount as its value."""
    return encode_call(_LOCK, lock.payment_hash, lock.token, lock.amount, lock.payee, lock.deadline, lock.terms_hash)


def claim_call(lock: HtlcLock, preimage: Preimage) -> bytes:
    """Encode the call that pays the payee. Any account may send it, without value.

    The bytes contain the preimage: any request with them, even an estimate, reveals it to the node.

    Raises:
        FormatError: the preimage does not match the lock's payment hash.
    """
    if preimage.payment_hash != lock.payment_hash:
        raise FormatError("HTLC claim: the preimage does not match the lock's payment hash")
    return encode_call(_CLAIM, preimage.secret, *lock.ending_terms)


def refund_call(lock: HtlcLock) -> bytes:
    """Encode the call that pays the payer back.

    The payee may send it at any time, any other account from the deadline on.
    """
    return encode_call(_REFUND, lock.payment_hash, *lock.ending_terms)


def status_call(lock_id: bytes) -> bytes:
    """Encode the call that reads a lock's status; ``decode_status`` decodes the answer."""
    return encode_call("status(bytes32)", lock_id)


def decode_status(answer: bytes) -> LockStatus:
    """Decode the answer to ``status_call``.

    Raises:
        FormatError: the answer is not 32 bytes, or not a status. An address without code returns nothing.
    """
    number = uint256_of_word(answer)
    try:
        return LockStatus(number)
    except ValueError as error:
        raise FormatError(f"HTLC: {number} is not a status") from error


def status_slot(lock_id: bytes) -> bytes:
    """The slot of the contract's storage that holds a lock's status, 32 bytes. Its value is that of ``LockStatus``.

    Vyper hashes the slot of a mapping before the key; Solidity does the reverse.
    """
    return keccak256(_STATUS_MAPPING + lock_id)


def spent_call(payment_hash: bytes) -> bytes:
    """Encode the call that reads whether a claim made the preimage public."""
    return encode_call("spent(bytes32)", payment_hash)


def decode_spent(answer: bytes) -> bool:
    """Decode the answer to ``spent_call``. Raises: FormatError if it is not a bool."""
    return bool_of_word(answer)


def probe_sha256_call(data: bytes) -> bytes:
    """Encode the call that hashes 32 bytes in the contract. The bytes become public: never a preimage.

    A chain without the sha256 precompile returns ``data`` itself. Compare ``decode_probe_sha256`` of the answer with
    the hash before using the contract on a chain.
    """
    return encode_call("probe_sha256(bytes32)", data)


def decode_probe_sha256(answer: bytes) -> bytes:
    """Decode the answer to ``probe_sha256_call``. Raises: FormatError if it is not 32 bytes."""
    (digest,) = split_words(answer, 1)
    return digest


def parse_event(
    address: bytes, topics: Sequence[bytes], data: bytes, *, contract: bytes = HTLC_ADDRESS
) -> HtlcEvent | None:
    """Decode one log of a receipt.

    Args:
        address: the contract that emitted the log, 20 bytes.
        topics: 32 bytes each.
        data: the log's data.
        contract: the HTLC contract. Other contracts can emit the same bytes.

    Returns:
        The event; None if another contract emitted the log, or if it is not an event of the HTLC.

    Raises:
        FormatError: the log has the name of an HTLC event, but the contract cannot have emitted it.

    It does not check that the log is on a chain, nor to which lock it belongs: compare ``lock_id``.
    """
    if address != contract or not topics:
        return None
    name = topics[0]
    if name == LOCKED:
        lock_id, payment_hash, payer = _indexed("Locked", topics, 3)
        payee, token, amount, deadline, terms_hash = split_words(data, 5)
        return LockedEvent(
            contract=address,
            lock_id=lock_id,
            payment_hash=payment_hash,
            payer=address_of_word(payer),
            payee=address_of_word(payee),
            token=address_of_word(token),
            amount=uint256_of_word(amount),
            deadline=uint256_of_word(deadline),
            terms_hash=terms_hash,
        )
    if name == CLAIMED:
        lock_id, payment_hash = _indexed("Claimed", topics, 2)
        preimage = Preimage(*split_words(data, 1))
        if preimage.payment_hash != payment_hash:
            raise FormatError("Claimed event: the preimage does not match the payment hash")
        return ClaimedEvent(address, lock_id, payment_hash, preimage)
    if name == REFUNDED:
        lock_id, payment_hash = _indexed("Refunded", topics, 2)
        split_words(data, 0)
        return RefundedEvent(address, lock_id, payment_hash)
    return None


def _indexed(event: str, topics: Sequence[bytes], count: int) -> Sequence[bytes]:
    if len(topics) != count + 1 or any(len(topic) != 32 for topic in topics):
        raise FormatError(f"{event} event: expected {count} indexed values of 32 bytes")
    return topics[1:]
