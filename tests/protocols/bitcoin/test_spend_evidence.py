"""Evidence of a spend, made from a source's blocks and asked of a source again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from layer2.errors import BadAnswer, ProofRefused, ProofUndecided
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
from layer2.legs.bitcoin_evidence import read_spend, shown_of
from layer2.legs.shown import LegOutcome
from layer2.local.simnet.bitcoin.chain import ANYONE, TransactionRefused
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.protocols.bitcoin.chain.evidence import is_canonical, spend_evidence
from layer2.protocols.bitcoin.chain.outputs import Spend
from layer2.protocols.bitcoin.source.esplora import Esplora
from layer2.protocols.bitcoin.source.port import BlockId
from proofs import made_bitcoin as btc
from protocols.bitcoin.served_chain import esplora_of
from simnet.bitcoin.coins import REWARD, reward_of, spend, started_node

HTLC = replace(btc.HTLC, locktime=100)


@pytest.fixture
def node() -> BitcoinNode:
    return started_node()


@pytest.fixture
async def source(node: BitcoinNode) -> AsyncIterator[Esplora]:
    async with esplora_of(node) as made:
        yield made


def mined(node: BitcoinNode, blocks: int = 3) -> Spend:
    """A spend in a block with others, and the blocks after it."""
    spends = [spend(reward_of(node, height), [REWARD - 1_000]) for height in range(1, 6)]
    height = node.mine(1, spends)
    node.mine(blocks - 1)
    return Spend(spends[2], 0, BlockId(height, node.chain.blocks[height].block.header.hash))


def funding_of(node: BitcoinNode) -> Transaction:
    """The transaction whose output the spend takes."""
    return node.chain.blocks[3].block.transactions[0]


async def test_evidence_is_complete_and_canonical_at_the_depth_that_it_has(node: BitcoinNode, source: Esplora) -> None:
    found = mined(node)
    assert found.block is not None
    evidence = await spend_evidence(source, funding_of(node), found, 6)
    assert len(evidence.headers) == 3
    included = read_spend(evidence, "bcrt")
    assert included.transaction == found.transaction
    assert double_sha256(evidence.funding) == found.transaction.inputs[evidence.input].prevout.tx_hash
    assert (included.block.number, included.block.hash) == (found.block.height, found.block.hash[::-1])
    assert len((await spend_evidence(source, funding_of(node), found, 2)).headers) == 2
    assert await is_canonical(source, evidence, "bcrt", 3)
    with pytest.raises(ProofUndecided, match="3 confirmations"):
        await is_canonical(source, evidence, "bcrt", 4)


async def test_evidence_of_a_replaced_block_is_not_canonical(node: BitcoinNode, source: Esplora) -> None:
    evidence = await spend_evidence(source, funding_of(node), mined(node), 6)
    node.reorganise(3, True, [])
    assert not await is_canonical(source, evidence, "bcrt", 1)


async def test_a_node_that_has_not_reached_the_block_cannot_tell(node: BitcoinNode, source: Esplora) -> None:
    evidence = await spend_evidence(source, funding_of(node), mined(node), 6)
    async with esplora_of(started_node()) as behind:
        with pytest.raises(ProofUndecided, match="does not reach"):
            await is_canonical(behind, evidence, "bcrt", 1)


async def test_an_invented_transaction_under_a_real_header_is_not_canonical(node: BitcoinNode, source: Esplora) -> None:
    found = mined(node)
    evidence = await spend_evidence(source, funding_of(node), found, 6)
    invented = found.transaction.with_witness(0, (b"\x51", b"\x51"))
    assert not await is_canonical(source, replace(evidence, transaction=invented.encode()), "bcrt", 1)
    assert not await is_canonical(source, replace(evidence, headers=()), "bcrt", 1)
    assert not await is_canonical(source, evidence, "bc", 1)


async def test_the_witness_is_the_blocks_and_not_the_mempools(node: BitcoinNode, source: Esplora) -> None:
    found = mined(node)
    seen_before = replace(found, transaction=found.transaction.with_witness(0, (b"\x00", b"\x51")))
    evidence = await spend_evidence(source, funding_of(node), seen_before, 6)
    assert read_spend(evidence, "bcrt").transaction == found.transaction


def returned(made_by: Transaction) -> Transaction:
    """The payer's refund of the first output, signed over the amount of the leg."""
    source = TxIn(OutPoint(made_by.hash, 0), REPLACEABLE)
    unsigned = Transaction(2, (source,), (TxOut(btc.AMOUNT - 1_000, ANYONE),), HTLC.locktime)
    digest = witness_sighash(unsigned, 0, HTLC.script, btc.AMOUNT, SIGHASH_ALL)
    signature = btc.PAYER.sign(digest, hasher=None) + bytes([SIGHASH_ALL])
    return unsigned.with_witness(0, HTLC.refund_witness(signature))


