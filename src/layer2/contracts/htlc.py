"""The hash time-locked contract: where it stands, what to send it, what it answers and what it logs.

A lock is named by its ``lock_id``, which commits to every term, to the chain and to the contract; the
contract stores no terms, so every call repeats them. Bytes are written and read here; no node is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from layer2.contracts.artefact import load_artefact
from layer2.contracts.factory import deployed_address
from layer2.errors import FormatError
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
    "CLAIM_GAS",
    "HTLC_ADDRESS",
    "HTLC_INIT_CODE_HASH",
    "HTLC_SALT",
    "LOCK_GAS_ERC20",
    "LOCK_GAS_NATIVE",
    "NATIVE_COIN",
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
    "lock_value",
    "parse_event",
    "probe_sha256_call",
    "refund_call",
    "spent_call",
    "status_call",
]

HTLC_SALT = bytes(32)
HTLC_INIT_CODE_HASH = bytes.fromhex("4d0e37722d249745bb3fae8bfc7588efaa96f5e5d26fdac312edcce0a328c4df")
HTLC_ADDRESS = bytes.fromhex("c59f2adb373bd4ce8e6a872fb39c997ffdaab552")
"""20 bytes: where the factory puts the contract, on every chain. The address commits to the code."""

NATIVE_COIN = bytes(20)
"""The ``token`` of a lock of the chain's own coin."""

# Gas limits, never estimated: an estimate of a claim would show the preimage to the node. Unused gas costs
# nothing. Measured at Prague's rules with a plain ERC-20 (tests/contracts/test_gas.py asserts the figures):
LOCK_GAS_NATIVE = 150_000
"""Measured 53,700; 73,600 for the first lock that the contract ever takes."""
LOCK_GAS_ERC20 = 300_000
"""Measured 75,400; 112,400 for the first lock ever. The rest is for tokens behind proxies."""
CLAIM_GAS = 250_000
"""Measured 72,200; 94,200 where the payee's account or balance is new. The payee is a plain account."""
REFUND_GAS = 250_000
"""Measured 49,600; 66,700 where the payer holds nothing else of the token. The payer is a plain account."""

_LOCK = "lock(bytes32,address,uint256,address,uint256,bytes32)"
_CLAIM = "claim(bytes32,address,uint256,address,address,uint256,bytes32)"
_REFUND = "refund(bytes32,address,uint256,address,address,uint256,bytes32)"

_LOCKED = event_topic("Locked(bytes32,bytes32,address,address,address,uint256,uint256,bytes32)")
_CLAIMED = event_topic("Claimed(bytes32,bytes32,bytes32)")
_REFUNDED = event_topic("Refunded(bytes32,bytes32)")


def htlc_init_code() -> bytes:
    """Read the creation code from the package; deploy it with ``factory.deployment_call(HTLC_SALT, ...)``."""
    return load_artefact("htlc").init_code


def htlc_address() -> bytes:
    """Compute the contract's address anew from salt and creation code; equals ``HTLC_ADDRESS``."""
    return deployed_address(HTLC_SALT, htlc_init_code())


class LockStatus(Enum):
    """What the contract knows of a ``lock_id``."""

    NONE = 0
    """Never locked here; it still can be, until its deadline."""
    LOCKED = 1
    CLAIMED = 2
    REFUNDED = 3


@dataclass(frozen=True, slots=True)
class HtlcLock:
    """All terms of one lock.

    Raises:
        FormatError: a field of another size or out of range, or terms that the contract never accepts.
    """

    chain_id: int
    contract: bytes
    """20 bytes."""
    payment_hash: bytes
    """32 bytes, sha256 of the preimage."""
    token: bytes
    """20 bytes; ``NATIVE_COIN`` for the chain's own coin."""
    amount: int
    """In the token's smallest unit."""
    payee: bytes
    """20 bytes: who is paid when the preimage is shown, and who may refund before the deadline."""
    payer: bytes
    """20 bytes: who sends ``lock``, and who gets the money back."""
    deadline: int
    """Unix seconds of the chain's blocks: from then on anyone may refund."""
    terms_hash: bytes
    """32 bytes."""

    def __post_init__(self) -> None:
        _check_size("contract", self.contract, 20)
        _check_size("payment_hash", self.payment_hash, 32)
        _check_size("token", self.token, 20)
        _check_size("payee", self.payee, 20)
        _check_size("payer", self.payer, 20)
        _check_size("terms_hash", self.terms_hash, 32)
        _check_positive("chain_id", self.chain_id)
        _check_positive("amount", self.amount)
        _check_positive("deadline", self.deadline)
        if not any(self.payee):
            raise FormatError("HTLC lock: payee is the zero address")

    @property
    def lock_id(self) -> bytes:
        """32 bytes that commit to every field."""
        return keccak256(
            encode_words(
                self.chain_id,
                self.contract,
                self.payment_hash,
                self.token,
                self.amount,
                self.payee,
                self.payer,
                self.deadline,
                self.terms_hash,
            )
        )


@dataclass(frozen=True, slots=True)
class LockedEvent:
    """Money was locked. Enough, with the chain id, to rebuild the lock and its refund."""

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
            FormatError: the ``lock_id`` is not that of these terms on that chain.
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
            raise FormatError(f"Locked event: lock_id is not that of its terms on chain {chain_id}")
        return lock


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """The preimage was shown and the payee was paid."""

    contract: bytes
    lock_id: bytes
    payment_hash: bytes
    preimage: Preimage


