"""Evidence of spends: creating it from a source's blocks, and checking whether the source's chain contains it."""

from __future__ import annotations

from layer2.errors import BadAnswer, FormatError, ProofRefused, ProofUndecided
from layer2.formats.bitcoin_block import HEADER_SIZE, decode_block, decode_header, merkle_path
from layer2.formats.bitcoin_transaction import Transaction, double_sha256
from layer2.legs.bitcoin_evidence import read_spend
from layer2.legs.evidence import BitcoinSpendEvidence
from layer2.protocols.bitcoin.chain.outputs import Spend
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.source.port import ChainSource

__all__ = ["is_canonical", "spend_evidence"]


async def is_canonical(source: ChainSource, evidence: BitcoinSpendEvidence, prefix: str, depth: int) -> bool:
    """Whether the source's chain contains the evidence's block, with at least ``depth`` confirmations.

    Args:
        prefix: the network's (BIP 173).

    Raises:
        NodeError: the source cannot be read.
        ProofUndecided: the block does not have the confirmations yet, or the source's chain does not reach it.

    It does not check whose output is spent: ``layer2.proofs`` compares it with signed terms.
    """
    try:
        block = read_spend(evidence, prefix).block
    except ProofRefused:
        return False
    tip = await source.tip()
    found = await source.block_hash(block.number) if block.number <= tip.height else None
    if found is None:
        raise ProofUndecided(f"the node's chain does not reach block {block.number} of the evidence")
    if found[::-1] != block.hash:
        return False
    confirmations = tip.height - block.number + 1
    if confirmations < depth:
        raise ProofUndecided(f"block {block.number} has {confirmations} confirmations, {depth} are needed")
    return True


async def spend_evidence(source: ChainSource, funding: Transaction, spend: Spend, depth: int) -> BitcoinSpendEvidence:
    """The evidence of a confirmed spend.

    Args:
        funding: the transaction that made the output.
        depth: how many headers it contains at most, the block's own one first.

    Raises:
        NodeError: the source cannot be read, or the transaction is not in the block that it named.
    """
    assert spend.block is not None
    raw = await source.block(spend.block.hash)
    try:
        block = decode_block(raw)
        hashes = [each.hash for each in block.transactions]
        index = hashes.index(spend.transaction.hash)
    except (FormatError, ValueError) as error:
        raise BadAnswer("the block of a transaction cannot be read", protocol=BITCOIN) from error
    newest = block.header.hash
    if newest != spend.block.hash:
        raise BadAnswer("the node gave another block than that of a transaction", protocol=BITCOIN)
    witness_hashes = [bytes(32), *(each.witness_hash for each in block.transactions[1:])]
    headers = [raw[:HEADER_SIZE]]
    for height in range(spend.block.height + 1, spend.block.height + depth):
        following = await source.block_hash(height)
        if following is None:
            break
        header = await source.header(following)
        if double_sha256(header) != following or decode_header(header).parent != newest:
            raise BadAnswer("the chain changed while it was read", protocol=BITCOIN, retryable=True)
        headers.append(header)
        newest = following
    return BitcoinSpendEvidence(
        headers=tuple(headers),
        funding=funding.stripped,
        # Its witness can differ from the one in the mempool.
        transaction=block.transactions[index].encode(),
        input=spend.index,
        index=index,
        witness_path=merkle_path(witness_hashes, index),
        coinbase=block.transactions[0].encode(),
        coinbase_path=merkle_path(hashes, 0),
    )
