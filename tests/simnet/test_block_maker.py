"""The block maker makes blocks for arriving transactions and by its timer, unless it is switched off."""

from __future__ import annotations

import asyncio

from layer2.local.accounts import START_WEI, LocalAccount
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.block_maker import Automatic, BlockMaker
from layer2.local.simnet.evm.node import EvmNode
from simnet.bob_client import signed

_TAKER = LocalAccount.from_seed(b"tests", "taker")


class _WatchedNode(EvmNode):
    """A node that can wait until its chain reaches a height."""

    def __init__(self) -> None:
        super().__init__({_TAKER.address: START_WEI}, SimClock.manual(1_800_000_000))
        self._heights: asyncio.Queue[int] = asyncio.Queue()

    def mine(self, blocks: int = 1) -> int:
        height = super().mine(blocks)
        self._heights.put_nowait(height)
        return height

    async def reaches(self, height: int) -> None:
        async with asyncio.timeout(10):
            while await self._heights.get() < height:
                pass


async def test_transactions_that_arrive_together_share_a_block() -> None:
    node = _WatchedNode()
    maker = BlockMaker(node, Automatic(gather_seconds=0.0, every_seconds=None))
    for nonce in range(3):
        node.send(signed(_TAKER, nonce))
        maker.on_transaction()
    await node.reaches(1)
    assert len(node.chain.head.transactions) == 3
    await maker.stop()


async def test_a_transaction_that_cannot_be_executed_yet_causes_no_block() -> None:
    node = _WatchedNode()
    maker = BlockMaker(node, Automatic(gather_seconds=0.0, every_seconds=None))
    node.send(signed(_TAKER, 5))
    maker.on_transaction()
    node.send(signed(_TAKER, 0))
    maker.on_transaction()
    await node.reaches(1)
    assert node.chain.head.number == 1
    assert [transaction.nonce for transaction in node.chain.head.transactions] == [0]
    assert len(node.pool) == 1
    await maker.stop()


async def test_transactions_that_exceed_one_block_are_mined_in_several() -> None:
    node = _WatchedNode()
    maker = BlockMaker(node, Automatic(gather_seconds=0.0, every_seconds=None))
    for nonce in range(3):
        node.send(signed(_TAKER, nonce, gas=59_990_000))
    maker.on_transaction()
    await node.reaches(3)
    blocks = [node.chain.block_by_number(number) for number in (1, 2, 3)]
    assert [len(block.transactions) for block in blocks if block] == [1, 1, 1]
    await maker.stop()


async def test_the_timer_makes_blocks_without_transactions() -> None:
    node = _WatchedNode()
    maker = BlockMaker(node, Automatic(gather_seconds=None, every_seconds=0.001))
    maker.start()
    await node.reaches(6)
    await maker.stop()
    assert node.finalized_height >= 2


async def test_transactions_that_arrived_while_it_was_off_are_mined_when_it_is_switched_on() -> None:
    node = _WatchedNode()
    maker = BlockMaker(node, Automatic(gather_seconds=0.0, every_seconds=None))
    node.send(signed(_TAKER, 0))
    maker.on_transaction()
    maker.set_enabled(False)
    node.send(signed(_TAKER, 1))
    maker.on_transaction()
    # The event loop runs callbacks that are due before this one.
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, due.set)
    await due.wait()
    assert node.chain.head.number == 0
    maker.set_enabled(True)
    await node.reaches(1)
    assert len(node.chain.head.transactions) == 2
    await maker.stop()
