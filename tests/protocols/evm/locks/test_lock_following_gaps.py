"""What a lock that is followed could miss: a branch that is read while it replaces another, and a view with a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from layer2.legs.evm import EvmLeg
from layer2.legs.views import LegState, Side, Verb
from layer2.model.transactions import Finality, Preimage
from layer2.protocols.evm.locks.act import EvmAct
from layer2.protocols.evm.locks.events import FoundEvent, LockEvents
from layer2.protocols.evm.locks.observation import Locks
from protocols.evm.bob_network import BobNetwork, at
from protocols.evm.locks.test_lock_following import followed, fund
from protocols.leg_listeners import Noted

SECRET, OTHER, THIRD = Preimage(bytes(range(32))), Preimage(bytes(32)), Preimage(bytes([1] * 32))


class Gate:
    """Holds calls of a method back until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def passed(self) -> None:
        self.reached.set()
        async with asyncio.timeout(5):
            await self.opened.wait()


async def test_a_lock_that_is_observed_while_a_branch_without_it_is_read_is_reported_as_gone(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a start: the first swap is followed, and the next one is observed at the same heads."""
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    await fund(taker, htlc)
    provider, other = await bob.client("provider"), await bob.client("provider")
    await followed(provider.legs, bob.htlc(OTHER))
    act = await other.legs.prepare(Verb.FUND, bob.htlc(THIRD, payer="provider", payee="taker"))
    branch = [signed.raw for signed in EvmAct.read(act).transactions]
    looking, reading = Gate(), Gate()
    events: LockEvents = provider.legs._parts.events
    first, between = events.first, events.between

    async def slow_first(*args: Any, **options: Any) -> FoundEvent | None:
        found = await first(*args, **options)
        await looking.passed()
        return found

    async def slow_between(*args: Any) -> Sequence[FoundEvent]:
        found = await between(*args)
        await reading.passed()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(events, "first", slow_first)
        patch.setattr(events, "between", slow_between)
        observing = asyncio.create_task(provider.legs.observe(htlc, Side.PAYEE))
        await looking.reached.wait()
        # The branch has an event of the contract, so that its events are read.
        bob.node.reorganise(1, keep_transactions=False, transactions=branch)
        async with asyncio.timeout(5):
            await reading.reached.wait()
        looking.opened.set()
        view, listener = await observing, Noted()
        assert view.state is LegState.FUNDED
        can_sleep = provider.legs.follow(htlc, Side.PAYEE, view, listener) is not None
        reading.opened.set()
        await asyncio.sleep(0.2)
    assert not can_sleep or listener.changes > 0


@pytest.mark.parametrize("gap", ["safe", "finalized"])
async def test_a_view_without_an_older_state_that_the_node_did_not_have_is_not_followed(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch, gap: str
) -> None:
    """A node behind a load balancer can lack a state once. No later news would end the sleep."""
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await fund(taker, htlc)
    if gap == "finalized":
        await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    bob.node.mine(6)
    wanted = at(htlc, Finality.SAFE)

    async def missing(*_: object) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(Locks, "_older_status", missing)
        view = await provider.legs.observe(wanted, Side.PAYEE)
    assert view.reason is not None
    listener = Noted()
    can_sleep = provider.legs.follow(wanted, Side.PAYEE, view, listener) is not None
    bob.node.mine(3)
    await asyncio.sleep(0.2)
    seen = await provider.legs.observe(wanted, Side.PAYEE)
    assert (seen.state, seen.final) != (view.state, view.final)
    assert not can_sleep or listener.changes > 0


async def test_the_time_to_wake_allows_for_a_chain_whose_clock_is_ahead(bob: BobNetwork) -> None:
    """A sequencer's clock may be half an hour ahead. A swap with a task has a turn when a block is at the deadline."""
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    assert isinstance(htlc.leg, EvmLeg)
    bob.node.advance_time(1_800)
    view, listener = await taker.legs.observe(htlc, Side.PAYER), Noted()
    ahead = view.clock.chain_time - bob.clock.now()
    assert ahead >= 1_800
    at_time = taker.legs.follow(htlc, Side.PAYER, view, listener)
    assert at_time is not None
    assert at_time + ahead <= htlc.leg.deadline
    taker.legs.unfollow(htlc.payment_hash, listener)
