"""Evidence from Bitcoin made with test keys: anyone who can sign and mine regtest blocks can make it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from coincurve import PrivateKey

from layer2.contracts.bitcoin_htlc import Branch
from layer2.formats.bitcoin_block import BitcoinHeader, merkle_path, merkle_root
from layer2.formats.bitcoin_transaction import (
    SIGHASH_ALL,
    SIGHASH_NONE_ANYONECANPAY,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    double_sha256,
    witness_sighash,
)
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evidence import BitcoinSpendEvidence, LightningPaymentEvidence
from layer2.model.transactions import Finality
from layer2.proofs.model import TransferProof
from layer2.terms.documents import Terms
from proofs import made_proofs as made

PAYER, PAYEE, PAYEE_RELEASE = (PrivateKey(bytes([number]) * 32) for number in (1, 2, 3))
AMOUNT = made.AMOUNT + made.FEE
LOCKTIME = 850_000
HEIGHT = 849_000
REGTEST_BITS = 0x207F_FFFF
MARK = bytes.fromhex("6a24aa21a9ed")
RESERVED = b"\x0b" * 32

LEG = BitcoinLeg(
    prefix="bcrt",
    amount=AMOUNT,
    payer=PAYER.public_key.format(),
    payee=PAYEE.public_key.format(),
    payee_release=PAYEE_RELEASE.public_key.format(),
    payment_hash=made.PREIMAGE.payment_hash,
    locktime=LOCKTIME,
    issued_height=HEIGHT - 100,
    depth=2,
    fee_floor=1_000,
    finality=Finality.SAFE,
)
HTLC = LEG.htlc


def funding(amount: int = AMOUNT, script: bytes = HTLC.program) -> Transaction:
    """A transaction whose second output is that of the leg, or another one.

    Args:
        amount: satoshi of the second output.
    """
    source = TxIn(OutPoint(b"\x09" * 32, 0), 0xFFFF_FFFD, witness=(b"\x03" * 71, b"\x04" * 33))
    return Transaction(2, (source,), (TxOut(30_000, b"\x51"), TxOut(amount, script)), 0)


FUNDING = funding()


def spend(
    branch: Branch = Branch.CLAIM,
    *,
    made_by: Transaction = FUNDING,
    kind: int = SIGHASH_ALL,
    outputs: int = 2,
) -> Transaction:
    """A transaction whose second input spends the output by a branch. The first input has a key's witness.

    Args:
        made_by: the transaction whose second output is spent.
        kind: the type of the signature of the party that spends.
        outputs: how many the transaction has.
    """
    inputs = (
        TxIn(OutPoint(b"\x08" * 32, 0), 0xFFFF_FFFD, witness=(b"\x01" * 71, b"\x02" * 33)),
        TxIn(OutPoint(made_by.hash, 1), 0xFFFF_FFFD),
    )
    paid = tuple([TxOut(40_000 + number, b"\x00\x14" + bytes([number]) * 20) for number in range(outputs)])
    made_so_far = Transaction(2, inputs, paid, LOCKTIME if branch is Branch.REFUND else 0)

    def signed(key: PrivateKey, type_: int) -> bytes:
        digest = witness_sighash(made_so_far, 1, HTLC.script, made_by.outputs[1].amount, type_)
        return key.sign(digest, hasher=None) + bytes([type_])

    match branch:
        case Branch.CLAIM:
            witness = HTLC.claim_witness(signed(PAYEE, kind), made.PREIMAGE.secret)
        case Branch.REFUND:
            witness = HTLC.refund_witness(signed(PAYER, kind))
        case Branch.RELEASE:
            witness = HTLC.release_witness(signed(PAYER, kind), signed(PAYEE_RELEASE, SIGHASH_NONE_ANYONECANPAY))
    return made_so_far.with_witness(1, witness)


def other(number: int) -> Transaction:
    """Another transaction of a block."""
    source = TxIn(OutPoint(bytes([number]) * 32, 0), 0xFFFF_FFFF, witness=(bytes([number]) * 64,))
    return Transaction(2, (source,), (TxOut(number, b"\x51"),), 0)


def commitment(leaves: Sequence[bytes], reserved: bytes = RESERVED) -> bytes:
    """The output script that commits to witness hashes, of which the first is zero (BIP 141)."""
    return MARK + double_sha256(merkle_root(leaves) + reserved)


def coinbase(
    scripts: Sequence[bytes],
    *,
    starts: bytes = bytes([3]) + HEIGHT.to_bytes(3, "little"),
    witness: tuple[bytes, ...] = (RESERVED,),
) -> Transaction:
    """A coinbase with these further output scripts.

    Args:
        starts: how its script begins, with the height (BIP 34).
    """
    source = TxIn(OutPoint(bytes(32), 0xFFFF_FFFF), 0xFFFF_FFFF, starts + b"\x04miner", witness)
    return Transaction(2, (source,), (TxOut(5_000_000_000, b"\x51"), *[TxOut(0, each) for each in scripts]), 0)


def mined(parent: bytes, root: bytes, bits: int = REGTEST_BITS) -> BitcoinHeader:
    """A header with work for an easy target."""
    header = BitcoinHeader(0x2000_0000, parent, root, made.BLOCK_TIME, bits, 0)
    while not header.has_work:
        header = replace(header, nonce=header.nonce + 1)
    return header


def chain(root: bytes, length: int = 3, bits: int = REGTEST_BITS) -> list[BitcoinHeader]:
    """A header over a root, and those after it."""
    headers = [mined(b"\x0c" * 32, root, bits)]
    while len(headers) < length:
        headers.append(mined(headers[-1].hash, bytes(32), bits))
    return headers


@dataclass(frozen=True, slots=True)
class Block:
    """A block whose leaves can be chosen freely."""

    coinbase: Transaction
    hashes: list[bytes]
    witness_hashes: list[bytes]
    headers: list[BitcoinHeader]

    def evidence(
        self, transaction: Transaction, index: int = 2, *, made_by: Transaction = FUNDING
    ) -> BitcoinSpendEvidence:
        """The evidence of the transaction at a place of the block.

        Args:
            made_by: the transaction whose output it spends.
        """
        return BitcoinSpendEvidence(
            headers=tuple([each.encode() for each in self.headers]),
            funding=made_by.stripped,
            transaction=transaction.encode(),
            input=1,
            index=index,
            witness_path=merkle_path(self.witness_hashes, index),
            coinbase=self.coinbase.encode(),
            coinbase_path=merkle_path(self.hashes, 0),
        )


def block_of(transactions: Sequence[Transaction], first: Transaction | None = None, bits: int = REGTEST_BITS) -> Block:
    """A block of a coinbase and these transactions.

    Args:
        first: another coinbase than the usual one.
    """
    witness_hashes = [bytes(32), *[each.witness_hash for each in transactions]]
    reward = coinbase([commitment(witness_hashes)]) if first is None else first
    hashes = [reward.hash, *[each.hash for each in transactions]]
    return Block(reward, hashes, witness_hashes, chain(merkle_root(hashes), bits=bits))


def evidence_of(
    transaction: Transaction, first: Transaction | None = None, *, made_by: Transaction = FUNDING
) -> BitcoinSpendEvidence:
    """The evidence of a transaction at place 2 of a block of five."""
    return block_of([other(1), transaction, other(2), other(3)], first).evidence(transaction, made_by=made_by)


def terms(leg: BitcoinLeg = LEG, **changes: Any) -> Terms:
    """Terms of a transfer from Bitcoin to Lightning."""
    return made.terms(leg, **changes)


def from_bitcoin(made_terms: Terms | None = None, evidence: BitcoinSpendEvidence | None = None) -> TransferProof:
    """A completed transfer from Bitcoin to Lightning."""
    return TransferProof(
        made.signed(terms() if made_terms is None else made_terms),
        evidence_of(spend()) if evidence is None else evidence,
        LightningPaymentEvidence(made.PREIMAGE),
    )
