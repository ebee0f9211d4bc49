"""The rule for evidence from Bitcoin: one spend of one output, under one header with work.

The witness is under the header: it is in the commitment to witnesses of the coinbase, and the coinbase is in the
header's Merkle tree. So Bitcoin's consensus has judged it against the output that it spends, and the evidence shows
which output that is. Sources: BIP 34, BIP 141.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from layer2.contracts.bitcoin_htlc import BitcoinHtlc, Branch
from layer2.errors.base import FormatError, ProofRefused
from layer2.formats.bitcoin_block import BitcoinHeader, decode_header, root_of_path, witness_commitment
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxOut, decode_transaction, double_sha256
from layer2.legs.evidence import BitcoinSpendEvidence
from layer2.legs.shown import BlockRef, LegOutcome, LegShown, Shown

__all__ = ["IncludedSpend", "read_spend", "shown_of"]

_EASIEST: Final[Mapping[str, int]] = {
    "bc": (1 << 224) - 1,
    # Testnet's limit is mainnet's; signet has the same prefix.
    "tb": 0x0377_AE << 216,
    "bcrt": (1 << 255) - 1,
}
"""By prefix, the highest target that the network allows. Source: ``powLimit`` in Bitcoin Core's chainparams.cpp."""
_OP_1: Final = 0x51
_OP_16: Final = 0x60
_MAX_HEIGHT_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class IncludedSpend:
    """A transaction and the block under whose header it is, with its witness."""

    transaction: Transaction
    block: BlockRef
    headers: Sequence[BitcoinHeader]
    """The block's, and those after it."""


def shown_of(
    evidence: BitcoinSpendEvidence, htlc: BitcoinHtlc, amount: int, *, prefix: str, least_work: int | None
) -> LegShown:
    """Check that the evidence shows the end of an output with exactly this script and amount, and return what it shows.

    Args:
        amount: satoshi that the terms put into the output.
        prefix: the network's (BIP 173).
        least_work: the work that the headers must have together to show ``Shown.WORK``; None if no work is enough.

    Raises:
        ProofRefused: it shows something else, or nothing.

    Does not show that the header is in Bitcoin's best chain: inventing its headers costs the work that they have. If
    the payer funded the script twice, the return of the second output does not show that the first was returned.
    """
    included = read_spend(evidence, prefix)
    outcome = _outcome(evidence, included.transaction, htlc, amount)
    work = sum(each.work for each in included.headers)
    enough = least_work is not None and work >= least_work
    return LegShown(
        outcome=outcome,
        shown=frozenset({Shown.INCLUDED, Shown.WORK} if enough else {Shown.INCLUDED}),
        header=included.block,
        later=tuple([each.hash[::-1] for each in included.headers[1:]]),
        work=work,
    )


def read_spend(evidence: BitcoinSpendEvidence, prefix: str) -> IncludedSpend:
    """Follow the evidence from the headers to the transaction.

    Args:
        prefix: the network's (BIP 173).

    Raises:
        ProofRefused: ``header`` or ``inclusion``.

    Does not show that the header is in Bitcoin's best chain.
    """
    headers = _headers(evidence.headers, _EASIEST.get(prefix, 0))
    try:
        transaction, coinbase = decode_transaction(evidence.transaction), decode_transaction(evidence.coinbase)
        _check_inclusion(evidence, coinbase, headers[0])
        block = _block(_height(coinbase), headers[0])
    except FormatError as error:
        raise ProofRefused("inclusion", error.message) from error
    return IncludedSpend(transaction, block, headers)


def _block(height: int, header: BitcoinHeader) -> BlockRef:
    return BlockRef(height, header.hash[::-1], header.time)


def _headers(encoded: Sequence[bytes], easiest: int) -> list[BitcoinHeader]:
    """The block's header and those after it, each with the work that it states.

    Args:
        easiest: the highest target that the network allows.

    Raises:
        ProofRefused: ``header``.
    """
    try:
        headers = [decode_header(each) for each in encoded]
    except FormatError as error:
        raise ProofRefused("header", error.message) from error
    if not headers or not all(each.has_work for each in headers):
        raise ProofRefused("header", "there is no header, or one without the work that it states")
    if any(each.target > easiest for each in headers):
        raise ProofRefused("header", "a header states less work than the network of the terms allows")
    if any(later.parent != earlier.hash for earlier, later in pairwise(headers)):
        raise ProofRefused("header", "the headers are not a chain")
    return headers


