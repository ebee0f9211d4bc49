"""Transfers with a provider whose swaps Temporal workers carry out, on a real Temporal server and PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from forked_simnet import running_simnet
from layer2 import Layer2Manager, TransferState
from layer2.journal.sql_journal import SqlJournal
from layer2.local.network import LocalNetwork
from layer2.model.transactions import SwapId
from layer2.ports.journal import Delivery, Role
from layer2.workers.connection import Temporal
from layer2.workers.history import SwapHistory
from layer2.workers.worker import WORKFLOW_RUNNER
from layer2.workers.workflow import SwapWorkflow
from networks.conftest import steering
from networks.mining import BitcoinMiner
from networks.parties import ProviderProcess
from networks.swaps import Swaps
from networks.waiting import until
from postgres_server import Server, server
from temporal_server import TemporalServer, temporal
from workers.worker_processes import Workers, connected, in_environment, shared_by_workers

__all__ = ["server", "temporal"]

BOTH = ("bob_to_lightning", "lightning_to_bob")
RECORDED: Final = Path(__file__).with_name("history.json")


@dataclass
class Deployment:
    """A provider: its front end, its workers and its journal."""

    network: LocalNetwork
    front: ProviderProcess
    workers: Workers

    async def stop_between_acts(self, name: str) -> None:
        """Stop a worker while no act is leaving: no other worker sends a payment that a stopped one may have sent."""

        async def is_stopped() -> bool:
            self.workers.signal(name, signal.SIGSTOP)
            intents = [each for _, *ones in (await self.acts()).values() for each in ones]
            if any(each.delivery is Delivery.LEAVING for each in intents):
                self.workers.signal(name, signal.SIGCONT)
                return False
            return True

        await until(is_stopped, f"{name} is stopped")

    async def all_ended(self) -> None:
        """Wait until every swap of the provider is final."""
        journal = await SqlJournal.open(self.workers.environment["LAYER2_JOURNAL__URL"])

        async def are_final() -> bool:
            return not await journal.open_versions(Role.PROVIDER)

        try:
            await until(are_final, "the swaps of the provider are final")
        finally:
            await journal.aclose()

    async def acts(self) -> Mapping[SwapId, Sequence[Any]]:
        """The version and the intents of every swap of the provider."""
        journal = await SqlJournal.open(self.workers.environment["LAYER2_JOURNAL__URL"])
        try:
            assert await journal.problems() == []
            records = await journal.list(role=Role.PROVIDER)
            return {each.swap_id: [each.version, *await journal.intents(each.swap_id)] for each in records}
        finally:
            await journal.aclose()


@pytest.fixture(scope="module")
def running(server: Server, temporal: TemporalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The provider's front end, without a worker."""
    directory = tmp_path_factory.mktemp("temporal")
    environment = shared_by_workers(server, temporal, directory.name)
    with running_simnet(directory / "network") as network:
        front = ProviderProcess(network, directory / "provider", options=("--engine", "temporal"))
        asyncio.run(connected(temporal))
        with in_environment(environment):
            front.start()
        yield Deployment(network, front, Workers(front.directory / "provider.toml", environment))
        front.kill()


@pytest.fixture
def deployment(running: Deployment) -> Iterator[Deployment]:
    """The same. Its workers end with the test."""
    yield running
    running.workers.kill()


@pytest_asyncio.fixture
async def swaps(deployment: Deployment, tmp_path: Path) -> AsyncIterator[Swaps]:
    async with steering(deployment.network) as control:
        yield Swaps(deployment.network, control, deployment.front, tmp_path, BitcoinMiner(control))


async def start(swaps: Swaps, layers: Layer2Manager, *directions: str) -> list[str]:
    """Start transfers; return their ids."""
    return [await swaps.begin(layers, direction) for direction in directions]


async def all_complete(layers: Layer2Manager, transfer_ids: Sequence[str]) -> None:
    await asyncio.gather(*(layers.wait_for_transfer_async(each) for each in transfer_ids))
    states: dict[str, TransferState] = {each.transfer_id: each.state for each in await layers.list_transfers_async()}
    assert [states[each] for each in transfer_ids] == [TransferState.COMPLETED] * len(transfer_ids)


