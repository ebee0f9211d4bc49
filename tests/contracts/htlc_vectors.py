"""Spends of the hash-locked output on Bitcoin, and what consensus and nodes make of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from coincurve import PrivateKey

from layer2.contracts.bitcoin_htlc import BitcoinHtlc, Branch
from layer2.formats.bitcoin_transaction import (
    SIGHASH_ALL,
    SIGHASH_NONE_ANYONECANPAY,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    witness_sighash,
)

__all__ = ["AMOUNT", "LONGER_PREIMAGE", "PREIMAGE", "Vector", "htlc_of", "vectors"]

PAYER, PAYEE, PAYEE_RELEASE, STRANGER = (PrivateKey(bytes([number]) * 32) for number in (1, 2, 3, 4))
PREIMAGE = b"\x07" * 32
LONGER_PREIMAGE = b"\x07" * 33
AMOUNT = 100_000
_PAID = (TxOut(99_000, b"\x00\x14" + bytes(20)),)


def htlc_of(locktime: int, preimage: bytes = PREIMAGE) -> BitcoinHtlc:
    """The output of these keys."""
    return BitcoinHtlc(
        payment_hash=hashlib.sha256(preimage).digest(),
        payer=PAYER.public_key.format(),
        payee=PAYEE.public_key.format(),
        payee_release=PAYEE_RELEASE.public_key.format(),
        locktime=locktime,
    )


@dataclass(frozen=True)
class Vector:
    """One spend of an output of ``AMOUNT``."""

    name: str
    htlc: BitcoinHtlc
    make: Callable[[OutPoint], Transaction]
    branch: Branch | None
    """How consensus lets it spend the output; None if it does not."""
    is_relayed: bool
    """Whether nodes accept it in their mempool too."""


def vectors(locktime: int) -> Sequence[Vector]:
    """All of them, for outputs with that lock time. Refunds have it as their own lock time."""
    htlc, longer = htlc_of(locktime), htlc_of(locktime, LONGER_PREIMAGE)
    return [*_claims(htlc, longer), *_refunds(htlc), *_releases(htlc), *_selectors(htlc)]


def _claims(htlc: BitcoinHtlc, longer: BitcoinHtlc) -> Iterator[Vector]:
    def claim(key: PrivateKey, preimage: bytes, of: BitcoinHtlc = htlc) -> Callable[[OutPoint], Transaction]:
        return lambda spent: _with(_bare(spent), lambda bare: of.claim_witness(_signed(of, key, bare), preimage))

    yield Vector("the payee claims with the preimage", htlc, claim(PAYEE, PREIMAGE), Branch.CLAIM, is_relayed=True)
    for name, key in (("payer", PAYER), ("payee's release key", PAYEE_RELEASE), ("stranger", STRANGER)):
        yield Vector(f"the {name} claims", htlc, claim(key, PREIMAGE), None, is_relayed=False)
    for preimage in (b"", b"\x08" * 32, PREIMAGE + b"\x00", PREIMAGE[:31]):
        name = f"a claim with {preimage.hex() or 'nothing'} as preimage"
        yield Vector(name, htlc, claim(PAYEE, preimage), None, is_relayed=False)
    name = "a claim with a preimage of 33 bytes whose hash fits"
    yield Vector(name, longer, claim(PAYEE, LONGER_PREIMAGE, longer), None, is_relayed=False)


def _refunds(htlc: BitcoinHtlc) -> Iterator[Vector]:
    def refund(key: PrivateKey, locktime: int, sequence: int = 0xFFFF_FFFD) -> Callable[[OutPoint], Transaction]:
        return lambda spent: _with(
            _bare(spent, locktime, sequence), lambda bare: htlc.refund_witness(_signed(htlc, key, bare))
        )

    at = htlc.locktime
    yield Vector("the payer refunds at the lock time", htlc, refund(PAYER, at), Branch.REFUND, is_relayed=True)
    for name, key in (("payee", PAYEE), ("payee's release key", PAYEE_RELEASE), ("stranger", STRANGER)):
        yield Vector(f"the {name} refunds", htlc, refund(key, at), None, is_relayed=False)
    yield Vector("a refund without a lock time", htlc, refund(PAYER, 0), None, is_relayed=False)
    yield Vector("a refund with an earlier lock time", htlc, refund(PAYER, at - 1), None, is_relayed=False)
    name = "a refund whose lock time does not count"
    yield Vector(name, htlc, refund(PAYER, at, 0xFFFF_FFFF), None, is_relayed=False)

    def with_an_invalid_signature_of_the_payee(spent: OutPoint) -> Transaction:
        return _with(
            _bare(spent, at),
            lambda bare: htlc.release_witness(_signed(htlc, PAYER, bare), _signed(htlc, STRANGER, bare)),
        )

    # Nodes do not relay it (NULLFAIL).
    name = "a refund with an invalid signature of the payee"
    yield Vector(name, htlc, with_an_invalid_signature_of_the_payee, Branch.RELEASE, is_relayed=False)


def _releases(htlc: BitcoinHtlc) -> Iterator[Vector]:
    def release(by: PrivateKey, given_for: int = 0) -> Callable[[OutPoint], Transaction]:
        def make(spent: OutPoint) -> Transaction:
            other = replace(spent, index=spent.index + given_for)
            given = _signed(htlc, PAYEE_RELEASE, _bare(other), SIGHASH_NONE_ANYONECANPAY)
            chosen = replace(_bare(spent), outputs=(TxOut(1_000, _PAID[0].script), TxOut(97_500, _PAID[0].script)))
            return _with(chosen, lambda bare: htlc.release_witness(_signed(htlc, by, bare), given))

        return make

    name = "both release, and the payer chooses the outputs"
    yield Vector(name, htlc, release(PAYER), Branch.RELEASE, is_relayed=True)
    yield Vector("the payee releases alone", htlc, release(PAYEE), None, is_relayed=False)
    yield Vector("a stranger uses a release signature", htlc, release(STRANGER), None, is_relayed=False)
    yield Vector("a release signature for another output", htlc, release(PAYER, 1), None, is_relayed=False)


def _selectors(htlc: BitcoinHtlc) -> Iterator[Vector]:
    """Nodes relay one selector for each branch (MINIMALIF); a miner can include the others."""

    def claim(selector: bytes) -> Callable[[OutPoint], Transaction]:
        return lambda spent: _with(
            _bare(spent), lambda bare: (_signed(htlc, PAYEE, bare), PREIMAGE, selector, htlc.script)
        )

    def refund(selector: bytes) -> Callable[[OutPoint], Transaction]:
        return lambda spent: _with(
            _bare(spent, htlc.locktime), lambda bare: (b"", _signed(htlc, PAYER, bare), selector, htlc.script)
        )

    for selector in (b"\x02", b"\x80\x00", b"\x00\x01", b"\x81"):
        name = f"a claim with the selector {selector.hex()}"
        yield Vector(name, htlc, claim(selector), Branch.CLAIM, is_relayed=False)
    for selector in (b"\x00", b"\x80", b"\x00\x80", b"\x00\x00"):
        name = f"a refund with the selector {selector.hex()}"
        yield Vector(name, htlc, refund(selector), Branch.REFUND, is_relayed=False)
    for selector in (b"", b"\x00"):
        name = f"a claim with the selector {selector.hex() or 'of a refund'}"
        yield Vector(name, htlc, claim(selector), None, is_relayed=False)


def _bare(spent: OutPoint, locktime: int = 0, sequence: int = 0xFFFF_FFFD) -> Transaction:
    return Transaction(2, (TxIn(spent, sequence),), _PAID, locktime)


def _with(bare: Transaction, witness: Callable[[Transaction], tuple[bytes, ...]]) -> Transaction:
    return bare.with_witness(0, witness(bare))


def _signed(htlc: BitcoinHtlc, key: PrivateKey, transaction: Transaction, kind: int = SIGHASH_ALL) -> bytes:
    digest = witness_sighash(transaction, 0, htlc.script, AMOUNT, kind)
    return key.sign(digest, hasher=None) + bytes([kind])
