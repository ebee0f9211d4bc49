"""Bitcoin's chain for a mock manager: the keys of a party, and a block with the spend of an output."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from coincurve import PrivateKey

from layer2.formats.bitcoin_block import BitcoinHeader, merkle_path, merkle_root
from layer2.formats.bitcoin_transaction import (
    REPLACEABLE,
    SIGHASH_ALL,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    double_sha256,
    witness_sighash,
)
from layer2.formats.segwit_address import script_hash_program
from layer2.legs.bitcoin import BitcoinKeys, BitcoinLeg, BitcoinOffer
from layer2.legs.evidence import BitcoinSpendEvidence
from layer2.model.transactions import Finality, Preimage
from layer2.testing.mock import MOCK_BLOCK

__all__ = ["HEIGHT", "keys_of", "offer_of", "spend_evidence"]

HEIGHT: Final = 1
"""The newest block when terms are issued."""
_BEFORE_1: Final = 0x50
_FEE: Final = 300
_REWARD: Final = 5_000_000_000
_REGTEST_BITS: Final = 0x207F_FFFF
_RESERVED: Final = bytes(32)
_COMMITMENT_MARK: Final = bytes.fromhex("6a24aa21a9ed")
_TO_ANYONE: Final = script_hash_program(b"\x51")


def keys_of(key: PrivateKey) -> BitcoinKeys:
    """The keys of a party, the same for every swap. The first is that of its account."""
    release = PrivateKey(hashlib.sha256(key.secret + b" release").digest())
    return BitcoinKeys(key.public_key.format(), release.public_key.format())


def offer_of(key: PrivateKey) -> BitcoinOffer:
    """The offer of a party on regtest."""
    keys = keys_of(key)
    return BitcoinOffer("bcrt", keys.key, keys.release_key, 1_000, Finality.LATEST)


def spend_evidence(
    leg: BitcoinLeg, parties: Sequence[PrivateKey], preimage: Preimage | None, now: int
) -> BitcoinSpendEvidence:
    """The evidence that an output was claimed or refunded.

    Args:
        parties: the account keys of both parties.
        preimage: of a claim; None for a refund.
        now: unix seconds of the block.
    """
    funding = _funding(leg)
    spend = _spend(leg, OutPoint(funding.hash, 0), parties, preimage)
    witness_hashes = [bytes(32), spend.witness_hash]
    coinbase = _coinbase(leg.issued_height + 1, merkle_root(witness_hashes))
    hashes = [coinbase.hash, spend.hash]
    return BitcoinSpendEvidence(
        headers=(_mined(merkle_root(hashes), now).encode(),),
        funding=funding.stripped,
        transaction=spend.encode(),
        input=0,
        index=1,
        witness_path=merkle_path(witness_hashes, 1),
        coinbase=coinbase.encode(),
        coinbase_path=merkle_path(hashes, 0),
    )


def _funding(leg: BitcoinLeg) -> Transaction:
    source = TxIn(OutPoint(double_sha256(b"layer2.testing coin" + leg.payment_hash), 0), REPLACEABLE)
    return Transaction(2, (source,), (TxOut(leg.amount, leg.htlc.program),), 0)


def _spend(leg: BitcoinLeg, spent: OutPoint, parties: Sequence[PrivateKey], preimage: Preimage | None) -> Transaction:
    owner = leg.payer if preimage is None else leg.payee
    key = next(each for each in parties if each.public_key.format() == owner)
    unsigned = Transaction(
        version=2,
        inputs=(TxIn(spent, REPLACEABLE),),
        outputs=(TxOut(leg.amount - _FEE, _TO_ANYONE),),
        locktime=leg.locktime if preimage is None else 0,
    )
    digest = witness_sighash(unsigned, 0, leg.htlc.script, leg.amount, SIGHASH_ALL)
    signature = key.sign(digest, hasher=None) + bytes([SIGHASH_ALL])
    if preimage is None:
        return unsigned.with_witness(0, leg.htlc.refund_witness(signature))
    return unsigned.with_witness(0, leg.htlc.claim_witness(signature, preimage.secret))


def _coinbase(height: int, witness_root: bytes) -> Transaction:
    # BIP 34: the script begins with the height, here as one of the opcodes OP_1 to OP_16.
    source = TxIn(OutPoint(bytes(32), 0xFFFF_FFFF), 0xFFFF_FFFF, bytes([_BEFORE_1 + height]) + MOCK_BLOCK, (_RESERVED,))
    commitment = _COMMITMENT_MARK + double_sha256(witness_root + _RESERVED)
    return Transaction(2, (source,), (TxOut(_REWARD, _TO_ANYONE), TxOut(0, commitment)), 0)


def _mined(root: bytes, now: int) -> BitcoinHeader:
    header = BitcoinHeader(0x2000_0000, bytes(32), root, now, _REGTEST_BITS, 0)
    while not header.has_work:
        header = replace(header, nonce=header.nonce + 1)
    return header
