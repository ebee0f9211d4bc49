"""Calls, answers and the transfer event of ERC-20 tokens.

Source: EIP-20.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layer2.errors import FormatError
from layer2.formats.evm_abi import address_of_word, bool_of_word, encode_call, event_topic, uint256_of_word

__all__ = [
    "TransferEvent",
    "allowance_call",
    "approve_call",
    "balance_of_call",
    "decimals_call",
    "decode_accepted",
    "decode_decimals",
    "decode_uint256",
    "parse_transfer",
    "transfer_call",
    "transfer_from_call",
]

_TRANSFER = event_topic("Transfer(address,address,uint256)")


@dataclass(frozen=True, slots=True)
class TransferEvent:
    """A token said that it moved ``amount``; a token that charges a fee may have moved less."""

    token: bytes
    sender: bytes
    recipient: bytes
    amount: int


def transfer_call(recipient: bytes, amount: int) -> bytes:
    """Write the call that moves the sender's tokens; FormatError where an argument has another size."""
    return encode_call("transfer(address,uint256)", recipient, amount)


def transfer_from_call(owner: bytes, recipient: bytes, amount: int) -> bytes:
    """Write the call that moves tokens which the owner approved; FormatError where a size is wrong."""
    return encode_call("transferFrom(address,address,uint256)", owner, recipient, amount)


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


def parse_transfer(address: bytes, topics: Sequence[bytes], data: bytes) -> TransferEvent | None:
    """Read one log entry of a receipt.

    Args:
        address: 20 bytes, the token that emitted it.
        topics: 32 bytes each.
        data: the rest of the entry.

    Returns:
        The event, or None where it is another one: also an ERC-721 transfer, which has the same name and one
        more topic.

    Raises:
        FormatError: an ERC-20 transfer with words that are not addresses or an amount.
    """
    if len(topics) != 3 or topics[0] != _TRANSFER:
        return None
    return TransferEvent(
        token=address,
        sender=address_of_word(topics[1]),
        recipient=address_of_word(topics[2]),
        amount=uint256_of_word(data),
    )
