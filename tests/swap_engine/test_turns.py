"""Turns of one swap on several workers, which a scheduler outside them orders, as a workflow does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from layer2.errors import JournalError, NonceTaken
from layer2.legs.timelock_settings import REGTEST
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role
from layer2.swap_engine.turns import Turns
from swap_engine.faults import Fault
from swap_engine.test_faults import check_money
from swap_engine.test_workers import second_worker
from swap_engine.two_parties import PAIR_IDS, PAIRS, OnePreimage, Party, Scene
from swap_engine.virtual_time import VirtualClock, run
from swap_rules.example_terms import SWAP_ID

POLL = 60


class Worker:
    """A process of a party that has turns."""

    def __init__(self, party: Party, report: asyncio.Event) -> None:
        self.party = party
        self.turns = Turns(
            party.journal,
            party.legs,
            OnePreimage() if party.role is Role.TAKER else None,
            REGTEST,
            VirtualClock(),
            lambda _: report.set(),
            poll_seconds=POLL,
        )
        self.had = 0


class Workflow:
    """Orders the turns of a party's swap: each on the next worker."""

    def __init__(self, scene: Scene, party: Party, workers: int) -> None:
        self.news = asyncio.Event()
        parties = [party, *(second_worker(scene, party) for _ in range(workers - 1))]
        self.workers = [Worker(each, self.news) for each in parties]

    async def run(self) -> None:
        for worker in itertools.cycle(self.workers):
            self.news.clear()
            worker.had += 1
            turn = await worker.turns.advance(SWAP_ID)
            if turn.is_final:
                return
            try:
                async with asyncio.timeout(turn.wait_seconds):
                    await self.news.wait()
            except TimeoutError:
                pass

    async def close(self) -> None:
        for worker in self.workers:
            await worker.turns.aclose()


async def played(pair: tuple[str, str], workers: int) -> tuple[Scene, Sequence[Workflow]]:
    scene = await Scene.of(*pair)
    flows = [Workflow(scene, party, workers) for party in scene.parties]
    async with asyncio.timeout(12 * 3600):
        await asyncio.gather(*(flow.run() for flow in flows))
    for flow in flows:
        await flow.close()
    return scene, flows


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
def test_a_swap_whose_turns_are_on_several_workers_completes(pair: tuple[str, str], workers: int) -> None:
    async def story() -> None:
        scene, flows = await played(pair, workers)
        assert scene.states == ("completed", "completed")
        check_money(scene, "")
        for flow in flows:
            assert all(worker.had for worker in flow.workers)
            assert all(not worker.turns._waiting for worker in flow.workers)

    run(story())


def test_nothing_stays_reserved_on_the_workers_of_a_swap_that_has_ended() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        flows = [Workflow(scene, party, 3) for party in scene.parties]
        await asyncio.gather(*(flow.run() for flow in flows))
        # The other workers find it out when their last wait is over.
        await asyncio.sleep(21 * POLL)
        for worker in (each for flow in flows for each in flow.workers):
            assert not worker.turns._waiting
            assert [layer.reserved for layer in worker.party.layers] == [set(), set()]
        assert scene.world.listeners == []

    run(story())


def test_a_cancelled_caller_does_not_end_a_turn_and_the_next_caller_shares_it() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        worker = Worker(scene.taker, asyncio.Event())
        observes, may_continue = 0, asyncio.Event()

        async def slow(when: str, what: str) -> None:
            nonlocal observes
            await asyncio.sleep(0)
            if what == "observe":
                observes += 1
                await may_continue.wait()

        fault: Fault = slow
        scene.taker.on_fault(fault)
        first = asyncio.ensure_future(worker.turns.advance(SWAP_ID))
        await asyncio.sleep(1)
        first.cancel()
        second = asyncio.ensure_future(worker.turns.advance(SWAP_ID))
        await asyncio.sleep(1)
        may_continue.set()
        assert (await second).wait_seconds == 0
        assert observes == 2, "one of each leg"
        assert scene.taker.state == "funding"
        await worker.turns.aclose()

    run(story())


def test_a_turn_never_raises_and_names_a_time_even_if_the_journal_cannot_be_read() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        worker = Worker(scene.taker, asyncio.Event())
        turn = await worker.turns.advance(SwapId("ff" * 16))
        assert (turn.is_final, turn.wait_seconds > 0) == (False, True)

        async def full(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if what == "funding":
                raise JournalError("the disk is full")

        scene.taker.journal.fault = full
        waits = [(await worker.turns.advance(SWAP_ID)).wait_seconds for _ in range(4)]
        assert waits == [0.5, 1, 2, 4]
        await worker.turns.aclose()

    run(story())


def test_a_swap_whose_nonce_another_worker_took_has_its_next_turn_at_once() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        worker = Worker(scene.taker, asyncio.Event())

        async def taken(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if what == "funding":
                raise NonceTaken("another transaction has the nonce")

        scene.taker.journal.fault = taken
        assert [(await worker.turns.advance(SWAP_ID)).wait_seconds for _ in range(3)] == [0, 0, 0]
        await worker.turns.aclose()

    run(story())


def test_the_first_turn_of_a_new_swap_does_not_count_as_begun() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        worker = Worker(scene.provider, asyncio.Event())
        assert not (await worker.turns.advance(SWAP_ID)).has_begun
        taker = Worker(scene.taker, asyncio.Event())
        assert (await taker.turns.advance(SWAP_ID)).has_begun
        for each in (worker, taker):
            await each.turns.aclose()

    run(story())
