"""The process that accepts swaps: it starts their workflows, and reads what workers did."""

from __future__ import annotations

import asyncio
import socket

import pytest

from layer2.config.sections import TemporalSection
from layer2.errors import NodeUnreachable, TaskCancelled
from layer2.legs.timelock_settings import REGTEST
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role
from layer2.swap_engine.turns import Turns
from layer2.workers import engine as engine_module
from layer2.workers.connection import Temporal
from layer2.workers.engine import WorkflowEngine
from swap_engine.two_parties import Scene
from swap_engine.virtual_time import VirtualClock, run
from swap_rules.example_terms import SWAP_ID


class FakeTemporal(Temporal):
    """A server that does not answer for a while."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.started: list[SwapId] = []
        self.news: list[SwapId] = []

    async def start(self, swap_id: SwapId, *, has_news: bool = False) -> None:
        await asyncio.sleep(0)
        if self.refusals:
            self.refusals -= 1
            raise NodeUnreachable("the Temporal server did not answer")
        (self.news if has_news else self.started).append(swap_id)


class Front:
    """A provider's front end, and the worker's turns on the same journal."""

    def __init__(self, scene: Scene, refusals: int = 0) -> None:
        self.scene, self.temporal = scene, FakeTemporal(refusals)
        self.seen: list[int] = []
        party = scene.provider
        self.own = Turns(party.journal, party.legs, None, REGTEST, VirtualClock(), lambda _: None)
        worker = party.journal.of_another_process()
        self.worker = Turns(worker, party.legs, None, REGTEST, VirtualClock(), lambda _: None)
        self.engine = WorkflowEngine(
            party.journal, self.temporal, self.own, lambda record: self.seen.append(record.version)
        )

    async def close(self) -> None:
        await self.engine.aclose()
        for turns in (self.own, self.worker):
            await turns.aclose()


def test_the_workflow_of_a_swap_is_started_as_soon_as_temporal_answers() -> None:
    async def story() -> None:
        front = Front(await Scene.to_lightning(), refusals=5)
        front.engine.drive(front.scene.provider.record)
        front.engine.drive(front.scene.provider.record)
        await asyncio.sleep(60)
        assert front.temporal.started == [SWAP_ID]
        assert front.seen == [1]
        await front.close()

    run(story())


def test_a_start_of_the_front_end_starts_the_workflow_of_every_open_swap() -> None:
    async def story() -> None:
        front = Front(await Scene.to_lightning())
        assert await front.engine.resume((Role.PROVIDER,)) == [SWAP_ID]
        await asyncio.sleep(1)
        assert front.temporal.started == [SWAP_ID]
        await front.close()

    run(story())


def test_the_workflow_of_an_open_swap_that_someone_ended_is_started_again() -> None:
    async def story() -> None:
        front = Front(await Scene.to_lightning())
        front.engine.drive(front.scene.provider.record)
        await front.engine.read(Role.PROVIDER)
        await asyncio.sleep(engine_module._START_AGAIN_SECONDS)
        assert front.temporal.started == [SWAP_ID]
        await front.engine.read(Role.PROVIDER)
        await asyncio.sleep(1)
        assert front.temporal.started == [SWAP_ID, SWAP_ID]
        await front.close()

    run(story())


def test_each_open_swap_has_a_turn_when_a_worker_is_gone() -> None:
    async def story() -> None:
        front = Front(await Scene.to_lightning())
        journal = front.scene.provider.journal
        front.engine.drive(front.scene.provider.record)
        for workers, news in (("ab", 0), ("ab", 0), ("abc", 0), ("bc", 1), ("bc", 1), ("", 2)):
            journal.live_workers = frozenset(workers)
            await front.engine.read(Role.PROVIDER)
            await asyncio.sleep(1)
            assert front.temporal.news == [SWAP_ID] * news
        assert front.temporal.started == [SWAP_ID]
        await front.close()

    run(story())


def test_a_swap_whose_front_end_was_killed_before_it_started_the_workflow_is_started_by_another() -> None:
    async def story() -> None:
        # The journal has the swap, and this front end did not accept it.
        front = Front(await Scene.to_lightning())
        for _ in range(2):
            await front.engine.read(Role.PROVIDER)
            await asyncio.sleep(engine_module._START_SECONDS / 3)
        assert front.temporal.started == []
        for _ in range(20):
            await front.engine.read(Role.PROVIDER)
            await asyncio.sleep(engine_module._START_SECONDS / 3)
        assert front.temporal.started == [SWAP_ID]
        await front.close()

    run(story())


def test_a_front_end_starts_no_workflow_for_a_swap_of_another_that_has_had_a_turn() -> None:
    async def story() -> None:
        front = Front(await Scene.to_lightning())
        await front.engine.read(Role.PROVIDER)
        await front.scene.taker.runner.resume()
        while front.scene.provider.record.version == 1:
            await front.worker.advance(SWAP_ID)
            await asyncio.sleep(0.1)
        for _ in range(2):
            await asyncio.sleep(engine_module._START_SECONDS)
            await front.engine.read(Role.PROVIDER)
        assert front.temporal.started == []
        await front.close()
        await front.scene.close()

    run(story())


def test_a_front_end_that_starts_does_not_start_each_workflow_twice() -> None:
    async def story() -> None:
        front = Front(await Scene.to_lightning())
        await front.engine.resume((Role.PROVIDER,))
        for _ in range(3):
            await front.engine.read(Role.PROVIDER)
            await asyncio.sleep(engine_module._START_SECONDS)
        assert front.temporal.started == [SWAP_ID]
        await front.close()

    run(story())


def test_what_workers_wrote_is_announced_and_the_end_frees_what_the_acceptance_reserved() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        front = Front(scene)
        reserved = scene.provider.layers[0].reserved
        reserved.add(scene.provider.record.payment_hash or b"")
        front.engine.drive(scene.provider.record)
        await scene.taker.runner.resume()
        while not scene.provider.record.is_final:
            await front.worker.advance(SWAP_ID)
            await front.engine.read(Role.PROVIDER)
            await asyncio.sleep(1)
        assert front.seen == sorted(set(front.seen))
        assert front.seen[-1] == scene.provider.record.version
        assert reserved == set()
        assert await front.engine.aclose() == ()
        await front.close()
        await scene.close()

    run(story())


def test_a_reader_sees_the_versions_of_workers_up_to_the_final_one() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        front = Front(scene)
        await scene.taker.runner.resume()

        async def work() -> None:
            while not (await front.worker.advance(SWAP_ID)).is_final:  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(engine_module.READ_SECONDS * 3)

        working = asyncio.ensure_future(work())
        seen = [record.version async for record in front.engine.watch(SWAP_ID)]
        await working
        assert seen == list(range(1, scene.provider.record.version + 1))
        await front.close()
        await scene.close()

    run(story())


def test_a_closed_engine_starts_nothing() -> None:
    async def story() -> None:
        front = Front(await Scene.to_lightning())
        await front.close()
        with pytest.raises(TaskCancelled):
            front.engine.drive(front.scene.provider.record)
        with pytest.raises(TaskCancelled):
            await front.engine.resume((Role.PROVIDER,))

    run(story())


async def test_a_temporal_server_that_is_down_is_named_in_one_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(NodeUnreachable, match=f"the Temporal server at {address} cannot be reached"):
        await Temporal.connect(TemporalSection(address=address))
