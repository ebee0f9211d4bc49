"""Fixtures for the simnet's own tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from layer2.local.accounts import START_WEI, LocalAccount
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.rpc import EvmRpcServer
from layer2.local.simnet.faults import FaultSwitch
from simnet.bob_client import BobClient, RunningBob
from simnet.rootstock_node import RunningRootstock, rootstock_node


@pytest.fixture
async def bob() -> AsyncIterator[RunningBob]:
    taker, stranger = (LocalAccount.from_seed(b"tests", name) for name in ("taker", "stranger"))
    clock, faults = SimClock.manual(1_800_000_000), FaultSwitch()
    node = EvmNode({taker.address: START_WEI}, clock)
    server = EvmRpcServer(node, EvmMethods(node, lambda: None), faults, clock)
    url = await server.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            yield RunningBob(node, clock, BobClient(url, session), faults, url, taker, stranger)
    finally:
        await server.stop()


@pytest.fixture
async def rootstock() -> AsyncIterator[RunningRootstock]:
    async with rootstock_node() as running:
        yield running
