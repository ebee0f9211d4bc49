"""Fixtures that run every test here on both local networks: simnet, and devnet with real nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

import aiohttp
import pytest

from forked_simnet import running_simnet
from layer2.local import devnet
from layer2.local.network import LocalNetwork, LocalNetworkControl
from networks.mining import BitcoinMiner
from networks.parties import Clients, ProviderProcess, clients_of
from networks.recording import Recorder
from networks.swaps import Swaps


@contextmanager
def running(name: str, directory: Path) -> Iterator[LocalNetwork]:
    """A local network that ends with the block, and with this process."""
    if name == "simnet":
        with running_simnet(directory) as network:
            yield network
        return
    if (reason := devnet.why_unavailable()) is not None:
        # Only in CI: elsewhere these tests are skipped, and a line reports it.
        pytest.fail(reason)
    yield devnet.up(directory, with_parent=True)
    devnet.down(directory)


@asynccontextmanager
async def steering(network: LocalNetwork) -> AsyncIterator[LocalNetworkControl]:
    """The network's controls. Afterwards both chains make automatic blocks again."""
    async with aiohttp.ClientSession() as session:
        control = LocalNetworkControl(network.control_url, session)
        yield control
        for chain in network.chains:
            await control.set_finality(chain=chain)
            await control.set_automatic(True, chain=chain)
        if network.name == "simnet":
            for target in ("bob", "rootstock", "taker_lightning", "provider_lightning"):
                await control.fault(target, "none")


@pytest.fixture(scope="session", params=["simnet", pytest.param("devnet", marks=pytest.mark.devnet)])
def network_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def network(network_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A shared running network. Tests must not rely on its blocks or balances, and must not move its time."""
    with running(network_name, tmp_path_factory.mktemp(network_name)) as network:
        yield network


@pytest.fixture
def own_network(network_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network for one test, for irreversible changes: op-geth's clock cannot go back."""
    with running(network_name, tmp_path_factory.mktemp(f"own-{network_name}")) as network:
        yield network


@pytest.fixture
def recorder(request: pytest.FixtureRequest) -> Recorder:
    """What keeps proofs, in the directory of the option ``--record-proofs``."""
    given: str | None = request.config.getoption("record_proofs")
    return Recorder(None if given is None else Path(given))


@pytest.fixture
async def control(network: LocalNetwork) -> AsyncIterator[LocalNetworkControl]:
    async with steering(network) as control:
        yield control


@pytest.fixture
async def taker(network: LocalNetwork) -> AsyncIterator[Clients]:
    async with clients_of(network, network.taker) as clients:
        yield clients


@pytest.fixture
async def provider(network: LocalNetwork) -> AsyncIterator[Clients]:
    """The provider's clients, without a provider process."""
    async with clients_of(network, network.provider) as clients:
        yield clients


@pytest.fixture(scope="session")
def swap_network(network_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A running network that swap tests share. Other tests do not use it, because they would move its clocks ahead
    of this machine's or use the provider's accounts."""
    with running(network_name, tmp_path_factory.mktemp(f"swaps-{network_name}")) as network:
        yield network


@pytest.fixture(scope="session")
def provider_process(swap_network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    """The shared provider. A test may kill it; the next test restarts it."""
    process = ProviderProcess(swap_network, tmp_path_factory.mktemp("provider") / "files")
    yield process
    process.stop()


@pytest.fixture
async def swaps(
    swap_network: LocalNetwork, provider_process: ProviderProcess, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Swaps]:
    """A taker with a new journal, and the running provider."""
    _start(provider_process, request)
    async with _swapping(swap_network, provider_process, tmp_path, request) as swaps:
        yield swaps


@pytest.fixture
async def own_swaps(own_network: LocalNetwork, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Swaps]:
    """Taker and provider on a network for one test, which may move its time."""
    process = ProviderProcess(own_network, tmp_path / "provider")
    _start(process, request)
    try:
        async with _swapping(own_network, process, tmp_path, request) as swaps:
            yield swaps
    finally:
        process.kill()


def _start(provider: ProviderProcess, request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("starts_provider") is None:
        provider.start()


@asynccontextmanager
async def _swapping(
    network: LocalNetwork, provider: ProviderProcess, directory: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Swaps]:
    """Both parties, and blocks for the transactions of tests whose ``direction`` is over Bitcoin's chain."""
    uses_bitcoin = "bitcoin" in request.node.callspec.params.get("direction", "")
    async with steering(network) as control:
        miner = BitcoinMiner(control)
        async with miner.running() if uses_bitcoin else nullcontext():
            yield Swaps(network, control, provider, directory, miner, uses_bitcoin)
