"""When a wait for a change of a lock ends: at its own events, their finality and its deadline, and at nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from layer2.errors import NodeUnreachable
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import LegState, LegView, Side, Verb
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.model.transactions import Finality, Preimage
from layer2.ports.legs import HtlcLayer
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.locks.events import FoundEvent, LockEvents
from protocols.evm.bob_network import BobNetwork, at

SECRET, OTHER = Preimage(bytes(range(32))), Preimage(bytes(32))
QUIET_SECONDS = 0.1
"""Twenty times the client's polling interval: an end of the wait would be visible by then."""


@asynccontextmanager
async def waiting(legs: HtlcLayer, htlc: Htlc, side: Side = Side.PAYER) -> AsyncIterator[asyncio.Task[None]]:
    view = await legs.observe(htlc, side)
    task = asyncio.create_task(legs.wait_for_change(htlc, view))
    await asyncio.sleep(QUIET_SECONDS)
    assert not task.done()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ends(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(5):
        await task


async def lasts(task: asyncio.Task[None]) -> None:
    await asyncio.sleep(QUIET_SECONDS)
    assert not task.done()


async def fund(client: BobClient, htlc: Htlc) -> None:
    await client.legs.perform(await client.legs.prepare(Verb.FUND, htlc))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods that the node is asked for from now on."""
    requests: list[str] = []
    answer = EvmMethods.answer

    def noted(methods: EvmMethods, method: str, arguments: list[object]) -> object:
        requests.append(method)
        return answer(methods, method, arguments)

    monkeypatch.setattr(EvmMethods, "answer", noted)
    return requests


async def test_a_wait_outlasts_blocks_and_locks_of_other_swaps(bob: BobNetwork) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    async with waiting(provider.legs, bob.htlc(SECRET), Side.PAYEE) as task:
        bob.node.mine(3)
        await fund(taker, bob.htlc(OTHER))
        await lasts(task)
        await fund(taker, bob.htlc(SECRET))
        await ends(task)


async def test_a_wait_ends_when_the_lock_is_claimed(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await fund(taker, htlc)
    async with waiting(taker.legs, htlc) as task:
        await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
        await ends(task)
    assert (await taker.legs.observe(htlc, Side.PAYER)).preimage == SECRET


async def test_a_wait_ends_when_the_block_of_the_lock_becomes_safe_and_when_it_becomes_final(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    async with waiting(provider.legs, at(htlc, Finality.SAFE), Side.PAYEE) as task:
        await fund(taker, htlc)
        await ends(task)
    async with waiting(provider.legs, at(htlc, Finality.SAFE), Side.PAYEE) as task:
        bob.node.mine()
        await lasts(task)
        bob.node.mine()
        await ends(task)
    assert (await provider.legs.observe(at(htlc, Finality.SAFE), Side.PAYEE)).state is LegState.FUNDED
    async with waiting(provider.legs, at(htlc, Finality.SAFE), Side.PAYEE) as task:
        bob.node.mine()
        await lasts(task)
        bob.node.mine()
        await ends(task)


async def test_the_finality_of_an_event_from_before_the_start_ends_a_wait(bob: BobNetwork) -> None:
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    await fund(taker, htlc)
    restarted = await bob.client("provider")
    async with waiting(restarted.legs, at(htlc, Finality.SAFE), Side.PAYEE) as task:
        bob.node.mine(2)
        await ends(task)


async def test_blocks_do_not_end_a_wait_on_a_lock_that_is_final(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await fund(taker, htlc)
    bob.node.mine(4)
    async with waiting(provider.legs, htlc, Side.PAYEE) as task:
        for _ in range(3):
            bob.node.mine()
            await lasts(task)


async def test_a_wait_ends_when_a_reorganisation_removes_the_lock(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await fund(taker, htlc)
    async with waiting(provider.legs, htlc, Side.PAYEE) as task:
        bob.node.reorganise(1, keep_transactions=False)
        await ends(task)
    assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.NONE


async def test_a_wait_ends_when_the_newest_and_when_the_final_block_reach_the_deadline(bob: BobNetwork) -> None:
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    assert isinstance(htlc.leg, EvmLeg)
    async with waiting(taker.legs, htlc) as task:
        bob.node.mine()
        await lasts(task)
        bob.clock.advance(htlc.leg.deadline - bob.clock.now())
        bob.node.mine()
        await ends(task)
    async with waiting(taker.legs, htlc) as task:
        bob.node.mine(3)
        await lasts(task)
        bob.node.mine()
        await ends(task)
    assert (await taker.legs.observe(htlc, Side.PAYER)).over


@pytest.mark.parametrize("moves", [0, 1, 2])
async def test_an_event_between_the_look_and_the_wait_ends_the_wait(bob: BobNetwork, moves: int) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    async with waiting(provider.legs, bob.htlc(OTHER), Side.PAYEE):
        view = await provider.legs.observe(htlc, Side.PAYEE)
        await fund(taker, htlc)
        for _ in range(moves):
            bob.node.mine()
        await asyncio.sleep(QUIET_SECONDS)
        await ends(asyncio.create_task(provider.legs.wait_for_change(htlc, view)))


async def test_the_first_wait_of_a_client_misses_nothing_either(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    view = await provider.legs.observe(htlc, Side.PAYEE)
    await fund(taker, htlc)
    await ends(asyncio.create_task(provider.legs.wait_for_change(htlc, view)))


async def test_a_wait_misses_nothing_that_happened_between_two_runs_of_the_task(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    async with waiting(provider.legs, bob.htlc(OTHER), Side.PAYEE):
        pass
    await asyncio.sleep(QUIET_SECONDS)
    view = await provider.legs.observe(htlc, Side.PAYEE)
    await fund(taker, htlc)
    # Another swap waits first, so the task starts after the lock.
    async with waiting(provider.legs, bob.htlc(OTHER), Side.PAYEE):
        await ends(asyncio.create_task(provider.legs.wait_for_change(htlc, view)))


async def test_a_wait_misses_no_event_of_a_block_whose_events_could_not_be_read(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)

    async def refused(*_: object) -> list[FoundEvent]:
        raise NodeUnreachable("too many requests")

    async with waiting(provider.legs, bob.htlc(OTHER), Side.PAYEE) as other:
        view = await provider.legs.observe(htlc, Side.PAYEE)
        with monkeypatch.context() as patch:
            patch.setattr(LockEvents, "between", refused)
            await fund(taker, htlc)
            await ends(other)
    async with waiting(provider.legs, bob.htlc(OTHER), Side.PAYEE):
        await ends(asyncio.create_task(provider.legs.wait_for_change(htlc, view)))


async def test_a_reorganisation_of_blocks_from_before_the_start_ends_a_wait(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await fund(taker, htlc)
    bob.node.mine()
    async with waiting(provider.legs, htlc, Side.PAYEE) as task:
        bob.node.reorganise(2, keep_transactions=False)
        await ends(task)
    assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.NONE


async def test_a_wait_on_heads_that_the_task_has_passed_does_not_spin(bob: BobNetwork) -> None:
    provider, htlc = await bob.client("provider"), bob.htlc(SECRET)
    async with waiting(provider.legs, bob.htlc(OTHER), Side.PAYEE):
        bob.node.mine(2)
        await asyncio.sleep(QUIET_SECONDS)
        # The node lags now: it shows a branch that ends below the last step.
        bob.node.reorganise(2, keep_transactions=True)
        view = await provider.legs.observe(htlc, Side.PAYEE)
        turns = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5 * QUIET_SECONDS):
                while True:
                    await provider.legs.wait_for_change(htlc, view)
                    view = await provider.legs.observe(htlc, Side.PAYEE)
                    turns += 1
        assert turns <= 3


async def test_a_hundred_waits_ask_the_node_no_more_than_one(bob: BobNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = await bob.client("provider", poll_interval_ms=20)

    async def asked_while_waiting(secrets: Sequence[Preimage]) -> int:
        htlcs = [bob.htlc(secret) for secret in secrets]
        views: Sequence[LegView] = [await provider.legs.observe(htlc, Side.PAYEE) for htlc in htlcs]
        tasks = [
            asyncio.create_task(provider.legs.wait_for_change(htlc, view))
            for htlc, view in zip(htlcs, views, strict=True)
        ]
        await asyncio.sleep(0)
        before = len(requests)
        for _ in range(3):
            bob.node.mine()
            await asyncio.sleep(QUIET_SECONDS)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(requests) - before

    requests = counted(monkeypatch)
    one = await asked_while_waiting([SECRET])
    many = await asked_while_waiting([Preimage(bytes([number] * 32)) for number in range(100)])
    assert 0 < many <= 1.5 * one


async def test_an_observation_at_the_same_heads_reads_no_state_again(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    await fund(taker, htlc)
    view = await taker.legs.observe(htlc, Side.PAYER)
    requests = counted(monkeypatch)
    assert await taker.legs.observe(htlc, Side.PAYER) == view
    assert "eth_call" not in requests
    assert (await taker.legs.observe(at(htlc, Finality.SAFE), Side.PAYER)).state is LegState.PENDING
    bob.node.mine(2)
    assert (await taker.legs.observe(at(htlc, Finality.SAFE), Side.PAYER)).state is LegState.FUNDED


async def test_closing_the_client_ends_a_wait_with_an_error(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    async with waiting(taker.legs, bob.htlc(SECRET)) as task:
        await taker.aclose()
        with pytest.raises(NodeUnreachable):
            await ends(task)
