"""Fixtures: a new pair of simulated Lightning nodes, and a scripted node with a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from layer2.net.client_settings import ConnectionPoolConfig
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import LightningNetwork
from memory_sends import MemorySends
from protocols.lightning.requests import Requests, count_requests
from protocols.lightning.scripted_lnd import ScriptedLnd, scripted
from protocols.lightning.world import World, running_world, settings_of


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        yield world


@pytest.fixture
async def lnd(world: World) -> AsyncIterator[ScriptedLnd]:
    async with scripted(world.nodes[0]) as lnd:
        yield lnd


@pytest.fixture
async def client(lnd: ScriptedLnd) -> AsyncIterator[LightningNetwork]:
    """A client of the scripted node. It uses the real clock, because the node's ``Date`` is this machine's."""
    settings = settings_of(lnd.node, connection_pool=ConnectionPoolConfig(max_response_bytes=1_000_000))
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
        yield client


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """The number of requests of all clients in this test."""
    return count_requests(monkeypatch)
