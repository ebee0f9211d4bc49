"""Permits: approvals that the owner signs and anyone can submit.

Sources: EIP-2612 (permit), EIP-712 (typed data).
"""

from __future__ import annotations

from dataclasses import dataclass

from layer2.errors.base import FormatError
from layer2.formats.evm_abi import encode_call, encode_words
from layer2.formats.keccak import keccak256

__all__ = ["Permit", "SignedPermit", "domain_separator"]

_DOMAIN = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_PERMIT = keccak256(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
_CALL = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"


def domain_separator(name: str, version: str, chain_id: int, token: bytes) -> bytes:
    """Compute the 32 bytes that bind a permit to one token on one chain.

    Args:
        name: the result of the token's ``name()``.
        version: the version of the token's domain, usually ``1``.
        chain_id: the chain's id.
        token: 20 bytes.

    Raises:
        FormatError: an argument has another size or range.
    """
    return keccak256(
        encode_words(_DOMAIN, keccak256(name.encode()), keccak256(version.encode()), chain_id, _address(token))
    )


@dataclass(frozen=True, slots=True)
class Permit:
    """An owner's permission: ``spender`` may take up to ``value``, if the permit is submitted by ``deadline``."""

    owner: bytes
    """20 bytes."""
    spender: bytes
    """20 bytes."""
    value: int
    """In the token's smallest unit."""
    nonce: int
    """The owner's nonce at the token; each submitted permit uses one."""
    deadline: int
    """The latest block time, in unix seconds, at which it can be submitted. The allowance itself does not expire."""

    def digest(self, separator: bytes) -> bytes:
        """The 32 bytes to sign; FormatError if a field or the separator has another size or range."""
        if len(separator) != 32:
            raise FormatError(f"EIP-712: a domain separator of {len(separator)} bytes")
        words = encode_words(
            _PERMIT, _address(self.owner), _address(self.spender), self.value, self.nonce, self.deadline
        )
        return keccak256(b"\x19\x01" + separator + keccak256(words))


@dataclass(frozen=True, slots=True)
class SignedPermit:
    """A permit with its owner's signature. Anyone who has it can submit it, once."""

    permit: Permit
    signature: bytes
    """r, s, recovery id: 65 bytes."""

    def call(self) -> bytes:
        """Encode the call to the token that submits it; anyone can send it."""
        permit, signature = self.permit, self.signature
        if len(signature) != 65 or signature[64] > 1:
            raise FormatError("EIP-2612: the signature is not r, s and a recovery id of 0 or 1")
        return encode_call(
            _CALL,
            permit.owner,
            permit.spender,
            permit.value,
            permit.deadline,
            27 + signature[64],
            signature[:32],
            signature[32:64],
        )


def _address(value: bytes) -> bytes:
    if len(value) != 20:
        raise FormatError(f"EIP-712: an address of {len(value)} bytes")
    return value
