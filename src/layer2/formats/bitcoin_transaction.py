"""Bitcoin transactions: their bytes (BIP 144), ids, sizes, and what a signature of a witness input signs (BIP 143)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final, Self

from layer2.errors.base import FormatError
from layer2.formats.byte_reader import ByteReader

__all__ = [
    "LOCKTIME_THRESHOLD",
    "MAX_MONEY",
    "REPLACEABLE",
    "SIGHASH_ALL",
    "SIGHASH_NONE_ANYONECANPAY",
    "OutPoint",
    "Transaction",
    "TxIn",
    "TxOut",
    "compact_size",
    "decode_transaction",
    "double_sha256",
    "read_transaction",
    "witness_sighash",
]

LOCKTIME_THRESHOLD: Final = 500_000_000
"""BIP 65: a smaller lock time is a height; others are unix times, compared with the median time past (BIP 113)."""
MAX_MONEY: Final = 21_000_000 * 10**8
"""Satoshi; no output can be larger."""
REPLACEABLE: Final = 0xFFFF_FFFD
"""A sequence number: the transaction can be replaced (BIP 125), and its lock time counts."""
SIGHASH_ALL: Final = 0x01
"""The signature covers every input and every output."""
SIGHASH_NONE_ANYONECANPAY: Final = 0x82
"""The signature covers its own input only, and no output."""

_NONE: Final = 0x02
_SINGLE: Final = 0x03
_ANYONECANPAY: Final = 0x80
_BASE_TYPE: Final = 0x1F
_WITNESS_MARKER: Final = b"\x00\x01"


@dataclass(frozen=True, slots=True)
class OutPoint:
    """An output of a transaction."""

    tx_hash: bytes
    """32 bytes, in the order in which transactions contain them: the reverse of the displayed id."""
    index: int

    def __str__(self) -> str:
        return f"{self.tx_hash[::-1].hex()}:{self.index}"

    @classmethod
    def read(cls, text: str) -> Self:
        """The reverse of ``str``, for text that ``str`` wrote."""
        tx_id, _, index = text.partition(":")
        return cls(bytes.fromhex(tx_id)[::-1], int(index))

    def encode(self) -> bytes:
        """36 bytes."""
        return self.tx_hash + self.index.to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class TxIn:
    """One input."""

    prevout: OutPoint
    sequence: int
    script_sig: bytes = b""
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TxOut:
    """One output."""

    amount: int
    """Satoshi."""
    script: bytes

    def encode(self) -> bytes:
        """The output within a transaction."""
        return self.amount.to_bytes(8, "little") + compact_size(len(self.script)) + self.script


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    locktime: int
    """BIP 65: a height below 500,000,000, otherwise unix seconds."""

    @property
    def stripped(self) -> bytes:
        """The bytes without witnesses, whose hash is the transaction's."""
        return self._encode_with(b"", b"")

    @property
    def hash(self) -> bytes:
        """32 bytes, in the order in which other transactions contain them."""
        return double_sha256(self.stripped)

    @property
    def id(self) -> str:
        """The id as nodes and explorers display it: 64 hex digits."""
        return self.hash[::-1].hex()

    @property
    def witness_hash(self) -> bytes:
        """32 bytes, over the witnesses too (BIP 141)."""
        return double_sha256(self.encode())

    @property
    def weight(self) -> int:
        """Weight units (BIP 141)."""
        return 3 * len(self.stripped) + len(self.encode())

    @property
    def virtual_size(self) -> int:
        """Virtual bytes, rounded up."""
        return (self.weight + 3) // 4

    def encode(self) -> bytes:
        """The bytes for a node, with witnesses if there are any."""
        if not any(each.witness for each in self.inputs):
            return self.stripped
        witnesses = b"".join(
            compact_size(len(each.witness)) + b"".join(compact_size(len(item)) + item for item in each.witness)
            for each in self.inputs
        )
        return self._encode_with(_WITNESS_MARKER, witnesses)

    def with_witness(self, index: int, witness: tuple[bytes, ...]) -> Transaction:
        """The same transaction with another witness at one input."""
        inputs = list(self.inputs)
        inputs[index] = replace(inputs[index], witness=witness)
        return replace(self, inputs=tuple(inputs))

    def _encode_with(self, marker: bytes, witnesses: bytes) -> bytes:
        inputs = b"".join(
            each.prevout.encode()
            + compact_size(len(each.script_sig))
            + each.script_sig
            + each.sequence.to_bytes(4, "little")
            for each in self.inputs
        )
        return (
            (self.version.to_bytes(4, "little") + marker)
            + (compact_size(len(self.inputs)) + inputs)
            + (compact_size(len(self.outputs)) + b"".join(each.encode() for each in self.outputs))
            + (witnesses + self.locktime.to_bytes(4, "little"))
        )


