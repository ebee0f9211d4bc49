"""One devnet for all tests here, where the nodes are built."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from layer2 import devnet
from layer2.devnet.json_rpc import JsonRpc
from layer2.local_network import LocalNetwork, LocalNetworkControl


@pytest.fixture(scope="session")
def built_nodes() -> None:
    """Skips where the nodes are not built, and fails there in CI, which must build them."""
    reason = devnet.why_unavailable()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def network(built_nodes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A running devnet, shared: a test takes its blocks, clock and balances as it finds them."""
    directory = tmp_path_factory.mktemp("devnet")
    yield devnet.up(directory, with_parent=True)
    devnet.down(directory)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def control(network: LocalNetwork, session: aiohttp.ClientSession) -> AsyncIterator[LocalNetworkControl]:
    """The controls, in their usual state again after the test."""
    control = LocalNetworkControl(network.control_url, session)
    yield control
    await control.set_finality()
    await control.set_automatic(True)


@pytest.fixture
def bob(network: LocalNetwork, session: aiohttp.ClientSession) -> JsonRpc:
    return JsonRpc("op-geth", network.bob_rpc_url, session)
