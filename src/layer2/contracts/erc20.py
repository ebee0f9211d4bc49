"""Calls to ERC-20 tokens and their answers.

Sources: EIP-20, EIP-2612 (nonces and domain of permits).
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
    "decode_string",
    "decode_uint256",
    "domain_separator_call",
    "name_call",
    "nonces_call",
    "transfer_call",
    "version_call",
]

_LONGEST_STRING = 256


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


def name_call() -> bytes:
    """Write the call that reads the token's name; ``decode_string`` reads the answer."""
    return encode_call("name()")


def version_call() -> bytes:
    """Write the call that reads the version of the token's domain; ``decode_string`` reads the answer."""
    return encode_call("version()")


def nonces_call(owner: bytes) -> bytes:
    """Write the call that reads the owner's next nonce of permits; ``decode_uint256`` reads the answer."""
    return encode_call("nonces(address)", owner)


def domain_separator_call() -> bytes:
    """Write the call that reads the 32 bytes which permits of this token are tied to."""
    return encode_call("DOMAIN_SEPARATOR()")


def decode_string(answer: bytes) -> str:
    """Read a name or a version, of at most 256 bytes; FormatError where it is no ABI string. Never trust a name."""
    if len(answer) < 64 or int.from_bytes(answer[:32], "big") != 32:
        raise FormatError("ABI: not a string")
    length = int.from_bytes(answer[32:64], "big")
    if length > _LONGEST_STRING or len(answer) != 64 + (length + 31) // 32 * 32:
        raise FormatError(f"ABI: a string of {length} bytes in {len(answer)}")
    try:
        return answer[64 : 64 + length].decode()
    except UnicodeDecodeError as error:
        raise FormatError("ABI: a string that is not UTF-8") from error


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
