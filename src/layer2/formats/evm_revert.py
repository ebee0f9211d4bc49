"""Why a call reverted: ``Error(string)``, ``Panic(uint256)``, and the custom errors of ERC-20 tokens.

Sources: the Solidity documentation, "Control structures, error handling"; ERC-6093. The HTLC contract reports its
reasons as ``Error(string)`` and defines no custom errors.
"""

from __future__ import annotations

from layer2.errors.base import FormatError
from layer2.formats.evm_abi import address_of_word, selector, split_words, uint256_of_word

__all__ = ["decode_revert"]

_ERROR = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")
_PANICS = {
    0x00: "raised by the compiler",
    0x01: "assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "not a value of the enum",
    0x22: "storage wrongly encoded",
    0x31: "pop of an empty array",
    0x32: "array index out of bounds",
    0x41: "out of memory",
    0x51: "call of an uninitialized function",
}
_TOKEN_ERRORS: dict[str, tuple[tuple[str, str], ...]] = {
    "ERC20InsufficientBalance": (("address", "sender"), ("uint256", "balance"), ("uint256", "needed")),
    "ERC20InvalidSender": (("address", "sender"),),
    "ERC20InvalidReceiver": (("address", "receiver"),),
    "ERC20InsufficientAllowance": (("address", "spender"), ("uint256", "allowance"), ("uint256", "needed")),
    "ERC20InvalidApprover": (("address", "approver"),),
    "ERC20InvalidSpender": (("address", "spender"),),
}
_BY_SELECTOR = {
    selector(f"{name}({','.join([kind for kind, _ in arguments])})"): (name, arguments)
    for name, arguments in _TOKEN_ERRORS.items()
}
_LONGEST_REASON = 256


def decode_revert(data: bytes) -> str:
    """Describe why a call reverted.

    Args:
        data: the call's return data.

    Returns:
        The text of ``Error(string)``, the meaning of ``Panic(uint256)``, the name and arguments of an ERC-6093 error,
        or else the selector and the length of the rest. The rest is not shown, because it may repeat the call's
        arguments. At most a few hundred characters, all printable. The contract chooses the reason, which proves
        nothing, so data of any form gives a text and no error is raised.
    """
    if not data:
        return "no reason given"
    name, rest = data[:4], data[4:]
    if len(name) < 4:
        return f"{len(data)} bytes that are not an error"
    if name == _ERROR:
        text = _text(rest)
        return f"malformed Error(string) of {len(rest)} bytes" if text is None else text or "no reason given"
    if name == _PANIC:
        if len(rest) != 32:
            return f"malformed Panic(uint256) of {len(rest)} bytes"
        number = int.from_bytes(rest, "big")
        return f"panic 0x{number:02x}: {_PANICS.get(number, 'unknown')}"
    if name in _BY_SELECTOR:
        return _token_error(*_BY_SELECTOR[name], rest)
    return f"custom error 0x{name.hex()} with {len(rest)} bytes"


def _text(rest: bytes) -> str | None:
    """The single string in the bytes, with unprintable characters replaced."""
    if len(rest) < 64 or int.from_bytes(rest[:32], "big") != 32:
        return None
    length = int.from_bytes(rest[32:64], "big")
    if length > len(rest) - 64:
        return None
    text = rest[64 : 64 + length].decode("utf-8", errors="replace")
    printable = "".join([sign if sign.isprintable() else "\ufffd" for sign in text[:_LONGEST_REASON]])
    return printable + ("..." if len(text) > _LONGEST_REASON else "")


def _token_error(name: str, arguments: tuple[tuple[str, str], ...], rest: bytes) -> str:
    try:
        words = split_words(rest, len(arguments))
        shown = [
            f"{argument} 0x{address_of_word(word).hex()}"
            if kind == "address"
            else f"{argument} {uint256_of_word(word)}"
            for word, (kind, argument) in zip(words, arguments, strict=True)
        ]
    except FormatError:
        return f"malformed {name} of {len(rest)} bytes"
    return f"{name}({', '.join(shown)})"
