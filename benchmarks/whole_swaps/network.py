"""Both parties of swaps on a running network: the taker in this process, the provider in its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from layer2 import Layer2Manager
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.local.parties import LocalProvider, taker_config
from whole_swaps.counting import RequestCounts, Requests

__all__ = ["AMOUNT", "NODES", "Effort", "Parties", "cpu_seconds", "node_addresses", "opened"]

AMOUNT: Final = 2_000
"""Satoshi of each swap and payment. It is above the dust limit, so that both nodes sign an HTLC."""
NODES: Final = ("BOB's node", "the taker's lnd", "the provider's lnd")
_PLACES: Final = 10_000
_ALL_MONEY: Final = 100_000_000
_CALL_MILLISECONDS: Final = 120_000
_COUNTED_PROVIDER: Final = Path(__file__).with_name("counted_provider.py")


@dataclass(frozen=True, slots=True)
class Effort:
    """The size of a run."""

    swaps: Mapping[int, int]
    """In a round, by concurrency."""
    payments: Mapping[int, int]
    """Of bare lnd in a round, by concurrency."""
    seconds: float
    """The longest round."""
    few: int
    """The concurrency with which the requests at the highest concurrency are compared."""
    waiting: int
    """The number of swaps that wait while memory is measured."""

    @property
    def most(self) -> int:
        """The highest concurrency."""
        return max(self.swaps)


@dataclass(frozen=True, slots=True)
class Parties:
    """A taker and a provider that run."""

    layers: Layer2Manager
    control: LocalNetworkControl
    process_ids: tuple[int, int]
    """The processes of taker and provider."""
    counts: tuple[RequestCounts, RequestCounts]

    @property
    def provider_process(self) -> int:
        """The provider's process."""
        return self.process_ids[1]

    def cpu_seconds(self) -> float:
        """The processor time of both processes."""
        return sum(map(cpu_seconds, self.process_ids))

    def requests(self) -> list[Requests]:
        """The requests of both processes to each of ``NODES``."""
        taker, provider = (counts.read() for counts in self.counts)
        return [one + other for one, other in zip(taker, provider, strict=True)]


@asynccontextmanager
async def opened(network: LocalNetwork, directory: Path, counts: RequestCounts) -> AsyncIterator[Parties]:
    """Start a provider and open a taker with new journals, without limits that 1,000 swaps would reach.

    Args:
        directory: for their files.
        counts: the counts of this process.
    """
    file = directory / "provider-requests"
    await asyncio.to_thread(directory.mkdir)
    addresses = node_addresses(network)
    provider_counts = RequestCounts(file, addresses)
    limits = {
        "max_open_swaps": _PLACES,
        "max_open_swaps_per_taker": _PLACES,
        "max_unfinished_swaps": _PLACES,
        "min_amount_sat": AMOUNT,
        # Else swaps would wait for a safe block from a sum on, and the benchmark would measure that wait.
        "safe_from_sat": _ALL_MONEY,
        "finalized_from_sat": _ALL_MONEY,
    }
    program = (str(_COUNTED_PROVIDER), str(file), ",".join(addresses))
    with LocalProvider(network, directory / "provider", program=program, **limits) as provider:
        config = taker_config(network, directory / "taker", (provider.table,))
        config = config.model_copy(update={"max_concurrency": _PLACES, "default_timeout_ms": _CALL_MILLISECONDS})
        async with aiohttp.ClientSession() as session, Layer2Manager(config) as layers:
            await layers.initialize_all_async()
            control = LocalNetworkControl(network.control_url, session)
            yield Parties(layers, control, (os.getpid(), provider.process_id), (counts, provider_counts))


def node_addresses(network: LocalNetwork) -> Sequence[str]:
    """``HOST:PORT`` of each of ``NODES``."""
    urls = [network.bob.rpc_url, network.taker.lightning.rest_url, network.provider.lightning.rest_url]
    return [f"{URL(url).host}:{URL(url).port}" for url in urls]


def cpu_seconds(process_id: int) -> float:
    """User and system time of a process. The fields follow the process's name, which may contain spaces."""
    numbers = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