def decode_transaction(data: bytes) -> Transaction:
    """Read a transaction.

    Raises:
        FormatError: the bytes are not exactly one transaction in its shortest encoding.
    """
    reader = ByteReader(data, "the transaction")
    transaction = read_transaction(reader)
    reader.end()
    return transaction


def read_transaction(reader: ByteReader) -> Transaction:
    """Read the next transaction of a block.

    Raises:
        FormatError: the bytes do not begin with a transaction in its shortest encoding.
    """
    version = reader.integer(4)
    has_witness = reader.peek(2) == _WITNESS_MARKER
    if has_witness:
        reader.take(2)
    inputs = [_input(reader) for _ in range(reader.count(41))]
    outputs = [_output(reader) for _ in range(reader.count(9))]
    if not inputs or not outputs:
        raise FormatError("the transaction has no inputs or no outputs")
    if has_witness:
        inputs = [
            replace(each, witness=tuple([reader.take(reader.compact_size()) for _ in range(reader.count(1))]))
            for each in inputs
        ]
        if not any(each.witness for each in inputs):
            raise FormatError("the transaction has the marker of witnesses and none of them")
    return Transaction(version, tuple(inputs), tuple(outputs), reader.integer(4))


def witness_sighash(transaction: Transaction, index: int, script: bytes, amount: int, sighash_type: int) -> bytes:
    """The 32 bytes that a signature of a P2WSH input signs.

    Args:
        index: of the input.
        script: its witness script.
        amount: satoshi of the output that it spends.
        sighash_type: the signature's last byte. This package signs with ``SIGHASH_ALL`` and
            ``SIGHASH_NONE_ANYONECANPAY``; consensus allows every value.

    Source: BIP 143.
    """
    own, base = transaction.inputs[index], sighash_type & _BASE_TYPE
    prevouts = sequences = outputs = bytes(32)
    if not sighash_type & _ANYONECANPAY:
        prevouts = double_sha256(b"".join(each.prevout.encode() for each in transaction.inputs))
        if base not in (_NONE, _SINGLE):
            sequences = double_sha256(b"".join(each.sequence.to_bytes(4, "little") for each in transaction.inputs))
    if base not in (_NONE, _SINGLE):
        outputs = double_sha256(b"".join(each.encode() for each in transaction.outputs))
    elif base == _SINGLE and index < len(transaction.outputs):
        outputs = double_sha256(transaction.outputs[index].encode())
    return double_sha256(
        (transaction.version.to_bytes(4, "little") + prevouts + sequences + own.prevout.encode())
        + (compact_size(len(script)) + script + amount.to_bytes(8, "little") + own.sequence.to_bytes(4, "little"))
        + (outputs + transaction.locktime.to_bytes(4, "little") + sighash_type.to_bytes(4, "little"))
    )


def double_sha256(data: bytes) -> bytes:
    """SHA-256 applied twice: the hash of transactions and blocks."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def compact_size(value: int) -> bytes:
    """A length as transactions and blocks contain it, in its shortest form."""
    if value < 0xFD:
        return value.to_bytes(1, "little")
    if value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "little")
    return b"\xfe" + value.to_bytes(4, "little")


def _input(reader: ByteReader) -> TxIn:
    prevout = OutPoint(reader.take(32), reader.integer(4))
    script = reader.take(reader.compact_size())
    return TxIn(prevout, reader.integer(4), script)


def _output(reader: ByteReader) -> TxOut:
    amount = reader.integer(8)
    if amount > MAX_MONEY:
        raise FormatError("an output holds more than 21 million bitcoin")
    return TxOut(amount, reader.take(reader.compact_size()))
