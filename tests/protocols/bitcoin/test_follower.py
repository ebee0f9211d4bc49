"""The follower finds what touches a script, once for all scripts, and notices reorganisations."""

from __future__ import annotations

import pytest

from layer2.formats.bitcoin_transaction import OutPoint, Transaction
from layer2.protocols.bitcoin.chain.follower import ChainFollower
from layer2.protocols.bitcoin.chain.outputs import outputs_of
from layer2.protocols.bitcoin.source.port import BlockId
from protocols.bitcoin.scripts import HTLC
from protocols.bitcoin.served_chain import esplora_of
from simnet.bitcoin.coins import REWARD, reward_of, spend, started_node

PROGRAM = HTLC.program
ANY_WORK = (1 << 256) - 1


async def test_payments_are_found_in_blocks_and_in_the_mempool() -> None:
    node = started_node()
    first = spend(reward_of(node), [100_000], script=PROGRAM)
    node.submit(first.encode())
    node.mine(1)
    async with esplora_of(node) as source:
        follower = ChainFollower(source, 0.0, ANY_WORK)
        follower.watch(PROGRAM, 100)
        state = await follower.read()
        assert state.tip == BlockId(111, node.chain.tip.block.header.hash)
        assert state.median_time == node.chain.median_time
        (output,) = outputs_of(PROGRAM, follower.located(PROGRAM))
        assert (output.amount, output.block, output.spend) == (100_000, state.tip, None)
        second = spend(reward_of(node, 2), [55_000], script=PROGRAM)
        node.submit(second.encode())
        await follower.read()
        outputs = outputs_of(PROGRAM, follower.located(PROGRAM))
        assert [(each.amount, each.block is None) for each in outputs] == [(100_000, False), (55_000, True)]
        node.mine(1)
        await follower.read()
        outputs = outputs_of(PROGRAM, follower.located(PROGRAM))
        assert [each.block is None for each in outputs] == [False, False]


async def test_a_reorganisation_removes_what_its_blocks_contained() -> None:
    node = started_node()
    made = spend(reward_of(node), [100_000], script=PROGRAM)
    node.submit(made.encode())
    node.mine(1)
    async with esplora_of(node) as source:
        follower = ChainFollower(source, 0.0, ANY_WORK)
        follower.watch(PROGRAM, 100)
        await follower.read()
        assert len(follower.located(PROGRAM)) == 1
        node.reorganise(1, False, [])
        state = await follower.read()
        assert state.tip.height == 112
        assert not follower.located(PROGRAM)
        node.reorganise(1, True, [made])
        await follower.read()
        (located,) = follower.located(PROGRAM)
        assert located.block == BlockId(112, node.chain.blocks[112].block.header.hash)


@pytest.mark.parametrize("depth", [11, 25, 30])
async def test_a_branch_that_is_older_than_what_is_known_is_read_again(depth: int) -> None:
    node = started_node(130)
    made = spend(reward_of(node), [100_000], script=PROGRAM)
    node.mine(1, [made])
    node.mine(2)
    async with esplora_of(node) as source:
        follower = ChainFollower(source, 0.0, ANY_WORK)
        follower.watch(PROGRAM, 100)
        await follower.read()
        node.reorganise(depth, True, [])
        node.mine(1)
        state = await follower.read()
        assert state.tip.hash == node.chain.tip.block.header.hash
        (located,) = follower.located(PROGRAM)
        assert located.block is not None
        assert located.block.height == node.chain.height


async def test_a_script_that_is_watched_later_is_searched_from_its_beginning() -> None:
    node = started_node()
    made = spend(reward_of(node), [100_000], script=PROGRAM)
    node.mine(1, [made])
    node.mine(5)
    async with esplora_of(node) as source:
        follower = ChainFollower(source, 0.0, ANY_WORK)
        await follower.read()
        follower.watch(PROGRAM, 105)
        await follower.read()
        assert len(follower.located(PROGRAM)) == 1
        follower.unwatch(PROGRAM)
        assert not follower.located(PROGRAM)


async def test_a_spend_in_the_same_block_is_found() -> None:
    node = started_node()
    paid = spend(reward_of(node), [100_000, REWARD - 200_000])
    child = spend(OutPoint(paid.hash, 0), [90_000])
    script = paid.outputs[0].script
    async with esplora_of(node) as source:
        follower = ChainFollower(source, 0.0, ANY_WORK)
        follower.watch(script, 111)
        await follower.read()
        node.mine(1, [paid, child])
        await follower.read()
        outputs = outputs_of(script, follower.located(script))
        spent = next(each for each in outputs if each.outpoint == OutPoint(paid.hash, 0))
        assert spent.spend is not None
        assert spent.spend.transaction == child


async def test_of_many_scripts_some_are_asked_for_in_each_reading_and_no_payment_is_missed() -> None:
    node = started_node()
    scripts = [b"\x00\x20" + number.to_bytes(32, "big") for number in range(120)]
    async with esplora_of(node) as source:
        asked: list[bytes] = []
        read_one = source._unconfirmed_of

        async def counted(script: bytes) -> list[Transaction]:
            asked.append(script)
            return await read_one(script)

        source._unconfirmed_of = counted  # type: ignore[method-assign]
        follower = ChainFollower(source, 0.0, ANY_WORK)
        for script in scripts:
            follower.watch(script, 111)
        paid = [spend(reward_of(node, number), [50_000], script=scripts[-number]) for number in (1, 2)]
        node.submit(paid[0].encode())
        for _ in range(3):
            asked.clear()
            await follower.read()
            assert len(set(asked)) == len(asked) == 50
            assert len(follower.located(scripts[-1])) <= 1
        node.submit(paid[1].encode())
        for _ in range(3):
            assert len(follower.located(scripts[-1])) == 1
            await follower.read()
        assert [[one.block is None for one in follower.located(each)] for each in scripts[-2:]] == [[True], [True]]
        node.mine(1)
        await follower.read()
        assert [[one.block is None for one in follower.located(each)] for each in scripts[-2:]] == [[False], [False]]
        await follower.aclose()


async def test_a_script_that_is_given_up_and_followed_again_during_a_reading_is_not_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = started_node()
    node.mine(1, [spend(reward_of(node), [100_000], script=PROGRAM)])
    async with esplora_of(node) as source:
        follower, read_block = ChainFollower(source, 0.0, ANY_WORK), source.block

        async def block(block_hash: bytes) -> bytes:
            if block_hash == node.chain.tip.block.header.hash:
                monkeypatch.undo()
                follower.unwatch(PROGRAM)
                follower.watch(PROGRAM, 100)
            return await read_block(block_hash)

        monkeypatch.setattr(source, "block", block)
        follower.watch(PROGRAM, 100)
        for _ in range(2):
            await follower.read()
        assert len(outputs_of(PROGRAM, follower.located(PROGRAM))) == 1


async def test_an_older_output_is_followed_from_the_moment_at_which_it_is_named() -> None:
    node = started_node()
    paid = spend(reward_of(node), [100_000])
    node.mine(1, [paid])
    node.mine(20)
    spent = spend(OutPoint(paid.hash, 0), [90_000], script=PROGRAM)
    node.mine(1, [spent])
    node.mine(1)
    async with esplora_of(node) as source:
        follower, script = ChainFollower(source, 0.0, ANY_WORK), paid.outputs[0].script
        for outpoint, times in ((None, 0), (OutPoint(paid.hash, 0), 1), (OutPoint(paid.hash, 0), 1)):
            follower.watch(script, 125, outpoint)
            await follower.read()
            assert [each.transaction for each in follower.located(script)].count(spent) == times
