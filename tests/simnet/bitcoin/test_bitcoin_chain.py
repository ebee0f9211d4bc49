"""simnet's blocks: what it makes is valid for Bitcoin Core, and what is not valid does not enter."""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path

import pbk
import pytest

from layer2.formats.bitcoin_block import decode_block
from layer2.formats.bitcoin_transaction import OutPoint
from layer2.local.simnet.bitcoin.chain import ANYONE, TransactionRefused
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.local.simnet.clock import SimClock
from simnet.bitcoin.coins import NOW, REWARD, reward_of, spend, started_node


def test_bitcoin_cores_code_accepts_every_block_and_every_reorganisation(tmp_path: Path) -> None:
    # Bitcoin Core refuses blocks that are more than two hours ahead of this machine's clock.
    node = BitcoinNode(SimClock.manual(int(time.time()) - 3_600))
    judge = pbk.load_chainman(tmp_path, pbk.ChainType.REGTEST)
    node.mine(110)
    parent = spend(reward_of(node), [REWARD - 20_000, 10_000])
    node.submit(parent.encode())
    node.submit(spend(OutPoint(parent.hash, 0), [REWARD - 30_000]).encode())
    node.mine(3)
    for block in node.chain.blocks[1:]:
        judge.process_block(pbk.Block(block.block.encode()))
    assert tip_of(judge) == (113, node.chain.tip.block.header.hash)
    node.reorganise(2, True, [spend(reward_of(node, 2), [REWARD - 5_000])])
    for block in node.chain.blocks[-3:]:
        judge.process_block(pbk.Block(block.block.encode()))
    assert tip_of(judge) == (114, node.chain.tip.block.header.hash)


def tip_of(judge: pbk.ChainstateManager) -> tuple[int, bytes]:
    chain = judge.get_active_chain()
    return chain.height, bytes(chain.block_tree_entries[chain.height].block_hash)


def test_a_block_is_read_as_it_was_made() -> None:
    node = started_node()
    node.submit(spend(reward_of(node), [REWARD - 10_000]).encode())
    node.mine(1)
    block = node.chain.tip
    assert decode_block(block.block.encode()) == block.block
    assert len(block.block.transactions) == 2
    assert block.block.transactions[0].outputs[0].amount == (REWARD >> 111 // 150) + 10_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amounts": [REWARD + 1]}, "bad-txns-in-belowout"),
        ({"amounts": [1_000], "locktime": 112}, "non-final"),
        ({"amounts": [1_000], "locktime": NOW + 10_000}, "non-final"),
    ],
)
def test_a_transaction_that_is_not_valid_is_refused(change: dict[str, object], reason: str) -> None:
    node = started_node()
    made = spend(reward_of(node), **change)  # type: ignore[arg-type]
    with pytest.raises(TransactionRefused, match=reason):
        node.mine(1, [made])
    assert node.chain.height == 110


def test_a_reward_is_spent_after_a_hundred_blocks() -> None:
    node = BitcoinNode(SimClock.manual(NOW))
    node.mine(100)
    made = spend(OutPoint(node.chain.blocks[1].block.transactions[0].hash, 0), [REWARD - 1_000])
    node.chain.disconnect()
    with pytest.raises(TransactionRefused, match="premature"):
        node.mine(1, [made])
    node.mine(1)
    node.mine(1, [made])
    assert made in node.chain.tip.block.transactions


def test_a_witness_that_does_not_satisfy_its_script_is_refused() -> None:
    node = started_node()
    made = spend(reward_of(node), [1_000]).with_witness(0, (b"\x00",))
    with pytest.raises(TransactionRefused, match="script"):
        node.submit(made.encode())


def test_a_reorganisation_returns_transactions_to_the_mempool_or_drops_them() -> None:
    node = started_node()
    made = spend(reward_of(node), [REWARD - 10_000])
    node.submit(made.encode())
    node.mine(2)
    node.reorganise(2, True, [])
    assert node.chain.height == 113
    assert [entry.transaction for entry in node.mempool.entries] == [made]
    node.mine(1)
    node.reorganise(1, False, [])
    assert node.find(made.hash) is None
    assert not node.mempool.entries


def test_a_conflicting_transaction_in_the_branch_removes_the_first_for_good() -> None:
    node = started_node()
    made = spend(reward_of(node), [REWARD - 10_000])
    other = spend(reward_of(node), [REWARD - 20_000])
    node.submit(made.encode())
    node.mine(1)
    node.reorganise(1, True, [other])
    assert node.find(made.hash) is None
    found = node.find(other.hash)
    assert found is not None
    assert found.block is not None


def test_the_median_time_lags_and_the_index_follows() -> None:
    node = started_node()
    times = [each.block.header.time for each in node.chain.blocks[-11:]]
    assert node.chain.median_time == sorted(times)[5]
    made = spend(reward_of(node), [REWARD - 10_000])
    node.submit(made.encode())
    assert node.history(sha256(ANYONE).digest())[0].transaction == made
    assert node.spender(reward_of(node)) is not None