@dataclass(frozen=True, slots=True)
class RefundedEvent:
    """The money went back to the payer."""

    contract: bytes
    lock_id: bytes
    payment_hash: bytes


HtlcEvent: TypeAlias = LockedEvent | ClaimedEvent | RefundedEvent


def lock_call(lock: HtlcLock) -> bytes:
    """Write the data of the call that locks; the payer sends it, with ``lock_value(lock)``."""
    return encode_call(_LOCK, lock.payment_hash, lock.token, lock.amount, lock.payee, lock.deadline, lock.terms_hash)


def lock_value(lock: HtlcLock) -> int:
    """The native coin to send with ``lock_call``: the amount, or nothing where a token is locked."""
    return lock.amount if lock.token == NATIVE_COIN else 0


def claim_call(lock: HtlcLock, preimage: Preimage) -> bytes:
    """Write the data of the call that pays the payee; anyone may send it, without value.

    To hand these bytes to a node in any form, an estimate included, is to reveal the preimage.

    Raises:
        FormatError: the preimage is not that of the lock's payment hash.
    """
    if preimage.payment_hash != lock.payment_hash:
        raise FormatError("HTLC claim: the preimage is not that of the lock's payment hash")
    return encode_call(
        _CLAIM,
        preimage.secret,
        lock.token,
        lock.amount,
        lock.payee,
        lock.payer,
        lock.deadline,
        lock.terms_hash,
    )


def refund_call(lock: HtlcLock) -> bytes:
    """Write the data of the call that pays the payer back.

    The payee may send it at any time, everybody else from the deadline on.
    """
    return encode_call(
        _REFUND,
        lock.payment_hash,
        lock.token,
        lock.amount,
        lock.payee,
        lock.payer,
        lock.deadline,
        lock.terms_hash,
    )


def status_call(lock_id: bytes) -> bytes:
    """Write the data of the call that reads a lock's status; ``decode_status`` reads the answer."""
    return encode_call("status(bytes32)", lock_id)


def decode_status(answer: bytes) -> LockStatus:
    """Read the answer to ``status_call``.

    Raises:
        FormatError: not one word (nothing at all comes from an address without code), or no status.
    """
    number = uint256_of_word(answer)
    try:
        return LockStatus(number)
    except ValueError as error:
        raise FormatError(f"HTLC status: {number} is none") from error


def spent_call(payment_hash: bytes) -> bytes:
    """Write the data of the call that asks whether a preimage became public at this contract."""
    return encode_call("spent(bytes32)", payment_hash)


def decode_spent(answer: bytes) -> bool:
    """Read the answer to ``spent_call``; FormatError where it is not one bool."""
    return bool_of_word(answer)


def probe_sha256_call(data: bytes) -> bytes:
    """Write the data of the call that hashes 32 bytes as the contract does it there; never of a preimage.

    A chain without the sha256 precompile gives ``data`` back: compare ``decode_probe_sha256`` of the answer
    with the true hash before the contract is used there.
    """
    return encode_call("probe_sha256(bytes32)", data)


def decode_probe_sha256(answer: bytes) -> bytes:
    """Read the answer to ``probe_sha256_call``; FormatError where it is not 32 bytes."""
    (digest,) = split_words(answer, 1)
    return digest


def parse_event(
    address: bytes, topics: Sequence[bytes], data: bytes, *, contract: bytes = HTLC_ADDRESS
) -> HtlcEvent | None:
    """Read one log entry of a receipt.

    Args:
        address: 20 bytes, the contract that emitted it.
        topics: 32 bytes each.
        data: the rest of the entry.
        contract: the contract whose events count. Anyone can emit the same bytes from another one.

    Returns:
        The event, or None where another contract emitted it, or where it is no event of ours.

    Raises:
        FormatError: it bears our event's name and cannot be what the contract writes.

    Says nothing of whether the log is on a chain, nor which lock of yours it concerns: compare ``lock_id``.
    """
    if address != contract or not topics:
        return None
    name = topics[0]
    if name == _LOCKED:
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
    if name == _CLAIMED:
        lock_id, payment_hash = _indexed("Claimed", topics, 2)
        preimage = Preimage(*split_words(data, 1))
        if preimage.payment_hash != payment_hash:
            raise FormatError("Claimed event: the preimage is not that of the payment hash")
        return ClaimedEvent(address, lock_id, payment_hash, preimage)
    if name == _REFUNDED:
        lock_id, payment_hash = _indexed("Refunded", topics, 2)
        split_words(data, 0)
        return RefundedEvent(address, lock_id, payment_hash)
    return None


def _indexed(event: str, topics: Sequence[bytes], count: int) -> Sequence[bytes]:
    if len(topics) != count + 1 or any(len(topic) != 32 for topic in topics):
        raise FormatError(f"{event} event: expected {count} indexed words of 32 bytes")
    return topics[1:]


def _check_size(name: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise FormatError(f"HTLC lock: {name} of {len(value)} bytes, expected {size}")


def _check_positive(name: str, number: int) -> None:
    if isinstance(number, bool) or not 0 < number < 1 << 256:
        raise FormatError(f"HTLC lock: {name} is not a positive uint256")
