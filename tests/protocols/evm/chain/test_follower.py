"""Following the chain without gaps or repetitions: reorganisations, long pauses, and heads that go back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from layer2.errors import BadAnswer
from layer2.local.simnet.evm.chain import BOB_CHAIN_ID
from layer2.model.transactions import Finality
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.chain.follower import ChainFollower, ChainStep
from layer2.protocols.evm.chain.heads import Heads, HeadWatcher
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock
from protocols.evm.bob_network import BobNetwork


class Following:
    """A follower of the network's node, and the chain that results from its steps."""

    def __init__(self, bob: BobNetwork, after: NodeBlock | None = None) -> None:
        self.rpc = JsonRpc(bob.url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
        self.node = EvmNode(self.rpc, "BOB")
        self.watcher = HeadWatcher(self.node, BOB_CHAIN_ID, 0.005)
        self.follower = ChainFollower(self.node, self.watcher, after)
        self.told: list[bytes] = [] if after is None else [after.hash]

    async def step(self) -> ChainStep:
        step = await asyncio.wait_for(self.follower.next(), 5)
        for removed in step.removed:
            assert self.told.pop() == removed.hash
        self.told += [block.hash for block in step.added]
        return step

    async def until(self, head: bytes) -> None:
        while not self.told or self.told[-1] != head:
            await self.step()

    async def aclose(self) -> None:
        await self.watcher.aclose()
        await self.rpc.aclose()


def hashes(bob: BobNetwork, first: int) -> list[bytes]:
    blocks = [bob.node.chain.block_by_number(number) for number in range(first, bob.node.chain.head.number + 1)]
    return [bytes(block.hash) for block in blocks if block is not None]


@pytest.fixture
async def following(bob: BobNetwork) -> AsyncIterator[Following]:
    made = Following(bob)
    yield made
    await made.aclose()


async def test_it_begins_with_the_newest_block_and_hands_out_each_later_one_once(
    bob: BobNetwork, following: Following
) -> None:
    first = bob.node.chain.head.number
    assert [block.number for block in (await following.step()).added] == [first]
    bob.node.mine(3)
    await following.until(hashes(bob, first)[-1])
    assert following.told == hashes(bob, first)


async def test_a_long_absence_is_made_up_for_in_parts(bob: BobNetwork, following: Following) -> None:
    first = bob.node.chain.head.number
    await following.step()
    bob.node.mine(150)
    steps = 0
    while following.told[-1] != hashes(bob, first)[-1]:
        assert len((await following.step()).added) <= 64
        steps += 1
    assert steps == 3
    assert following.told == hashes(bob, first)


@pytest.mark.parametrize("depth", [1, 2, 7, 20])
async def test_a_reorganisation_takes_back_exactly_the_blocks_that_went(
    bob: BobNetwork, following: Following, depth: int
) -> None:
    bob.node.set_finality(0, 0)
    first = bob.node.chain.head.number
    await following.step()
    bob.node.mine(25)
    await following.until(hashes(bob, first)[-1])
    bob.node.reorganise(depth, keep_transactions=True)
    step = await following.step()
    assert len(step.removed) == depth
    await following.until(hashes(bob, first)[-1])
    assert following.told == hashes(bob, first)


async def test_a_reorganisation_below_where_it_began_hands_out_the_whole_branch(
    bob: BobNetwork, following: Following
) -> None:
    bob.node.set_finality(0, 0)
    bob.node.mine(10)
    await following.step()
    bob.node.reorganise(5, keep_transactions=True)
    step = await following.step()
    assert len(step.removed) == 1
    assert [block.hash for block in step.added] == hashes(bob, step.removed[0].number - 4)


async def test_a_head_of_another_finality_is_reported_without_blocks(bob: BobNetwork, following: Following) -> None:
    bob.node.set_finality(0, 0)
    await following.step()
    bob.node.set_finality(1, 1)
    step = await following.step()
    assert (step.removed, step.added, step.heads.finalized.number) == ((), (), 1)


async def test_any_mix_of_blocks_and_reorganisations_is_reported_correctly(
    bob: BobNetwork, following: Following
) -> None:
    bob.node.set_finality(0, 0)
    first = bob.node.chain.head.number
    await following.step()
    chance = random.Random(7)
    for _ in range(40):
        above = bob.node.chain.head.number - first
        if above > 3 and chance.random() < 0.4:
            bob.node.reorganise(chance.randint(1, min(above - 1, 12)), keep_transactions=True)
        else:
            bob.node.mine(chance.randint(1, 4))
        if chance.random() < 0.7:
            await following.step()
    await following.until(hashes(bob, first)[-1])
    assert following.told == hashes(bob, first)


async def test_a_head_that_goes_back_for_a_moment_is_not_a_reorganisation(
    bob: BobNetwork, following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bob.node.chain.head.number
    await following.step()
    bob.node.mine(2)
    await following.until(hashes(bob, first)[-1])
    lagging = await following.node.block(first)
    assert lagging is not None
    read = following.watcher.read
    answers = 0

    async def lag_three_times() -> Heads:
        nonlocal answers
        answers += 1
        if answers == 3:
            bob.node.mine()
        heads = await read()
        return replace(heads, latest=lagging) if answers <= 3 else heads

    monkeypatch.setattr(following.watcher, "read", lag_three_times)
    step = await following.step()
    assert step.removed == ()
    assert [block.number for block in step.added] == [first + 3]


async def test_a_cancelled_wait_loses_no_block(bob: BobNetwork, following: Following) -> None:
    first = bob.node.chain.head.number
    await following.step()
    waiting = asyncio.create_task(following.follower.next())
    await asyncio.sleep(0)
    bob.node.mine(2)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await following.until(hashes(bob, first)[-1])
    assert following.told == hashes(bob, first)


async def test_blocks_that_do_not_follow_each_other_are_a_bad_answer(
    bob: BobNetwork, following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    await following.step()
    bob.node.mine(3)
    head = await following.node.head(Finality.LATEST)
    block = following.node.block

    async def another_branch(ref: object) -> NodeBlock | None:
        if ref == head.number - 1:
            return head
        return await block(ref)  # type: ignore[arg-type]  # a fake node

    monkeypatch.setattr(following.node, "block", another_branch)
    with pytest.raises(BadAnswer, match="do not follow each other"):
        await following.step()


async def test_another_chain_is_reported_as_an_error_and_not_as_a_reorganisation(bob: BobNetwork) -> None:
    elsewhere = NodeBlock(header=(await _head(bob)).header, hash=bytes(32))
    following = Following(bob, elsewhere)
    try:
        bob.node.mine()
        with pytest.raises(BadAnswer, match="none of the earlier blocks is on the node's chain"):
            await following.step()
    finally:
        await following.aclose()


async def _head(bob: BobNetwork) -> NodeBlock:
    following = Following(bob)
    try:
        return await following.node.head(Finality.LATEST)
    finally:
        await following.aclose()
