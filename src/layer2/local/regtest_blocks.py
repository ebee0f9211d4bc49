"""Blocks of Bitcoin's regtest network, where anyone finds the work at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from layer2.formats.bitcoin_block import BitcoinBlock, BitcoinHeader, merkle_root
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxIn, TxOut, double_sha256
from layer2.formats.segwit_address import script_hash_program

__all__ = ["ANYONE", "ANYONE_WITNESS", "BITS", "made_block", "subsidy"]

ANYONE_WITNESS: Final = (b"\x51",)
"""The witness that spends ``ANYONE``: the script OP_TRUE."""
ANYONE: Final = script_hash_program(ANYONE_WITNESS[0])
"""The output script of block rewards: anyone can spend it without a key."""
BITS: Final = 0x207F_FFFF
"""The target of every block."""
_SUBSIDY: Final = 50 * 10**8
_HALVING: Final = 150
_VERSION: Final = 0x2000_0000
_RESERVED: Final = bytes(32)
_COMMITMENT_MARK: Final = bytes.fromhex("6a24aa21a9ed")


def subsidy(height: int) -> int:
    """What a block may create, in satoshi, beside the fees that it collects."""
    return _SUBSIDY >> height // _HALVING


def made_block(
    parent: bytes, height: int, time: int, transactions: Sequence[Transaction], *, reward: int, branch: int
) -> BitcoinBlock:
    """A block with work.

    Args:
        parent: the hash of the block before it.
        time: unix seconds.
        transactions: in this order, after the reward.
        reward: satoshi; at most the subsidy and the fees.
        branch: makes the rewards of two branches differ.
    """
    complete = (_coinbase(height, reward, transactions, branch), *transactions)
    header = BitcoinHeader(_VERSION, parent, merkle_root([each.hash for each in complete]), time, BITS, 0)
    while not header.has_work:
        header = replace(header, nonce=header.nonce + 1)
    return BitcoinBlock(header, complete)


def _coinbase(height: int, reward: int, transactions: Sequence[Transaction], branch: int) -> Transaction:
    """The reward's transaction, which commits to the witnesses (BIP 34, BIP 141)."""
    number = height.to_bytes((height.bit_length() + 8) // 8, "little")
    pushed = bytes([0x50 + height]) if height <= 16 else bytes([len(number)]) + number
    script = pushed + b"\x04" + branch.to_bytes(4, "big")
    root = merkle_root([bytes(32), *(each.witness_hash for each in transactions)])
    commitment = TxOut(0, _COMMITMENT_MARK + double_sha256(root + _RESERVED))
    source = TxIn(OutPoint(bytes(32), 0xFFFF_FFFF), 0xFFFF_FFFF, script, (_RESERVED,))
    return Transaction(2, (source,), (TxOut(reward, ANYONE), commitment), 0)
