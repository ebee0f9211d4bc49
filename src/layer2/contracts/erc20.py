"""Calls to ERC-20 tokens and their answers.

Source: EIP-20.
"""

from __future__ import annotations

from layer2.errors import FormatError
from layer2.formats.evm_abi import bool_of_word, encode_call, uint256_of_word

__all__ = [
    "allowance_call",
    "approve_call",
    "balance_of_call",
    "decimals_call",
    "decode_accepted",
    "decode_decimals",
    "decode_uint256",
    "transfer_call",
]


def transfer_call(recipient: bytes, amount: int) -> bytes:
    """Write the call that moves the sender's tokens; FormatError where an argument has another size."""
    return encode_call("transfer(address,uint256)", recipient, amount)


def approve_call(spender: bytes, amount: int) -> bytes:
    """Write the call that lets ``spender`` take up to ``amount``; replaces what was approved before."""
    return encode_call("approve(address,uint256)", spender, amount)


def balance_of_call(owner: bytes) -> bytes:
    """Write the call that reads a balance; ``decode_uint256`` reads the answer."""
    return encode_call("balanceOf(address)", owner)


def allowance_call(owner: bytes, spender: bytes) -> bytes:
    """Write the call that reads how much ``spender`` may take; ``decode_uint256`` reads the answer."""
    return encode_call("allowance(address,address)", owner, spender)


def decimals_call() -> bytes:
    """Write the call that reads the token's decimals; ``decode_decimals`` reads the answer."""
    return encode_call("decimals()")


def decode_uint256(answer: bytes) -> int:
    """Read a balance or an allowance; FormatError where it is not one word."""
    return uint256_of_word(answer)


def decode_decimals(answer: bytes) -> int:
    """Read the answer to ``decimals_call``; FormatError where it is not one uint8."""
    decimals = uint256_of_word(answer)
    if decimals > 255:
        raise FormatError(f"ERC-20: {decimals} is not a number of decimals")
    return decimals


def decode_accepted(answer: bytes) -> bool:
    """Read what transfer or approve returned: a bool, or nothing, which older tokens mean as accepted.

    Raises:
        FormatError: something else. An address without code answers with nothing too: look for code first.
    """
    if not answer:
        return True
    return bool_of_word(answer)
