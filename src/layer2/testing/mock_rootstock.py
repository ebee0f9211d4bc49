"""Rootstock for a mock manager: a block with one receipt, mined with a block of Bitcoin."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from layer2.formats import rlp, rsk_trie
from layer2.formats.bitcoin_block import BitcoinHeader
from layer2.formats.bitcoin_transaction import double_sha256
from layer2.formats.evm_receipt import EvmLog, EvmReceipt, bloom_of
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_receipt import encode_rsk_receipt
from layer2.legs.evidence import RootstockReceiptEvidence
from layer2.testing.mock import MOCK_BLOCK

__all__ = ["receipt_evidence"]

_GAS: Final = 100_000
_DIFFICULTY: Final = 3
_TARGET: Final = (1 << 256) // _DIFFICULTY
_REGTEST_BITS: Final = 0x207F_FFFF
_START: Final = b"\x01" * 55
_FIRST_BLOCK: Final = _START + b"\x80" + (8 * len(_START)).to_bytes(8, "big")
"""The first 64 bytes of a coinbase. They are a padded message, so its digest is the state of SHA-256 after them."""


def receipt_evidence(log: EvmLog, now: int) -> RootstockReceiptEvidence:
    """The evidence of a log in the only receipt of a block.

    Args:
        now: unix seconds of the block.
    """
    receipts = [encode_rsk_receipt(EvmReceipt(0, True, _GAS, bloom_of((log,)), (log,)), _GAS)]
    return RootstockReceiptEvidence(
        headers=(_mined(rsk_trie.trie_root(receipts), now),),
        transaction_index=0,
        receipt=receipts[0],
        receipt_proof=rsk_trie.prove(receipts, 0),
        log_index=0,
    )


def _mined(receipts_root: bytes, now: int) -> bytes:
    """A header in its full form."""
    parent = uncles = state_root = transactions_root = bytes(32)
    miner, bloom, nothing = bytes(20), bytes(256), b""
    number, gas_limit, gas_price = 1, 6_800_000, 60_000_000
    fields = [
        *(parent, uncles, miner, state_root, transactions_root, receipts_root, bloom),
        *(rlp.encode_int(each) for each in (_DIFFICULTY, number, gas_limit, _GAS, now)),
        *(nothing, nothing, rlp.encode_int(gas_price), nothing, nothing),
    ]
    tail = MOCK_BLOCK + b"RSKBLOCK:" + keccak256(rlp.encode([*fields]))
    root = double_sha256(_FIRST_BLOCK + tail)
    bitcoin = BitcoinHeader(4, bytes(32), root, now, _REGTEST_BITS, 0)
    while int.from_bytes(bitcoin.hash, "little") > _TARGET:
        bitcoin = replace(bitcoin, nonce=bitcoin.nonce + 1)
    coinbase = len(_FIRST_BLOCK).to_bytes(8, "big") + hashlib.sha256(_START).digest() + tail
    no_siblings = b""
    return rlp.encode([*fields, bitcoin.encode(), no_siblings, coinbase])
