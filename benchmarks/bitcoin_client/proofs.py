"""Claims signed, and evidence of claims verified: pure work on one core."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from coincurve import PrivateKey
from figures import Figure, alone
from load.rounds import Round, medians

from bitcoin_client.network import Effort
from layer2.contracts.bitcoin_htlc import BitcoinHtlc
from layer2.formats.bitcoin_block import BitcoinHeader, merkle_path, merkle_root
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxIn, TxOut, double_sha256
from layer2.legs.bitcoin_evidence import shown_of
from layer2.legs.evidence import BitcoinSpendEvidence
from layer2.model.transactions import Preimage
from layer2.protocols.bitcoin.htlc.spending import Held, SpendPrice, claim

__all__ = ["measure_claims", "measure_proofs"]

AMOUNT = 200_000
PREIMAGE = Preimage(bytes(range(32)))
PAYER, PAYEE, RELEASE = (PrivateKey(bytes([number]) * 32) for number in (1, 2, 3))
HTLC = BitcoinHtlc(
    PREIMAGE.payment_hash,
    payer=PAYER.public_key.format(),
    payee=PAYEE.public_key.format(),
    payee_release=RELEASE.public_key.format(),
    locktime=900_000,
)
TO = b"\x00\x14" + bytes(20)
FUNDING = Transaction(2, (TxIn(OutPoint(b"\x09" * 32, 1), 0),), (TxOut(AMOUNT, TO), TxOut(AMOUNT, HTLC.program)), 0)
HELD = Held(OutPoint(FUNDING.hash, 1), AMOUNT)
HEIGHT = 850_000
TRANSACTIONS = 2_000
"""In the block of the evidence."""
HEADERS = 6
EASY_BITS = 0x207F_FFFF
COMMITMENT = bytes.fromhex("6a24aa21a9ed")


async def measure_claims(effort: Effort) -> list[Figure]:
    """Measure claims from their parts to signed transactions."""
    rates = await medians(effort.rounds, {"ours": _round(lambda: _claimed() is not None, effort.seconds)})
    return [alone("claims made and signed", "claims/s", rates["ours"])]


async def measure_proofs(effort: Effort) -> list[Figure]:
    """Measure the check of a claim in a block of many transactions, under some headers."""
    evidence = _evidence()
    size = len(evidence.funding) + len(evidence.transaction) + len(evidence.coinbase) + 80 * len(evidence.headers)
    size += 32 * (len(evidence.witness_path) + len(evidence.coinbase_path))

    def verified() -> bool:
        return shown_of(evidence, HTLC, AMOUNT, prefix="bcrt", least_work=1).outcome is not None

    rates = await medians(effort.rounds, {"ours": _round(verified, effort.seconds)})
    what = f"of a block of {TRANSACTIONS:,} transactions, {HEADERS} headers, {size:,} bytes"
    return [alone(f"evidence of a claim verified, {what}", "proofs/s", rates["ours"])]


def _claimed() -> Transaction:
    return claim(HTLC, HELD, PREIMAGE, TO, SpendPrice(5_000), lambda digest: PAYEE.sign(digest, hasher=None))


def _evidence() -> BitcoinSpendEvidence:
    spend, place = _claimed(), TRANSACTIONS // 2
    others = [
        Transaction(2, (TxIn(OutPoint(number.to_bytes(32, "big"), 0), 0),), (TxOut(1, TO),), 0)
        for number in range(TRANSACTIONS)
    ]
    transactions = [*others[: place - 1], spend, *others[place:]]
    leaves = [bytes(32), *[each.witness_hash for each in transactions]]
    reserved = bytes(32)
    script = bytes([3]) + HEIGHT.to_bytes(3, "little") + b"\x04made"
    promise = COMMITMENT + double_sha256(merkle_root(leaves) + reserved)
    source = TxIn(OutPoint(bytes(32), 0xFFFF_FFFF), 0xFFFF_FFFF, script, (reserved,))
    coinbase = Transaction(2, (source,), (TxOut(0, promise),), 0)
    hashes = [coinbase.hash, *[each.hash for each in transactions]]
    headers = [_mined(bytes(32), merkle_root(hashes))]
    while len(headers) < HEADERS:
        headers.append(_mined(headers[-1].hash, bytes(32)))
    return BitcoinSpendEvidence(
        headers=tuple(each.encode() for each in headers),
        funding=FUNDING.stripped,
        transaction=spend.encode(),
        input=0,
        index=place,
        witness_path=merkle_path(leaves, place),
        coinbase=coinbase.encode(),
        coinbase_path=merkle_path(hashes, 0),
    )


def _mined(parent: bytes, root: bytes) -> BitcoinHeader:
    header = BitcoinHeader(0x2000_0000, parent, root, 1_790_000_000, EASY_BITS, 0)
    while not header.has_work:
        header = replace(header, nonce=header.nonce + 1)
    return header


def _round(work: Callable[[], bool], seconds: float) -> Round:
    async def measured() -> float:
        done, began = 0, time.perf_counter()
        while (taken := time.perf_counter() - began) < seconds:
            for _ in range(20):
                if not work():
                    raise SystemExit("a claim was not made, or not accepted")
            done += 20
        return done / taken

    return measured
