"""Calls to ERC-20 tokens and their answers.

Sources: EIP-20, EIP-2612 (nonces and domain of permits).
"""

from __future__ import annotations

from layer2.errors.base import FormatError
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
    """Encode a transfer of the sender's tokens. Raises: FormatError if an argument has a wrong size."""
    return encode_call("transfer(address,uint256)", recipient, amount)


def approve_call(spender: bytes, amount: int) -> bytes:
    """Encode the approval of ``spender`` to take up to ``amount``. It replaces the earlier allowance."""
    return encode_call("approve(address,uint256)", spender, amount)


def balance_of_call(owner: bytes) -> bytes:
    """Encode the call that reads a balance; ``decode_uint256`` decodes the answer."""
    return encode_call("balanceOf(address)", owner)


def allowance_call(owner: bytes, spender: bytes) -> bytes:
    """Encode the call that reads an allowance; ``decode_uint256`` decodes the answer."""
    return encode_call("allowance(address,address)", owner, spender)


def decimals_call() -> bytes:
    """Encode the call that reads the token's decimals; ``decode_decimals`` decodes the answer."""
    return encode_call("decimals()")


def name_call() -> bytes:
    """Encode the call that reads the token's name; ``decode_string`` decodes the answer."""
    return encode_call("name()")


def version_call() -> bytes:
    """Encode the call that reads the version of the token's domain; ``decode_string`` decodes the answer."""
    return encode_call("version()")


def nonces_call(owner: bytes) -> bytes:
    """Encode the call that reads the nonce of the owner's next permit; ``decode_uint256`` decodes the answer."""
    return encode_call("nonces(address)", owner)


def domain_separator_call() -> bytes:
    """Encode the call that reads the domain separator of the token's permits, 32 bytes."""
    return encode_call("DOMAIN_SEPARATOR()")


def decode_string(answer: bytes) -> str:
    """Decode a name or a version of at most 256 bytes. Do not trust a token's name.

    Raises:
        FormatError: the answer is not an ABI string, or is too long.
    """
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
    """Decode a balance or an allowance. Raises: FormatError if the answer is not 32 bytes."""
    return uint256_of_word(answer)


def decode_decimals(answer: bytes) -> int:
    """Decode the answer to ``decimals_call``. Raises: FormatError if it is not a uint8."""
    decimals = uint256_of_word(answer)
    if decimals > 255:
        raise FormatError(f"ERC-20: {decimals} is not a valid number of decimals")
    return decimals


def decode_accepted(answer: bytes) -> bool:
    """Decode the result of a transfer or an approval: a bool, or nothing, with which older tokens report success.

    Raises:
        FormatError: another answer. An address without code also returns nothing: check for code first.
    """
    if not answer:
        return True
    return bool_of_word(answer)
