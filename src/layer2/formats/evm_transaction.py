"""EVM transactions of type 2 and legacy ones: encoding, signatures and the recovery of the sender.

Sources: EIP-2718 (envelope), EIP-1559 (type 2), EIP-2930 (access lists), EIP-155 (legacy), EIP-2 (low s), EIP-2681
(nonces).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from coincurve import PublicKey
from coincurve.utils import GROUP_ORDER_INT

from layer2.errors.base import FormatError
from layer2.formats import rlp
from layer2.formats.evm_address import address_of_public_key
from layer2.formats.keccak import keccak256
from layer2.formats.rlp import RlpItem

__all__ = [
    "AccessList",
    "Eip1559Transaction",
    "LegacyTransaction",
    "SignedTransaction",
    "UnsignedTransaction",
    "decode_signed",
]

AccessList: TypeAlias = tuple[tuple[bytes, tuple[bytes, ...]], ...]
"""Pairs of an address (20 bytes) and its storage keys (32 bytes each)."""

_TYPE = 0x02
_ENVELOPE = bytes((_TYPE,))
_LISTS = 0xC0
"""The first byte of a list's RLP is this or higher."""
_UINT64 = (1 << 64) - 1
_UINT256 = (1 << 256) - 1
_LEGACY_FIELDS = 9
_REPLAY_OFFSET = 35
"""Of the signature's ``v`` with a chain id (EIP-155)."""


