"""The hash-locked output on Bitcoin: witness script, descriptor, and the witnesses that spend it.

Three branches spend the output: the payee with the preimage; the payer from the lock time on; payer and payee together
at any time. Sources: BIP 65 (lock time), BIP 141 (P2WSH), BIP 379 (miniscript).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Final

from layer2.formats.segwit_address import script_hash_program

__all__ = ["BitcoinHtlc", "Branch"]

_PREIMAGE_SIZE: Final = 32
_BEFORE_1: Final = 0x50
"""The opcodes OP_1 to OP_16 follow it."""
_IF, _NOTIF, _ELSE, _ENDIF, _IFDUP = b"\x63", b"\x64", b"\x67", b"\x68", b"\x73"
_SIZE, _EQUALVERIFY, _SHA256 = b"\x82", b"\x88", b"\xa8"
_CHECKSIG, _CHECKSIGVERIFY, _CHECKLOCKTIMEVERIFY = b"\xac", b"\xad", b"\xb1"


class Branch(Enum):
    """How an output was spent."""

    CLAIM = "claim"
    """By the payee, with the preimage."""
    REFUND = "refund"
    """By the payer, after the lock time."""
    RELEASE = "release"
    """By the payer, with the payee's signature."""


@dataclass(frozen=True, slots=True)
class BitcoinHtlc:
    """One hash-locked output's script."""

    payment_hash: bytes
    """32 bytes, sha256 of the preimage."""
    payer: bytes
    """33 bytes: the compressed public key of the refund."""
    payee: bytes
    """33 bytes: the compressed public key of the claim."""
    payee_release: bytes
    """33 bytes: the payee's compressed public key of a release."""
    locktime: int
    """BIP 65: a height below 500,000,000, otherwise unix seconds of the median time past. From 1 to 2**31 - 1."""

    @property
    def script(self) -> bytes:
        """The witness script."""
        claim = (
            (_SIZE + _push(bytes([_PREIMAGE_SIZE])) + _EQUALVERIFY)
            + (_SHA256 + _push(self.payment_hash) + _EQUALVERIFY)
            + (_push(self.payee) + _CHECKSIG)
        )
        refund = (
            (_push(self.payer) + _CHECKSIGVERIFY)
            + (_push(self.payee_release) + _CHECKSIG + _IFDUP)
            + (_NOTIF + _push_number(self.locktime) + _CHECKLOCKTIMEVERIFY + _ENDIF)
        )
        return _IF + claim + _ELSE + refund + _ENDIF

    @property
    def program(self) -> bytes:
        """The output's script, 34 bytes."""
        return script_hash_program(self.script)

    @property
    def descriptor(self) -> str:
        """The script as an output descriptor with miniscript, without a checksum (BIP 380, BIP 379)."""
        hash_lock = f"and_v(v:sha256({self.payment_hash.hex()}),pk({self.payee.hex()}))"
        refund = f"and_v(v:pk({self.payer.hex()}),or_d(pk({self.payee_release.hex()}),after({self.locktime})))"
        return f"wsh(or_i({hash_lock},{refund}))"

    def claim_witness(self, payee_signature: bytes, preimage: bytes) -> tuple[bytes, ...]:
        """The witness of the payee's claim; the transaction needs no lock time."""
        return (payee_signature, preimage, b"\x01", self.script)

    def refund_witness(self, payer_signature: bytes) -> tuple[bytes, ...]:
        """The witness of the payer's refund; the transaction's lock time must be ``locktime`` or later, and the
        input's sequence below 0xffffffff."""
        return (b"", payer_signature, b"", self.script)

    def release_witness(self, payer_signature: bytes, payee_signature: bytes) -> tuple[bytes, ...]:
        """The witness of a release."""
        return (payee_signature, payer_signature, b"", self.script)

    def spending(self, witness: tuple[bytes, ...]) -> tuple[Branch, bytes | None] | None:
        """How a witness in a valid block spends this output, and the preimage of a claim; None if it spends another
        script.

        It reads what consensus allows, not what nodes relay: a miner can include a claim whose selector of the branch
        is any true value, and a refund whose selector is any false one or whose first item is an invalid signature.
        """
        if len(witness) != 4 or witness[3] != self.script:
            return None
        first, second, selector, _ = witness
        if _is_true(selector):
            return (Branch.CLAIM, second) if hashlib.sha256(second).digest() == self.payment_hash else None
        return (Branch.RELEASE if first else Branch.REFUND), None


def _push(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def _push_number(value: int) -> bytes:
    """A positive number as scripts push it: up to 16 in one byte, others little-endian with room for the sign."""
    if value <= 16:
        return bytes([_BEFORE_1 + value])
    return _push(value.to_bytes(value.bit_length() // 8 + 1, "little"))


def _is_true(item: bytes) -> bool:
    """Whether an item of the stack counts as true: not zero, and not the negative zero."""
    return any(item[:-1]) or item[-1:] not in (b"", b"\x00", b"\x80")
