"""The transactions that spend a hash-locked output. Pure: a signature is asked for by a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from coincurve import PublicKey

from layer2.contracts.bitcoin_htlc import BitcoinHtlc
from layer2.errors import InvalidAmount
from layer2.formats.bitcoin_transaction import (
    REPLACEABLE,
    SIGHASH_ALL,
    SIGHASH_NONE_ANYONECANPAY,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    witness_sighash,
)
from layer2.model.transactions import Preimage
from layer2.protocols.bitcoin.fees import INCREMENT

__all__ = [
    "CLAIM_SIZE",
    "REFUND_SIZE",
    "Held",
    "Sign",
    "SpendPrice",
    "claim",
    "is_release",
    "refund",
    "release",
    "release_signature",
]

Sign: TypeAlias = Callable[[bytes], bytes]
"""Signs 32 bytes with ECDSA; returns the DER encoding."""
CLAIM_SIZE: Final = 162
"""Virtual bytes of a claim of one output to a P2WPKH or P2WSH address, at most."""
REFUND_SIZE: Final = 154
"""Virtual bytes of a refund of one output, at most."""
_DUST: Final = 330
_SIGNATURE: Final = bytes(72)


@dataclass(frozen=True, slots=True)
class Held:
    """An output under the script."""

    outpoint: OutPoint
    amount: int
    """Satoshi."""


@dataclass(frozen=True, slots=True)
class SpendPrice:
    """What a spend pays; at most half of what it moves."""

    rate: int
    """Satoshi per 1,000 virtual bytes."""
    replaced: int = 0
    """The fee, in satoshi, of a spend of the same outputs that it has to replace (BIP 125, rules 3 and 4)."""

    def fee(self, size: int, amount: int) -> int:
        """The fee in satoshi.

        Args:
            size: virtual bytes.
            amount: satoshi that the spend moves.
        """
        wanted = -(-size * self.rate // 1_000)
        if self.replaced:
            wanted = max(wanted, self.replaced + -(-size * INCREMENT // 1_000))
        return min(wanted, amount // 2)


def claim(htlc: BitcoinHtlc, held: Held, preimage: Preimage, to: bytes, price: SpendPrice, sign: Sign) -> Transaction:
    """The payee's claim.

    Args:
        to: the output script that receives the amount less the fee.
        price: what it pays.
        sign: with the payee's key.

    Raises:
        InvalidAmount: the fee would leave less than dust.
    """
    bare = _unsigned([held], to, 0)
    sized = bare.with_witness(0, htlc.claim_witness(_SIGNATURE, preimage.secret))
    priced = _priced(sized, held.amount, price)
    signature = _signature(htlc, priced, 0, held.amount, SIGHASH_ALL, sign)
    return priced.with_witness(0, htlc.claim_witness(signature, preimage.secret))


def refund(htlc: BitcoinHtlc, helds: Sequence[Held], to: bytes, price: SpendPrice, sign: Sign) -> Transaction:
    """The payer's refund of every output under the script, valid from the lock time on.

    Args:
        helds: at least one.
        to, price: as for ``claim``.
        sign: with the payer's key.

    Raises:
        InvalidAmount: the fee would leave less than dust.
    """
    bare = _unsigned(helds, to, htlc.locktime)
    sized = bare
    for index in range(len(helds)):
        sized = sized.with_witness(index, htlc.refund_witness(_SIGNATURE))
    signed = priced = _priced(sized, sum(each.amount for each in helds), price)
    for index, each in enumerate(helds):
        signature = _signature(htlc, priced, index, each.amount, SIGHASH_ALL, sign)
        signed = signed.with_witness(index, htlc.refund_witness(signature))
    return signed


def release_signature(htlc: BitcoinHtlc, held: Held, sign: Sign) -> bytes:
    """The payee's signature with which the payer takes one output back before the lock time.

    It commits to that output, to version 2, to no lock time and to a replaceable input; not to any output of the
    transaction, so the payer chooses them.

    Args:
        sign: with the payee's release key.
    """
    any_outputs = _unsigned([held], b"", 0)
    return _signature(htlc, any_outputs, 0, held.amount, SIGHASH_NONE_ANYONECANPAY, sign)


def is_release(htlc: BitcoinHtlc, held: Held, signature: bytes) -> bool:
    """Whether a signature is the payee's ``release_signature`` of an output."""
    digest = witness_sighash(_unsigned([held], b"", 0), 0, htlc.script, held.amount, SIGHASH_NONE_ANYONECANPAY)
    if signature[-1:] != bytes([SIGHASH_NONE_ANYONECANPAY]):
        return False
    try:
        return PublicKey(htlc.payee_release).verify(signature[:-1], digest, hasher=None)
    except ValueError:
        return False


def release(
    htlc: BitcoinHtlc, signed: Sequence[tuple[Held, bytes]], to: bytes, price: SpendPrice, sign: Sign
) -> Transaction:
    """The payer's transaction that takes outputs back with the payee's signatures.

    Args:
        signed: outputs, each with its ``release_signature``; at least one.
        to, price: as for ``claim``.
        sign: with the payer's key.

    Raises:
        InvalidAmount: the fee would leave less than dust.
    """
    bare = _unsigned([held for held, _ in signed], to, 0)
    sized = bare
    for index in range(len(signed)):
        sized = sized.with_witness(index, htlc.release_witness(_SIGNATURE, _SIGNATURE))
    complete = priced = _priced(sized, sum(held.amount for held, _ in signed), price)
    for index, (held, payee_signature) in enumerate(signed):
        own = _signature(htlc, priced, index, held.amount, SIGHASH_ALL, sign)
        complete = complete.with_witness(index, htlc.release_witness(own, payee_signature))
    return complete


def _unsigned(helds: Sequence[Held], to: bytes, locktime: int) -> Transaction:
    inputs = tuple(TxIn(each.outpoint, REPLACEABLE) for each in helds)
    return Transaction(2, inputs, (TxOut(sum(each.amount for each in helds), to),), locktime)


def _priced(sized: Transaction, amount: int, price: SpendPrice) -> Transaction:
    fee = price.fee(sized.virtual_size, amount)
    if amount - fee < _DUST:
        raise InvalidAmount(f"a fee of {fee} sat would leave less than {_DUST} sat of {amount} sat")
    return Transaction(sized.version, sized.inputs, (TxOut(amount - fee, sized.outputs[0].script),), sized.locktime)


def _signature(htlc: BitcoinHtlc, transaction: Transaction, index: int, amount: int, kind: int, sign: Sign) -> bytes:
    return sign(witness_sighash(transaction, index, htlc.script, amount, kind)) + bytes([kind])