@pytest.mark.parametrize(
    ("script", "amount", "check"),
    [
        (HTLC.program, btc.AMOUNT, None),
        (b"\x52" + HTLC.program[1:], btc.AMOUNT, "script"),
        (b"\x60" + HTLC.program[1:], btc.AMOUNT + 1, "script"),
    ],
    ids=["the leg's output", "witness version 2", "witness version 16"],
)
async def test_a_return_that_consensus_accepts_is_shown_only_of_the_legs_output(
    node: BitcoinNode, source: Esplora, script: bytes, amount: int, check: str | None
) -> None:
    funding = spend(reward_of(node), [amount, REWARD - amount - 1_000], script=script)
    node.mine(1, [funding])
    refund = returned(funding)
    height = node.mine(1, [refund])
    found = Spend(refund, 0, BlockId(height, node.chain.blocks[height].block.header.hash))
    evidence = await spend_evidence(source, funding, found, 6)
    assert await is_canonical(source, evidence, "bcrt", 1)
    if check is None:
        shown = shown_of(evidence, HTLC, btc.AMOUNT, prefix="bcrt", least_work=None)
        assert shown.outcome is LegOutcome.RETURNED
        return
    with pytest.raises(ProofRefused) as caught:
        shown_of(evidence, HTLC, btc.AMOUNT, prefix="bcrt", least_work=None)
    assert caught.value.check == check


async def test_consensus_accepts_no_return_of_the_legs_output_without_the_payers_signature(node: BitcoinNode) -> None:
    funding = spend(reward_of(node), [btc.AMOUNT, 1_000], script=HTLC.program)
    node.mine(1, [funding])
    refund = returned(funding)
    for forged in (replace(refund, locktime=HTLC.locktime - 1), refund.with_witness(0, HTLC.refund_witness(b""))):
        with pytest.raises(TransactionRefused, match="script"):
            node.mine(1, [forged])
    node.mine(1, [refund])


async def test_a_transaction_that_is_not_in_the_named_block_gives_no_evidence(
    node: BitcoinNode, source: Esplora
) -> None:
    found = mined(node)
    other: Transaction = replace(found.transaction, locktime=1)
    with pytest.raises(BadAnswer, match="cannot be read"):
        await spend_evidence(source, funding_of(node), replace(found, transaction=other), 6)


async def test_a_chain_that_changes_while_it_is_read_gives_no_evidence(
    node: BitcoinNode, source: Esplora, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = mined(node)
    assert found.block is not None
    # The source still serves the block that a branch has replaced.
    stale = node.chain.blocks[found.block.height].block.encode()

    async def served(block_hash: bytes) -> bytes:
        return stale

    node.reorganise(3, True, [])
    monkeypatch.setattr(source, "block", served)
    with pytest.raises(BadAnswer, match="changed") as caught:
        await spend_evidence(source, funding_of(node), found, 6)
    assert caught.value.retryable
    with pytest.raises(BadAnswer, match="another block"):
        await spend_evidence(source, funding_of(node), replace(found, block=BlockId(found.block.height, bytes(32))), 6)
