"""Rootstock's receipts as blocks commit to them.

They have two fields more than Ethereum's: the gas of the transaction itself, and its status twice. All are legacy
receipts: Rootstock has no typed transactions (RSKIP-543 and RSKIP-546 are drafts).

Source: rskj 9, ``TransactionReceipt``.
"""

from __future__ import annotations

from layer2.errors.base import FormatError
from layer2.formats import rlp
from layer2.formats.evm_receipt import EvmReceipt, decode_receipt
from layer2.formats.rlp import RlpItem

__all__ = ["decode_rsk_receipt", "encode_rsk_receipt"]

_FIELDS = 6


def decode_rsk_receipt(data: bytes) -> EvmReceipt:
    """Read a receipt.

    Args:
        data: the value from the trie of receipts, as from ``rsk_getRawTransactionReceiptByHash``.

    Raises:
        FormatError: not the canonical encoding of a receipt, or its bloom does not match its logs; or a receipt with a
            state root, as before statuses existed.
    """
    items = rlp.decode(data)
    if not isinstance(items, list) or len(items) != _FIELDS:
        raise FormatError("Rootstock receipt: not a list of six fields")
    status, gas, bloom, logs, own_gas, status_again = items
    if status != status_again:
        raise FormatError("Rootstock receipt: a state root, or two different values of the status")
    receipt = decode_receipt(rlp.encode([status, gas, bloom, logs]))
    if rlp.decode_int(own_gas, max_bytes=8) > receipt.cumulative_gas_used:
        raise FormatError("Rootstock receipt: the transaction used more gas than the block")
    return receipt


def encode_rsk_receipt(receipt: EvmReceipt, gas_used: int) -> bytes:
    """Write the bytes that are a receipt's value in the trie of its block's receipts.

    Args:
        receipt: of type 0, as from ``receipt_from_rpc``.
        gas_used: by the transaction alone: ``gasUsed`` in the answer of the JSON-RPC.

    Raises:
        FormatError: a typed receipt, or more gas than in the block up to it.
    """
    if receipt.tx_type != 0:
        raise FormatError("Rootstock receipt: typed transactions do not exist there")
    if not 0 <= gas_used <= receipt.cumulative_gas_used:
        raise FormatError("Rootstock receipt: the transaction used more gas than the block")
    items = rlp.decode(receipt.encode())
    assert isinstance(items, list)
    own: list[RlpItem] = [rlp.encode_int(gas_used), items[0]]
    return rlp.encode([*items, *own])
