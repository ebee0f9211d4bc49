"""Partially signed transactions, version 2: one payment, to which a wallet adds its inputs and its change.

A PSBT of version 0 has to name the inputs, which only the paying wallet knows.

Sources: BIP 174, BIP 370.
"""

from __future__ import annotations

from typing import Final

from layer2.formats.bitcoin_transaction import compact_size

__all__ = ["payment"]

_MAGIC: Final = b"psbt\xff"
_TX_VERSION, _INPUT_COUNT, _OUTPUT_COUNT, _TX_MODIFIABLE, _VERSION = 0x02, 0x04, 0x05, 0x06, 0xFB
_OUT_WITNESS_SCRIPT, _OUT_AMOUNT, _OUT_SCRIPT = 0x01, 0x03, 0x04
_INPUTS_AND_OUTPUTS: Final = 0b11
"""Both may be added."""
_SEPARATOR: Final = b"\x00"


def payment(script: bytes, amount: int, witness_script: bytes) -> bytes:
    """The PSBT of a payment without inputs.

    Args:
        script: the output script.
        amount: satoshi.
        witness_script: the script that ``script`` commits to (P2WSH).
    """
    top = {
        _TX_VERSION: (2).to_bytes(4, "little"),
        _INPUT_COUNT: compact_size(0),
        _OUTPUT_COUNT: compact_size(1),
        _TX_MODIFIABLE: bytes([_INPUTS_AND_OUTPUTS]),
        _VERSION: (2).to_bytes(4, "little"),
    }
    output = {_OUT_WITNESS_SCRIPT: witness_script, _OUT_AMOUNT: amount.to_bytes(8, "little"), _OUT_SCRIPT: script}
    return _MAGIC + _map(top) + _map(output)


def _map(entries: dict[int, bytes]) -> bytes:
    made = [compact_size(1) + bytes([key]) + compact_size(len(value)) + value for key, value in entries.items()]
    return b"".join(made) + _SEPARATOR
