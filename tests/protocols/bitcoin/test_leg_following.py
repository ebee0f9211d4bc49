"""A leg on Bitcoin that is followed without a task: what is reported, and what may not be missed before it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from layer2.errors import NodeUnreachable
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import LegState, LegView, Side, Verb
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.protocols.bitcoin.htlc.acts import Broadcast, read_act
from protocols.bitcoin.parties import BitcoinParty, two_parties
from protocols.bitcoin.scripts import PREIMAGE
from protocols.bitcoin.test_bitcoin_legs import htlc_of
from protocols.leg_listeners import Noted
from simnet.bitcoin.coins import started_node

QUIET_SECONDS = 0.2
"""Many times the client's polling interval: a report would be there by then."""


async def followed(party: BitcoinParty, htlc: Htlc, side: Side, state: LegState) -> Noted:
    """Follow the leg from an observation, as the runner does after a turn: again if the chain moved meanwhile."""
    assert party.legs.can_follow
    async with asyncio.timeout(5):
        while True:
            view, listener = await party.legs.observe(htlc, side), Noted()
            assert view.state is state
            if party.legs.follow(htlc, side, view, listener) is not None:
                return listener


async def reported(listener: Noted) -> None:
    """A change is reported; clear it."""
    async with asyncio.timeout(5):
        while not listener.changes:  # noqa: ASYNC110 - the event is in another task
            await asyncio.sleep(0.005)
    await asyncio.sleep(QUIET_SECONDS)
    listener.changes = 0
    assert listener.misses == 0


async def silent(listener: Noted) -> None:
    await asyncio.sleep(QUIET_SECONDS)
    assert listener.heard == (0, 0)


async def fund(payer: BitcoinParty, htlc: Htlc) -> None:
    await payer.legs.perform(await payer.legs.prepare(Verb.FUND, htlc))


async def funded(node: BitcoinNode, payer: BitcoinParty, payee: BitcoinParty, blocks: int = 60) -> Htlc:
    htlc = await htlc_of(payer, payee, node, blocks)
    await fund(payer, htlc)
    node.mine(2)
    return htlc


async def claim(payee: BitcoinParty, htlc: Htlc) -> None:
    """Claim the leg: only the mempool has the claim."""
    await payee.legs.perform(await payee.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))


async def test_a_funding_is_reported_to_its_payee_from_the_mempool_on_and_blocks_before_it_are_not() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        listener = await followed(provider, htlc, Side.PAYEE, LegState.NONE)
        node.mine(3)
        await silent(listener)
        await fund(taker, htlc)
        await reported(listener)
        # Its depth is not enough yet, so each block matters.
        node.mine(1)
        await reported(listener)
        provider.legs.unfollow(htlc.payment_hash, listener)
        listener = await followed(provider, htlc, Side.PAYEE, LegState.PENDING)
        node.mine(1)
        await reported(listener)
        provider.legs.unfollow(htlc.payment_hash, listener)
        listener = await followed(provider, htlc, Side.PAYEE, LegState.FUNDED)
        node.mine(3)
        await silent(listener)


async def test_a_preimage_is_reported_while_it_is_only_in_the_mempool() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        listener = await followed(taker, htlc, Side.PAYER, LegState.FUNDED)
        await claim(provider, htlc)
        await reported(listener)
        assert (await taker.legs.observe(htlc, Side.PAYER)).preimage == PREIMAGE


async def test_a_preimage_that_was_in_no_mempool_is_reported_with_its_block() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        made = read_act(await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
        assert isinstance(made, Broadcast)
        listener = await followed(taker, htlc, Side.PAYER, LegState.FUNDED)
        node.mine(1, [made.transaction])
        await reported(listener)
        assert (await taker.legs.observe(htlc, Side.PAYER)).preimage == PREIMAGE


async def test_every_block_is_reported_until_a_claim_is_final() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        await claim(provider, htlc)
        for _ in range(3):
            listener = await followed(taker, htlc, Side.PAYER, LegState.COLLECTED)
            node.mine(1)
            await reported(listener)
            taker.legs.unfollow(htlc.payment_hash, listener)


async def test_a_reorganisation_that_removes_the_funding_is_reported() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        listener = await followed(provider, htlc, Side.PAYEE, LegState.FUNDED)
        node.reorganise(2, False, ())
        await reported(listener)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is not LegState.FUNDED


@pytest.mark.parametrize("side", list(Side))
async def test_the_lock_time_is_reported(side: Side) -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider, blocks=10)
        party = taker if side is Side.PAYER else provider
        listener = await followed(party, htlc, side, LegState.FUNDED)
        assert isinstance(htlc.leg, BitcoinLeg)
        node.mine(htlc.leg.locktime - node.chain.height - 1)
        await silent(listener)
        node.mine(1)
        await reported(listener)