def _check_inclusion(evidence: BitcoinSpendEvidence, coinbase: Transaction, header: BitcoinHeader) -> None:
    """Check that the transaction, with its witness, is under the header.

    CVE-2017-12842: 64 bytes can be a transaction or two hashes. The path of the coinbase has the tree's true length. It
    is not shorter, because a coinbase with a commitment has at least 100 bytes and an inner node has 64. It is not
    longer, because the block's coinbase would have to contain the hash of the invented one in its first 32 bytes, of
    which 28 are fixed. Both trees have one leaf for each transaction, so a path of the same length ends at a leaf.

    Raises:
        ProofRefused: ``inclusion``.
        FormatError: a path does not fit its index.
    """
    if len(evidence.witness_path) != len(evidence.coinbase_path):
        raise ProofRefused("inclusion", "the two Merkle paths have different lengths")
    if root_of_path(coinbase.hash, 0, evidence.coinbase_path) != header.merkle_root:
        raise ProofRefused("inclusion", "the coinbase is not under the header")
    committed = witness_commitment(coinbase)
    if committed is None:
        raise ProofRefused("inclusion", "the coinbase commits to no witnesses")
    if evidence.index == 0:
        raise ProofRefused("inclusion", "the block's first transaction is its coinbase")
    # The decoder accepts one encoding only, so these bytes are what the witness hash covers.
    root = root_of_path(double_sha256(evidence.transaction), evidence.index, evidence.witness_path)
    if double_sha256(root + committed[1]) != committed[0]:
        raise ProofRefused("inclusion", "the transaction's witness is not under the header")


def _outcome(evidence: BitcoinSpendEvidence, transaction: Transaction, htlc: BitcoinHtlc, amount: int) -> LegOutcome:
    if evidence.input >= len(transaction.inputs):
        raise ProofRefused("input", "the transaction has no such input")
    spent = _output(evidence.funding, transaction.inputs[evidence.input].prevout)
    if spent.script != htlc.program:
        raise ProofRefused("script", "the output has another script than that of the terms")
    witness = transaction.inputs[evidence.input].witness
    spending = htlc.spending(witness)
    if spending is None:
        raise ProofRefused("script", "the witness spends another script than that of the terms")
    if spent.amount != amount:
        raise ProofRefused("amount", "the output has another amount than that of the terms")
    # Consensus has judged the signatures against this script and amount, and the lock time. Only an invented block can
    # contain a witness that it would refuse, and nothing relies on an invented block: without a node or a trusted
    # header, the level of a leg says of its header at most that inventing it costs its work, whoever signs the spend.
    # An EVM leg's receipt does not contain its sender's signature either.
    branch, _ = spending
    return LegOutcome.COLLECTED if branch is Branch.CLAIM else LegOutcome.RETURNED


def _output(funding: bytes, outpoint: OutPoint) -> TxOut:
    """The output at an outpoint.

    Args:
        funding: the transaction that made it, without its witnesses.

    Consensus does not judge the witness of an output of a later witness version, so such a witness can be anything
    (BIP 141): what a witness shows depends on the output.

    The funding has no Merkle path. Its hash is in the outpoint, under which consensus found the output, and consensus
    calculates that hash from a transaction, never from two hashes of a tree: other bytes with this hash are a collision
    of SHA-256. So CVE-2017-12842 does not apply, and a transaction with the leg's output has at least 94 bytes, not 64.
    The same funding has one encoding: without witnesses, which are not in that hash, and with every length in its
    shortest form.

    Raises:
        ProofRefused: ``funding``.
    """
    if double_sha256(funding) != outpoint.tx_hash:
        raise ProofRefused("funding", "the input spends an output of another transaction than the funding")
    try:
        transaction = decode_transaction(funding)
    except FormatError as error:
        raise ProofRefused("funding", error.message) from error
    if transaction.stripped != funding:
        raise ProofRefused("funding", "the funding is given with witnesses")
    if outpoint.index >= len(transaction.outputs):
        raise ProofRefused("funding", "the funding has no such output")
    return transaction.outputs[outpoint.index]


def _height(coinbase: Transaction) -> int:
    """The block's height, with which the coinbase's script begins (BIP 34).

    Raises:
        FormatError: it begins with something else.
    """
    script = coinbase.inputs[0].script_sig
    first = script[0] if script else 0
    if _OP_1 <= first <= _OP_16:
        return first - _OP_1 + 1
    height = int.from_bytes(script[1 : 1 + first], "little")
    # The shortest form of a number above 16, with room for the sign.
    size = height.bit_length() // 8 + 1
    if not size == first <= _MAX_HEIGHT_SIZE or height <= _OP_16 - _OP_1 + 1 or len(script) <= size:
        raise FormatError("the coinbase does not state the block's height")
    return height
