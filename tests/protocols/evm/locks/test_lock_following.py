"""A lock that is followed without a task: what is reported, and what may not be missed before it."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import BadAnswer, NodeUnreachable
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import LegState, LegView, Side, Verb
from layer2.model.transactions import Finality, Preimage
from layer2.ports.legs import HtlcLayer
from layer2.protocols import compact_map
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.chain.follower import ChainFollower
from layer2.protocols.evm.locks.events import FoundEvent, LockEvents
from protocols.evm.bob_network import BobNetwork, at
from protocols.leg_listeners import Noted

SECRET, OTHER = Preimage(bytes(range(32))), Preimage(bytes(32))
QUIET_SECONDS = 0.1


async def fund(client: BobClient, htlc: Htlc) -> None:
    await client.legs.perform(await client.legs.prepare(Verb.FUND, htlc))


async def followed(legs: HtlcLayer, htlc: Htlc, side: Side = Side.PAYEE) -> Noted:
    listener = Noted()
    view = await legs.observe(htlc, side)
    assert isinstance(htlc.leg, EvmLeg)
    at_time = legs.follow(htlc, side, view, listener)
    assert at_time is not None
    assert 0 <= htlc.leg.deadline - at_time <= 10
    return listener


async def reported(listener: Noted, *, changes: int = 0, misses: int = 0) -> None:
    async with asyncio.timeout(5):
        while listener.changes < changes or listener.misses < misses:  # noqa: ASYNC110 - the event is in another task
            await asyncio.sleep(0.005)
    await asyncio.sleep(QUIET_SECONDS)
    assert listener.heard == (changes, misses)


async def test_only_events_of_its_own_hash_and_their_finality_are_reported(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    assert provider.legs.can_follow
    listener = await followed(provider.legs, htlc)
    bob.node.mine(3)
    await fund(taker, bob.htlc(OTHER))
    await reported(listener)
    await fund(taker, htlc)
    await reported(listener, changes=1)
    bob.node.mine(2)
    # Its block is safe.
    await reported(listener, changes=2)
    bob.node.mine(2)
    await reported(listener, changes=3)
    provider.legs.unfollow(htlc.payment_hash, listener)
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    await reported(listener, changes=3)


async def test_a_reorganisation_of_the_lock_is_reported(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await fund(taker, htlc)
    listener = await followed(provider.legs, htlc)
    bob.node.reorganise(1, keep_transactions=False)
    await reported(listener, changes=1)


async def test_each_of_several_listeners_of_a_hash_hears_it(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    listeners = [await followed(provider.legs, htlc) for _ in range(3)]
    provider.legs.unfollow(htlc.payment_hash, listeners[1])
    provider.legs.unfollow(htlc.payment_hash, Noted())
    await fund(taker, htlc)
    await reported(listeners[0], changes=1)
    assert [each.changes for each in listeners] == [1, 0, 1]
    provider.legs.unfollow(htlc.payment_hash, listeners[0])
    provider.legs.unfollow(htlc.payment_hash, listeners[2])
    provider.legs.unfollow(htlc.payment_hash, listeners[2])


async def test_two_hashes_with_the_same_fingerprint_are_both_reported(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact_map, "hash", lambda key: 7, raising=False)
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    listener, other = await followed(provider.legs, htlc), await followed(provider.legs, bob.htlc(OTHER))
    await fund(taker, htlc)
    await reported(listener, changes=1)
    provider.legs.unfollow(bob.htlc(OTHER).payment_hash, other)
    bob.node.mine(2)
    await reported(listener, changes=2)


@pytest.mark.parametrize("moves", [0, 1, 2])
async def test_an_event_between_the_look_and_the_sleep_refuses_to_follow(bob: BobNetwork, moves: int) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await followed(provider.legs, bob.htlc(OTHER))
    view = await provider.legs.observe(htlc, Side.PAYEE)
    await fund(taker, htlc)
    for _ in range(moves):
        bob.node.mine()
    await asyncio.sleep(QUIET_SECONDS)
    assert provider.legs.follow(htlc, Side.PAYEE, view, Noted()) is None


async def test_an_event_between_the_first_look_and_the_first_sleep_is_reported(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    view, listener = await provider.legs.observe(htlc, Side.PAYEE), Noted()
    await fund(taker, htlc)
    # The client follows nothing yet: it begins at the heads of the observation.
    assert provider.legs.follow(htlc, Side.PAYEE, view, listener) is not None
    await reported(listener, changes=1)


async def test_only_the_last_observation_can_be_followed(bob: BobNetwork) -> None:
    provider, htlc = await bob.client("provider"), bob.htlc(SECRET)
    old = await provider.legs.observe(htlc, Side.PAYEE)
    bob.node.mine()
    # Another user of the client has observed it meanwhile.
    async with asyncio.timeout(5):
        while (view := await provider.legs.observe(htlc, Side.PAYEE)) is old:  # noqa: ASYNC110 - the event is in another task
            await asyncio.sleep(0.01)
    assert provider.legs.follow(htlc, Side.PAYEE, old, Noted()) is None
    assert provider.legs.follow(htlc, Side.PAYEE, view, Noted()) is not None
    # A leg that is followed keeps no observation.
    assert provider.legs.follow(htlc, Side.PAYEE, view, Noted()) is None


async def test_a_lock_whose_deadline_the_chain_has_reached_is_not_followed(bob: BobNetwork) -> None:
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    assert isinstance(htlc.leg, EvmLeg)
    bob.clock.advance(htlc.leg.deadline - bob.clock.now())
    bob.node.mine()
    view = await taker.legs.observe(htlc, Side.PAYER)
    assert taker.legs.follow(htlc, Side.PAYER, view, Noted()) is None


async def test_after_a_block_whose_events_could_not_be_read_all_may_have_missed_something(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)

    async def refused(*_: object) -> list[FoundEvent]:
        raise NodeUnreachable("too many requests")

    before: LegView = await provider.legs.observe(htlc, Side.PAYEE)
    listener = await followed(provider.legs, bob.htlc(OTHER))
    with monkeypatch.context() as patch:
        patch.setattr(LockEvents, "between", refused)
        await fund(taker, htlc)
        await reported(listener, misses=1)
    # An observation from before that block cannot be relied on.
    assert provider.legs.follow(htlc, Side.PAYEE, before, Noted()) is None
    # What happens later is reported: the listener is followed all the time.
    await fund(taker, bob.htlc(OTHER))
    await reported(listener, changes=1, misses=1)


async def test_an_outage_of_the_node_is_no_news_and_hides_none(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    listener = await followed(provider.legs, htlc)
    failures = 0

    async def down(_: ChainFollower) -> None:
        nonlocal failures
        failures += 1
        raise NodeUnreachable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(ChainFollower, "next", down)
        bob.node.mine()
        async with asyncio.timeout(5):
            while failures < 3:  # noqa: ASYNC110 - the event is in another task
                await asyncio.sleep(0.01)
        await fund(taker, htlc)
        await reported(listener)
    await reported(listener, changes=1)


async def test_another_chain_than_before_means_that_all_may_have_missed_something(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    listener = await followed(provider.legs, htlc)

    async def lost(_: ChainFollower) -> None:
        raise BadAnswer("none of the earlier blocks is on the node's chain", code="chain")

    with monkeypatch.context() as patch:
        patch.setattr(ChainFollower, "next", lost)
        bob.node.mine()
        async with asyncio.timeout(5):
            while not listener.misses:  # noqa: ASYNC110 - the event is in another task
                await asyncio.sleep(0.01)
    await asyncio.sleep(QUIET_SECONDS)
    misses = listener.misses
    await fund(taker, htlc)
    await reported(listener, changes=1, misses=misses)


async def test_a_fault_in_this_package_loses_no_swap(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provider, htlc = await bob.client("provider"), bob.htlc(SECRET)
    listener = await followed(provider.legs, htlc)

    async def broken(_: ChainFollower) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(ChainFollower, "next", broken)
        bob.node.mine()
        await reported(listener, misses=1)
    assert "no longer followed" in caplog.text
    assert (await provider.legs.observe(at(htlc, Finality.SAFE), Side.PAYEE)).state is LegState.NONE


async def test_a_client_that_follows_nothing_any_longer_asks_its_node_nothing(bob: BobNetwork) -> None:
    provider, htlc = await bob.client("provider"), bob.htlc(SECRET)
    listener = await followed(provider.legs, htlc)
    provider.legs.unfollow(htlc.payment_hash, listener)
    bob.node.mine()
    await asyncio.sleep(QUIET_SECONDS)
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    assert not any("LockNews" in name or "HeadWatcher" in name for name in names)