async def test_a_refund_in_the_mempool_is_reported_to_the_payee() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider, blocks=10)
        node.mine(10)
        listener = await followed(provider, htlc, Side.PAYEE, LegState.FUNDED)
        # From now on the two compete, and the payee may have to pay more.
        await taker.legs.perform(await taker.legs.prepare(Verb.RECLAIM, htlc))
        await reported(listener)


async def test_a_release_is_reported_to_the_payer() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        release = await provider.legs.prepare(Verb.RELEASE, htlc)
        listener = await followed(taker, htlc, Side.PAYER, LegState.FUNDED)
        # Nothing changes on the chain, so no reading would show it.
        await silent(listener)
        await taker.legs.take_release(htlc, release)
        await reported(listener)
        assert (await taker.legs.observe(htlc, Side.PAYER)).returnable


async def test_a_payer_whose_funding_is_not_there_has_a_turn_with_each_block() -> None:
    # Another spend of its coins becomes final after a number of blocks.
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        listener = await followed(taker, htlc, Side.PAYER, LegState.NONE)
        node.mine(1)
        await reported(listener)


async def test_a_change_between_the_look_and_the_sleep_refuses_to_follow() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        views: list[tuple[LegView, LegView]] = []
        for change in (lambda: claim(provider, htlc), lambda: asyncio.sleep(0, node.mine(1))):
            old = await taker.legs.observe(htlc, Side.PAYER)
            await change()
            # Another swap's turn reads the chain.
            async with asyncio.timeout(5):
                while (new := await taker.legs.observe(htlc, Side.PAYER)) == old:  # noqa: ASYNC110 - the event is in another task
                    await asyncio.sleep(0.005)
            views.append((old, new))
            assert taker.legs.follow(htlc, Side.PAYER, old, Noted()) is None
        assert taker.legs.follow(htlc, Side.PAYER, views[-1][1], Noted()) is not None


async def test_what_happens_between_the_look_and_the_next_reading_is_reported() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        view, listener = await taker.legs.observe(htlc, Side.PAYER), Noted()
        node_before = node.chain.height
        claiming = asyncio.create_task(claim(provider, htlc))
        assert taker.legs.follow(htlc, Side.PAYER, view, listener) is not None
        await claiming
        await reported(listener)
        assert node.chain.height == node_before


async def test_what_happens_while_the_node_is_down_is_reported_afterwards_and_its_failure_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        listener = await followed(taker, htlc, Side.PAYER, LegState.FUNDED)

        async def down() -> None:
            raise NodeUnreachable("the node is down")

        with monkeypatch.context() as broken:
            broken.setattr(taker.parts.source, "tip", down)
            await claim(provider, htlc)
            node.mine(4)
            await silent(listener)
        await reported(listener)
        assert (await taker.legs.observe(htlc, Side.PAYER)).preimage == PREIMAGE


async def test_a_fault_of_this_package_is_reported_as_missed_news(monkeypatch: pytest.MonkeyPatch) -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        listener = await followed(taker, htlc, Side.PAYER, LegState.FUNDED)

        async def faulty() -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(taker.parts.follower, "read", faulty)
        async with asyncio.timeout(5):
            while not listener.misses:  # noqa: ASYNC110 - the event is in another task
                await asyncio.sleep(0.005)


async def test_each_of_several_listeners_of_a_hash_hears_it_and_none_after_its_end() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        listeners = [await followed(taker, htlc, Side.PAYER, LegState.FUNDED) for _ in range(3)]
        taker.legs.unfollow(htlc.payment_hash, listeners[1])
        taker.legs.unfollow(htlc.payment_hash, Noted())
        await claim(provider, htlc)
        await reported(listeners[0])
        assert [each.changes > 0 for each in listeners] == [False, False, True]
        for listener in (listeners[0], listeners[2], listeners[2]):
            taker.legs.unfollow(htlc.payment_hash, listener)
        listeners[2].changes = 0
        node.mine(1)
        await silent(listeners[2])


async def test_nothing_is_read_once_no_leg_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        listener = await followed(taker, htlc, Side.PAYER, LegState.FUNDED)
        taker.legs.unfollow(htlc.payment_hash, listener)
        await asyncio.sleep(QUIET_SECONDS)
        reads: list[int] = []

        async def counted() -> None:
            reads.append(1)

        monkeypatch.setattr(taker.parts.follower, "read", counted)
        await asyncio.sleep(QUIET_SECONDS)
        assert reads == []


async def test_a_leg_of_another_output_is_not_reported() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(node, taker, provider)
        assert isinstance(htlc.leg, BitcoinLeg)
        other = replace(htlc, leg=replace(htlc.leg, locktime=htlc.leg.locktime + 1))
        listener = await followed(provider, other, Side.PAYEE, LegState.NONE)
        await claim(provider, htlc)
        node.mine(1)
        await silent(listener)
