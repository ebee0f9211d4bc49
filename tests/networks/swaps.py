"""A taker with its configuration, and the provider in its own process, on one running network."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layer2 import BTC, ETH, Layer2Config, Layer2Manager, Layer2ProtocolType, TransferState
from layer2.errors import UnknownTransfer
from layer2.local_network import LocalNetwork, LocalNetworkControl
from layer2.provider_client import ProviderClient, ProviderEndpoint
from layer2.settings import ConnectionPoolConfig
from layer2.transactions import SwapId
from networks.misbehaving import Misbehaviour
from networks.parties import Clients, ProviderProcess, clients_of, write_taker_config
from networks.waiting import until

__all__ = ["AMOUNT", "DIRECTIONS", "FEE", "Money", "Swaps", "until_state"]

AMOUNT = 100_000
FEE = 520
"""What the provider asks for AMOUNT: 0.3 % and 120, and 100 for its network costs."""
DIRECTIONS = {
    "bob_to_lightning": (Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING),
    "lightning_to_bob": (Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BOB),
}


@dataclass(frozen=True, slots=True)
class Money:
    """What both parties own, in satoshi; gas in wei."""

    taker_bob: int
    taker_lightning: int
    provider_bob: int
    provider_lightning: int
    taker_gas: int
    provider_gas: int

    @property
    def bitcoin(self) -> tuple[int, int, int, int]:
        return (self.taker_bob, self.taker_lightning, self.provider_bob, self.provider_lightning)

    def changes(self, before: Money) -> tuple[int, int, int, int]:
        """By how much each bitcoin balance grew: taker's on BOB and on Lightning, then the provider's."""
        tb, tl, pb, pl = (now - then for now, then in zip(self.bitcoin, before.bitcoin, strict=True))
        return (tb, tl, pb, pl)


@dataclass
class Swaps:
    """Both parties of swaps. Every manager that it makes has the same configuration file and journal."""

    network: LocalNetwork
    control: LocalNetworkControl
    provider: ProviderProcess
    directory: Path

    @property
    def config_file(self) -> Path:
        path = self.directory / "layer2.toml"
        return path if path.exists() else write_taker_config(path, self.network, self.provider)

    def config(self, **changes: Any) -> Layer2Config:
        return Layer2Config.load(self.config_file, **changes)

    @asynccontextmanager
    async def manager(self, **changes: Any) -> AsyncIterator[Layer2Manager]:
        """A manager that is entered and initialized: it goes on with what is open in the journal."""
        async with Layer2Manager(self.config(**changes)) as layers:
            await layers.initialize_all_async()
            yield layers

    async def money(self) -> Money:
        """Ask both parties' own nodes, once their channel is quiet: what the test before has paid may still be on its
        way from one side to the other.
        """

        async def is_quiet() -> bool:
            async with self._clients() as (taker, provider):
                return await _told(taker) == tuple(reversed(await _told(provider)))

        await until(is_quiet, "the channel is quiet")
        return await self._money_now()

    async def _money_now(self) -> Money:
        async with self._clients() as (taker, provider):
            taker_bob, taker_lightning = await _balances(taker)
            provider_bob, provider_lightning = await _balances(provider)
        return Money(taker_bob[0], taker_lightning, provider_bob[0], provider_lightning, taker_bob[1], provider_bob[1])

    @asynccontextmanager
    async def _clients(self) -> AsyncIterator[tuple[Clients, Clients]]:
        async with (
            clients_of(self.network, self.network.taker) as taker,
            clients_of(self.network, self.network.provider) as provider,
        ):
            yield taker, provider

    async def until_moved(self, before: Money, changes: tuple[int, int, int, int]) -> Money:
        """Wait until the bitcoin balances changed by so much, and return all: a node knows what a payment has come
        to before its channel shows it.
        """
        seen: list[Money] = []

        async def holds() -> bool:
            seen.append(await self._money_now())
            return seen[-1].changes(before) == changes

        try:
            await until(holds, f"the balances change by {changes}")
        except AssertionError as error:
            raise AssertionError(f"{error}; they changed by {seen[-1].changes(before)}") from None
        return seen[-1]

    async def until_provider_has(self, transfer_id: str, state: str) -> None:
        """Wait until the provider says of the swap that it is in that state."""
        endpoint = ProviderEndpoint("provider", self.provider.url, bytes.fromhex(self.provider.identity_key))
        client = ProviderClient(endpoint, ConnectionPoolConfig(), 10_000)

        async def holds() -> bool:
            try:
                return bool((await client.swap_status(SwapId(transfer_id)))["state"] == state)
            except UnknownTransfer:
                return False

        try:
            await until(holds, f"the provider's swap is {state}")
        finally:
            await client.aclose()

    async def run_taker_that(self, how: Misbehaviour, layer: str, direction: str) -> int:
        """Run a taker in a process of its own that transfers AMOUNT and misbehaves; return its exit status."""
        source, destination = DIRECTIONS[direction]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "networks.misbehaving", how.value, layer, "taker",
            str(self.config_file), source.value, destination.value, str(AMOUNT),
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        )  # fmt: skip
        async with asyncio.timeout(60):
            return await process.wait()

    async def move_time_past(self, deadline: int) -> None:
        """Move BOB's clock beyond a moment, in unix seconds, and some blocks more."""
        head = await self.control.advance_chain_time(1)
        await self.control.advance_chain_time(max(1, deadline - head + 1))
        await self.control.mine(5)


async def until_state(layers: Layer2Manager, transfer_id: str, *states: TransferState) -> None:
    """Wait until a transfer has come to one of the states."""
    async with asyncio.timeout(60):
        async for event in layers.transfer_events(transfer_id):
            if event.transfer.state in states:
                return
    raise AssertionError(f"the transfer ended without being in {states}")


async def _told(party: Clients) -> tuple[int, int]:
    """What a node tells of its side of all channels and of the other: unequal while a payment is on its way."""
    channels = await party.lightning._node.channels()
    if any(channel.hashes for channel in channels):
        return (-1, -2)
    flows = [(channel.outgoing.balance_sat, channel.incoming.balance_sat) for channel in channels]
    return (sum(own for own, _ in flows), sum(other for _, other in flows))


async def _balances(party: Clients) -> tuple[tuple[int, int], int]:
    bob, lightning = await asyncio.gather(party.bob.balances_async(), party.lightning.balances_async())
    return (bob[BTC].spendable, bob[ETH].spendable), lightning[BTC].spendable + lightning[BTC].reserved