@dataclass(frozen=True, slots=True)
class Eip1559Transaction:
    """An unsigned transaction of type 2, with values in the ranges of the standards.

    Args:
        chain_id: the only network on which a signature is valid, at least 1.
        nonce: the number of earlier transactions of the sender.
        max_priority_fee_per_gas: wei, at most ``max_fee_per_gas``.
        max_fee_per_gas: wei.
        gas_limit: gas.
        to: 20 bytes, or None to create a contract.
        value: wei.
        data: the call, or the creation code.
        access_list: pairs of an address and its storage keys.

    Raises:
        FormatError: a value out of range or of another size.
    """

    chain_id: int
    nonce: int
    max_priority_fee_per_gas: int
    max_fee_per_gas: int
    gas_limit: int
    to: bytes | None
    value: int
    data: bytes = b""
    access_list: AccessList = ()
    _encoded: bytes = field(init=False, repr=False, compare=False)
    """The unsigned fields, encoded once for the signing hash, its check, and the signed transaction."""

    def __post_init__(self) -> None:
        _in_range("chain id", self.chain_id, 1, _UINT256)
        _in_range("nonce", self.nonce, 0, _UINT64 - 1)
        _in_range("max fee per gas", self.max_fee_per_gas, 0, _UINT256)
        _in_range("max priority fee per gas", self.max_priority_fee_per_gas, 0, self.max_fee_per_gas)
        _in_range("gas limit", self.gas_limit, 0, _UINT64)
        _in_range("value", self.value, 0, _UINT256)
        if self.to is not None:
            _sized(self.to, 20, "recipient")
        for address, keys in self.access_list:
            _sized(address, 20, "address of the access list")
            for key in keys:
                _sized(key, 32, "storage key of the access list")
        object.__setattr__(self, "_encoded", b"".join([rlp.encode(item) for item in self._fields()]))

    def signing_hash(self) -> bytes:
        """The 32 bytes that the sender signs: keccak256 of the type and the unsigned fields."""
        return keccak256(_ENVELOPE + rlp.list_prefix(len(self._encoded)) + self._encoded)

    def signed(self, signature: bytes) -> SignedTransaction:
        """Combine the transaction with its signature.

        Args:
            signature: 65 bytes over ``signing_hash()``: r (32), s (32), and the recovery id (0 or 1).

        Returns:
            The transaction with its sender, which is recovered from the signature. Any valid signature gives *some*
            sender, so compare it with the expected one.

        Raises:
            FormatError: another size, a recovery id other than 0 and 1, r or s out of range, s in the upper half of the
                curve's order (EIP-2), or no key can have made it.
        """
        sender = _recover(self.signing_hash(), _sized(signature, 65, "signature"))
        raw = self.raw(signature)
        return SignedTransaction(raw=raw, hash=keccak256(raw), transaction=self, sender=sender)

    def raw(self, signature: bytes) -> bytes:
        """The bytes of the transaction with that signature, which is not checked; ``signed`` checks it.

        Args:
            signature: 65 bytes, as for ``signed``.

        Raises:
            FormatError: another size.
        """
        _sized(signature, 65, "signature")
        r, s, parity = signature[:32], signature[32:64], signature[64]
        integers = (parity, int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        payload = self._encoded + b"".join([rlp.encode(rlp.encode_int(value)) for value in integers])
        return _ENVELOPE + rlp.list_prefix(len(payload)) + payload

    def _fields(self) -> list[RlpItem]:
        access_list: list[RlpItem] = [[address, [*keys]] for address, keys in self.access_list]
        return [
            rlp.encode_int(self.chain_id),
            rlp.encode_int(self.nonce),
            rlp.encode_int(self.max_priority_fee_per_gas),
            rlp.encode_int(self.max_fee_per_gas),
            rlp.encode_int(self.gas_limit),
            self.to or b"",
            rlp.encode_int(self.value),
            self.data,
            access_list,
        ]


@dataclass(frozen=True, slots=True)
class LegacyTransaction:
    """An unsigned legacy transaction with a chain id, for chains without EIP-1559.

    Args:
        chain_id: the only network on which a signature is valid, at least 1.
        nonce: the number of earlier transactions of the sender.
        gas_price: wei.
        gas_limit: gas.
        to: 20 bytes, or None to create a contract.
        value: wei.
        data: the call, or the creation code.

    Raises:
        FormatError: a value out of range or of another size.
    """

    chain_id: int
    nonce: int
    gas_price: int
    gas_limit: int
    to: bytes | None
    value: int
    data: bytes = b""

    def __post_init__(self) -> None:
        _in_range("chain id", self.chain_id, 1, (_UINT256 - _REPLAY_OFFSET - 1) // 2)
        _in_range("nonce", self.nonce, 0, _UINT64 - 1)
        _in_range("gas price", self.gas_price, 0, _UINT256)
        _in_range("gas limit", self.gas_limit, 0, _UINT64)
        _in_range("value", self.value, 0, _UINT256)
        if self.to is not None:
            _sized(self.to, 20, "recipient")

    @property
    def max_fee_per_gas(self) -> int:
        """The one price is both prices of EIP-1559."""
        return self.gas_price

    @property
    def max_priority_fee_per_gas(self) -> int:
        """As ``max_fee_per_gas``."""
        return self.gas_price

    def signing_hash(self) -> bytes:
        """The 32 bytes that the sender signs, which contain the chain id."""
        return keccak256(self._encoded(self.chain_id, 0, 0))

    def signed(self, signature: bytes) -> SignedTransaction:
        """Combine the transaction with its signature; arguments, result and errors as ``Eip1559Transaction.signed``."""
        sender = _recover(self.signing_hash(), _sized(signature, 65, "signature"))
        raw = self.raw(signature)
        return SignedTransaction(raw=raw, hash=keccak256(raw), transaction=self, sender=sender)

    def raw(self, signature: bytes) -> bytes:
        """The bytes of the transaction with that signature, which is not checked; ``signed`` checks it.

        Args:
            signature: 65 bytes, as for ``signed``.

        Raises:
            FormatError: another size.
        """
        _sized(signature, 65, "signature")
        v = 2 * self.chain_id + _REPLAY_OFFSET + signature[64]
        return self._encoded(v, int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"))

    def _encoded(self, v: int, r: int, s: int) -> bytes:
        before, after = (self.nonce, self.gas_price, self.gas_limit), (v, r, s)
        return rlp.encode(
            [
                *[rlp.encode_int(value) for value in before],
                self.to or b"",
                rlp.encode_int(self.value),
                self.data,
                *[rlp.encode_int(value) for value in after],
            ]
        )


UnsignedTransaction: TypeAlias = Eip1559Transaction | LegacyTransaction
"""A transaction of either kind, without its signature."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A signed transaction of either kind; ``signed`` of the unsigned one and ``decode_signed`` create it."""

    raw: bytes = field(repr=False)
    """The argument of ``eth_sendRawTransaction``."""
    hash: bytes
    """32 bytes, its id on the chain."""
    transaction: UnsignedTransaction
    sender: bytes
    """20 bytes, recovered from the signature."""


def decode_signed(raw: bytes) -> SignedTransaction:
    """Read a signed transaction and recover its sender.

    Args:
        raw: the envelope of EIP-2718 with type 2, or the RLP of a legacy transaction, as for
            ``eth_sendRawTransaction``. The first byte tells them apart.

    Raises:
        FormatError: another type, not the canonical encoding of its values, values out of range, a signature that EIP-2
            forbids, or a legacy one without a chain id, which every chain would accept.

    A signed transaction proves neither that it was sent nor that it is in a block.
    """
    if not raw:
        raise FormatError("EVM transaction: no bytes")
    if raw[0] >= _LISTS:
        return _decode_legacy(rlp.decode(raw))
    if raw[0] != _TYPE:
        raise FormatError(f"EVM transaction: transaction type {raw[0]} is not supported")
    return _decode_type_2(rlp.decode(raw[1:]))


def _decode_legacy(parts: RlpItem) -> SignedTransaction:
    if not isinstance(parts, list) or len(parts) != _LEGACY_FIELDS:
        raise FormatError("EVM transaction: a legacy transaction is a list of 9 parts")
    chain_id, parity = divmod(rlp.decode_int(parts[6]) - _REPLAY_OFFSET, 2)
    if chain_id < 1:
        raise FormatError("EVM transaction: a legacy signature without a chain id (EIP-155)")
    transaction = LegacyTransaction(
        chain_id=chain_id,
        nonce=rlp.decode_int(parts[0]),
        gas_price=rlp.decode_int(parts[1]),
        gas_limit=rlp.decode_int(parts[2]),
        to=_bytes(parts[3], "recipient") or None,
        value=rlp.decode_int(parts[4]),
        data=_bytes(parts[5], "data"),
    )
    r, s = (rlp.decode_int(part).to_bytes(32, "big") for part in parts[7:])
    return transaction.signed(r + s + bytes((parity,)))


def _decode_type_2(parts: RlpItem) -> SignedTransaction:
    if not isinstance(parts, list) or len(parts) != 12:
        raise FormatError("EVM transaction: a type 2 transaction is a list of 12 parts")
    to = _bytes(parts[5], "recipient")
    transaction = Eip1559Transaction(
        chain_id=rlp.decode_int(parts[0]),
        nonce=rlp.decode_int(parts[1]),
        max_priority_fee_per_gas=rlp.decode_int(parts[2]),
        max_fee_per_gas=rlp.decode_int(parts[3]),
        gas_limit=rlp.decode_int(parts[4]),
        to=to or None,
        value=rlp.decode_int(parts[6]),
        data=_bytes(parts[7], "data"),
        access_list=_access_list(parts[8]),
    )
    parity = rlp.decode_int(parts[9], max_bytes=1)
    r, s = (rlp.decode_int(part).to_bytes(32, "big") for part in parts[10:])
    return transaction.signed(r + s + bytes((parity,)))


def _access_list(item: RlpItem) -> AccessList:
    entries: list[tuple[bytes, tuple[bytes, ...]]] = []
    for entry in _list(item):
        match entry:
            case [bytes(address), list(keys)]:
                entries.append((address, tuple([_bytes(key, "storage key") for key in keys])))
            case _:
                raise FormatError("EVM transaction: a malformed access list")
    return tuple(entries)


def _recover(digest: bytes, signature: bytes) -> bytes:
    r, s, parity = (
        int.from_bytes(signature[:32], "big"),
        int.from_bytes(signature[32:64], "big"),
        signature[64],
    )
    if parity > 1:
        raise FormatError("EVM transaction: a recovery id other than 0 and 1")
    if not 0 < r < GROUP_ORDER_INT or not 0 < s <= GROUP_ORDER_INT // 2:
        raise FormatError("EVM transaction: a signature out of range (EIP-2 requires the lower s)")
    try:
        public_key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except ValueError as error:
        raise FormatError("EVM transaction: no key can have made this signature") from error
    return address_of_public_key(public_key.format(compressed=False))


def _in_range(what: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise FormatError(f"EVM transaction: {what} {value} is not in {lowest}..{highest}")


def _sized(value: bytes, size: int, what: str) -> bytes:
    if len(value) != size:
        raise FormatError(f"EVM transaction: {what} of {len(value)} bytes, expected {size}")
    return value


def _bytes(item: RlpItem, what: str) -> bytes:
    if not isinstance(item, bytes):
        raise FormatError(f"EVM transaction: {what} is a list")
    return item


def _list(item: RlpItem) -> list[RlpItem]:
    if not isinstance(item, list):
        raise FormatError("EVM transaction: the access list is not a list")
    return item