async def test_transfers_complete_both_ways_and_their_histories_contain_public_ids_only(
    deployment: Deployment, swaps: Swaps, temporal: TemporalServer
) -> None:
    await deployment.workers.start("one")
    client = await connected(temporal)
    async with swaps.manager() as layers, swaps.quick_finality():
        transfer_ids = await start(swaps, layers, *BOTH)
        await all_complete(layers, transfer_ids)
    for transfer_id in transfer_ids:
        workflows = deployment.workers.workflows(client)
        handle = workflows.workflow(SwapId(transfer_id))
        await handle.result()
        history = await handle.fetch_history()
        values = list(payloads(json.loads(history.to_json())))
        shown = {"is_final", "wait_seconds", "has_begun"}
        assert {transfer_id} == {each for each in values if isinstance(each, str)}
        assert all(each.keys() == shown for each in values if isinstance(each, dict))
        assert all(isinstance(each, str | dict | bool) for each in values)
        assert os.uname().nodename not in history.to_json()
        await replayed(history)
        await check_history(deployment, "one", workflows, SwapId(transfer_id), values)


async def check_history(
    deployment: Deployment, worker: str, temporal: Temporal, swap_id: SwapId, values: Sequence[Any]
) -> None:
    """Check what is read of the history of a swap whose turns one worker had."""
    history = await SwapHistory.read(temporal, swap_id)
    assert {turn.worker for turn in history.turns} == {deployment.workers.identity(worker)}
    assert list(history.turns) == sorted(history.turns, key=lambda turn: turn.began)
    assert all(turn.began <= turn.ended for turn in history.turns)
    assert sorted(map(str, history.values)) == sorted(map(str, values))
    assert history.is_complete


def payloads(part: Any) -> Iterator[Any]:
    """Every value that a history contains."""
    if isinstance(part, list):
        for each in part:
            yield from payloads(each)
    elif isinstance(part, dict):
        if "metadata" in part and "data" in part:
            yield json.loads(base64.b64decode(part["data"]))
        for each in part.values():
            yield from payloads(each)


async def replayed(history: WorkflowHistory) -> None:
    """Run the workflow's code on a history; it raises if the code would have decided otherwise."""
    await Replayer(workflows=[SwapWorkflow], workflow_runner=WORKFLOW_RUNNER).replay_workflow(history)


async def test_a_history_that_an_earlier_version_recorded_replays() -> None:
    await replayed(WorkflowHistory.from_json("recorded", RECORDED.read_text()))


def test_turns_of_a_swap_that_has_begun_are_in_a_queue_of_their_own() -> None:
    events = json.loads(RECORDED.read_text())["events"]
    scheduled = [event.get("activityTaskScheduledEventAttributes") for event in events]
    queues = [each["taskQueue"]["name"] for each in scheduled if each is not None]
    begun = queues.index("temporal0-begun")
    assert queues == ["temporal0"] * begun + ["temporal0-begun"] * (len(queues) - begun)
    assert 0 < begun < len(queues)


async def test_when_one_of_three_workers_is_killed_the_others_complete_its_swaps(
    deployment: Deployment, swaps: Swaps
) -> None:
    names = ("first", "second", "third")
    await deployment.workers.start(*names)
    await swaps.hold_finality()
    async with swaps.manager() as layers:
        transfer_ids = await start(swaps, layers, *BOTH * 3)

        async def has_worked() -> bool:
            return all(deployment.workers.versions(name) for name in names)

        await until(has_worked, "every worker has had turns")
        deployment.workers.signal("first", signal.SIGKILL)
        async with swaps.quick_finality():
            await all_complete(layers, transfer_ids)
    acts = await deployment.acts()
    for swap_id in transfer_ids:
        payments = [intent for intent in acts[SwapId(swap_id)][1:] if intent.verb == "fund"]
        assert len(payments) == 1


async def test_a_worker_that_was_stopped_does_nothing_for_swaps_that_others_completed(
    deployment: Deployment, swaps: Swaps
) -> None:
    # Both before one stops: a worker that starts excludes those that have lost the guard.
    await deployment.workers.start("sleeper", "other")
    async with swaps.manager() as layers, swaps.quick_finality():
        transfer_ids = await start(swaps, layers, *BOTH)

        async def has_worked() -> bool:
            return deployment.workers.versions("sleeper") > 0

        await until(has_worked, "it is at work")
        await deployment.stop_between_acts("sleeper")
        try:
            await all_complete(layers, transfer_ids)
            await deployment.all_ended()
            before = await deployment.acts()
        finally:
            deployment.workers.signal("sleeper", signal.SIGCONT)
        # The one that wakes has turns again.
        deployment.workers.signal("other", signal.SIGKILL)
        await all_complete(layers, await start(swaps, layers, *BOTH))
    after = await deployment.acts()
    assert {swap_id: prepared(after[swap_id]) for swap_id in before} == {
        swap_id: prepared(acts) for swap_id, acts in before.items()
    }


def prepared(acts: Sequence[Any]) -> Sequence[Any]:
    """Without deliveries: the one that wakes may still learn how the act that it had begun to send ended."""
    version, *intents = acts
    return [version, *(replace(intent, delivery=Delivery.INTENDED) for intent in intents)]
