"""A taker with its configuration, and the provider in its own process, on one running network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from forking import fork
from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType, TransferState
from layer2.errors import NodeRefused, NodeUnreachable, UnknownTransfer
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evm import EvmLeg
from layer2.legs.lightning import LightningLeg
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.transactions import SwapId
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.ports.journal import Intent
from layer2.provider_client import ProviderClient, ProviderEndpoint
from layer2.signers.software import SeedPreimages
from layer2.swap_engine.records import record_terms
from layer2.terms.documents import Terms
from networks.mining import BitcoinMiner
from networks.misbehaving import dies_everywhere
from networks.money import Changes, Money, is_quiet, money_of
from networks.parties import Clients, ProviderProcess, clients_of, write_taker_config
from networks.waiting import until

__all__ = [
    "AMOUNT",
    "DIRECTIONS",
    "FEE",
    "Swaps",
    "completed",
    "until_state",
]

AMOUNT = 100_000
FEE = 520
"""The provider's fee for AMOUNT: 0.3 % and 120, and 100 for its network costs."""
_LAYERS: Final = (
    Layer2ProtocolType.BOB,
    Layer2ProtocolType.ROOTSTOCK,
    Layer2ProtocolType.LIGHTNING,
    Layer2ProtocolType.BITCOIN,
)
DIRECTIONS = {
    f"{source.value}_to_{destination.value}".lower(): (source, destination)
    for source in _LAYERS
    for destination in _LAYERS
    if source is not destination
}
"""Every pair of layers in both directions, source and destination."""
_SETTLE_SECONDS: Final = 0.2
_BLOCK_SECONDS: Final = 1.0
_MOST_AHEAD: Final = 5
_MOVED: Final = 300
"""Seconds by which Rootstock's clock may be ahead for a while, and by which a test moves it at least."""
_BITCOIN_BLOCKS: Final = 20


def completed(direction: str, amount: int = AMOUNT, fee: int = FEE) -> Changes:
    """How a transfer changes the balances, without mining fees."""
    source, destination = DIRECTIONS[direction]
    return {
        ("taker", source): -amount - fee,
        ("taker", destination): amount,
        ("provider", source): amount + fee,
        ("provider", destination): -amount,
    }


@dataclass
class Swaps:
    """Both parties of swaps. Every manager that it creates has the same configuration file and journal."""

    network: LocalNetwork
    control: LocalNetworkControl
    provider: ProviderProcess
    directory: Path
    miner: BitcoinMiner
    uses_bitcoin: bool = False
    """Whether to read balances on Bitcoin's chain, which takes longer than on other layers."""

    @property
    def config_file(self) -> Path:
        path = self.directory / "layer2.toml"
        return path if path.exists() else write_taker_config(path, self.network, self.provider)

    def config(self, **changes: Any) -> Layer2Config:
        return Layer2Config.load(self.config_file, **changes)

    @asynccontextmanager
    async def manager(self, **changes: Any) -> AsyncIterator[Layer2Manager]:
        """An entered and initialized manager. It resumes the open transfers in the journal."""
        async with Layer2Manager(self.config(**changes)) as layers:
            await layers.initialize_all_async()
            yield layers

    async def begin(self, layers: Layer2Manager, direction: str, amount: int = AMOUNT) -> str:
        """Start a transfer and return its id."""
        quote = await layers.quote_transfer_async(BTC, amount, *DIRECTIONS[direction])
        return (await layers.start_transfer_async(quote)).transfer_id

    # The taker's journal

    @asynccontextmanager
    async def _journal(self) -> AsyncIterator[SqlJournal]:
        journal = await SqlJournal.open(self.config().journal.path)
        try:
            yield journal
        finally:
            await journal.aclose()

    async def intents(self, transfer_id: str, verb: str) -> list[Intent]:
        """The taker's intents for that verb, oldest first."""
        async with self._journal() as journal:
            return [one for one in await journal.intents(SwapId(transfer_id)) if one.verb == verb]

    async def only_transfer(self) -> str:
        """The id of the only transfer, while no manager is open."""
        async with self._journal() as journal:
            (record,) = await journal.list()
            return record.swap_id

    async def _terms(self, transfer_id: str) -> Terms:
        async with self._journal() as journal:
            record = await journal.load(SwapId(transfer_id))
            signed = None if record is None else record_terms(record)
            assert signed is not None
            return signed.terms

    # Balances

    async def money(self) -> Money:
        """Read the balances from both parties' nodes when their channel is quiet, because payments of an earlier test
        may still be in flight.
        """
        async with self._clients() as parties:

            async def holds() -> bool:
                return await is_quiet(parties)

            await until(holds, "the channel is quiet")
            return await money_of(parties, on_chain=self.uses_bitcoin)

    async def until_moved(self, before: Money, changes: Changes) -> Money:
        """Wait until the bitcoin balances have changed by these amounts, and return all balances. A node knows a
        payment's result before its channel shows it.
        """
        seen: list[Money] = []
        async with self._clients() as parties:

            async def holds() -> bool:
                seen.append(await money_of(parties, on_chain=self.uses_bitcoin))
                return seen[-1].changes(before) == changes

            try:
                await until(holds, f"the balances change by {changes}")
            except AssertionError as error:
                changed = seen[-1].changes(before) if seen else "cannot be read"
                raise AssertionError(f"{error}; the last change: {changed}") from None
        return seen[-1]

    @asynccontextmanager
    async def _clients(self) -> AsyncIterator[Mapping[str, Clients]]:
        async with (
            clients_of(self.network, self.network.taker) as taker,
            clients_of(self.network, self.network.provider) as provider,
        ):
            yield {"taker": taker, "provider": provider}

    # The provider

    async def until_provider_has(
        self, transfer_id: str, state: str, *, sees_funding: bool | None = None, has_arrived: bool | None = None
    ) -> None:
        """Wait until the provider reports that state of the swap.

        Args:
            sees_funding: whether it reports a transaction of the source.
            has_arrived: whether it reports that the source has arrived.
        """
        endpoint = ProviderEndpoint("provider", self.provider.url, bytes.fromhex(self.provider.identity_key))
        client = ProviderClient(endpoint, ConnectionPoolConfig(), 10_000)
        seed_file = self.config().swap_seed_file
        assert seed_file is not None
        token = SeedPreimages.from_file(seed_file).access_token(SwapId(transfer_id))
        seen: list[Mapping[str, object]] = []

        async def holds() -> bool:
            try:
                seen.append(await client.swap_status(SwapId(transfer_id), token))
            except (NodeUnreachable, UnknownTransfer):
                return False
            sees = seen[-1].get("source_tx_id") is not None
            arrived = seen[-1].get("has_arrived", False)
            return bool(seen[-1]["state"] == state) and sees_funding in (None, sees) and has_arrived in (None, arrived)

        try:
            await until(holds, f"the provider's swap is {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {seen[-1:]}\n{self.provider.log()}") from None
        finally:
            await client.aclose()

    # Dying processes

    async def run_taker(self, fault: str, direction: str) -> int:
        """Run a taker with that fault in a separate process. It transfers AMOUNT. Returns its exit status."""
        source, destination = DIRECTIONS[direction]
        with (self.directory / "taker.log").open("ab") as log:
            arguments = [fault, "taker", str(self.config_file), source.value, destination.value, str(AMOUNT)]
            process = fork("networks.misbehaving", arguments, output=log)
        try:
            async with asyncio.timeout(100):
                return await process.ended()
        finally:
            if process.returncode is None:
                process.kill()

    async def run_taker_that_dies_everywhere(self, direction: str) -> list[str]:
        """Run a taker that is killed at every moment of its transfer and restarts at once; return the moments."""
        moments, pays = self.directory / "taker-moments", DIRECTIONS[direction][0] is Layer2ProtocolType.LIGHTNING
        status = await self.run_taker(dies_everywhere(moments, pays=pays), direction)
        assert status == 0, (self.directory / "taker.log").read_text()
        return moments.read_text().split()

    def start_provider_that_dies_everywhere(self, direction: str) -> Path:
        """Start a provider that is killed at every moment of its swaps and restarts at once; return the file to which
        it writes the moments."""
        moments, pays = self.directory / "provider-moments", DIRECTIONS[direction][1] is Layer2ProtocolType.LIGHTNING
        self.provider.start(dies_everywhere(moments, pays=pays))
        return moments

    # Blocks and time

    @asynccontextmanager
    async def quick_finality(self) -> AsyncIterator[None]:
        """While the context is active, mined transactions soon become final on every chain.

        It makes no blocks of BOB for that, because many quick blocks would move the chain's clock ahead. On Rootstock
        finality is a depth, so a block is made each second while its clock is not ahead.
        """

        async def settle() -> None:
            while True:
                for chain, head in (await self.control.status())["chains"].items():
                    with suppress(NodeRefused):
                        await self.control.set_finality(safe=head["height"], finalized=head["height"], chain=chain)
                await asyncio.sleep(_SETTLE_SECONDS)

        async def count_depths() -> None:
            chain = Layer2ProtocolType.ROOTSTOCK.value
            while True:
                status = await self.control.status()
                ahead = status["chains"][chain]["timestamp"] - status.get("clock", time.time())
                # Each block is later than its parent. A clock that a test has moved is further ahead than these blocks.
                if not _MOST_AHEAD < ahead < _MOVED:
                    await self.control.mine(chain=chain)
                await asyncio.sleep(_BLOCK_SECONDS)

        settling = [asyncio.create_task(work()) for work in (settle, count_depths)]
        try:
            async with self.miner.quick_finality():
                yield
        finally:
            for task in settling:
                task.cancel()
            await asyncio.gather(*settling, return_exceptions=True)

    async def hold_finality(self) -> Mapping[str, int]:
        """Stop finality on BOB; return the heights of every chain. On Rootstock a block is final four blocks later."""
        heights = {chain: int(head["height"]) for chain, head in (await self.control.status())["chains"].items()}
        for chain, height in heights.items():
            await self.control.set_finality(safe=height, finalized=height, chain=chain)
        return heights

    async def reorganise(self, chain: str, height: int, **how: Any) -> None:
        """Replace all blocks of a chain above a height; see ``LocalNetworkControl.reorganise``."""
        await self.control.reorganise(await self.height(chain) - height, chain=chain, **how)

    async def height(self, chain: str) -> int:
        """The number of a chain's newest block."""
        status = await self.control.status()
        head = status["bitcoin"] if chain == Layer2ProtocolType.BITCOIN.value else status["chains"][chain]
        return int(head["height"])

    async def set_automatic(self, enabled: bool, *, chain: str) -> None:
        """Turn automatic blocks of a chain on or off."""
        if chain == Layer2ProtocolType.BITCOIN.value:
            self.miner.is_automatic = enabled
        else:
            await self.control.set_automatic(enabled, chain=chain)

    async def let_deadlines_pass(self, transfer_id: str, *, payments_too: bool = True) -> None:
        """Move the chains' clocks past the deadlines of a transfer's locks, and Bitcoin's height past the expiry of its
        payments.

        Args:
            payments_too: whether to change Bitcoin's height for payments.
        """
        terms, blocks = await self._terms(transfer_id), 0
        for leg in (terms.source, terms.destination):
            chain = leg.protocol.value
            if isinstance(leg, EvmLeg):
                await self._pass_time(chain, leg.deadline)
                await self.control.mine(5, chain=chain)
            elif isinstance(leg, BitcoinLeg) and leg.is_by_height:
                blocks = max(blocks, leg.locktime - await self.height(chain))
            elif isinstance(leg, BitcoinLeg):
                await self._pass_time(chain, leg.locktime)
            elif isinstance(leg, LightningLeg) and payments_too:
                blocks = max(blocks, leg.cltv_limit)
        for _ in range(0, blocks, _BITCOIN_BLOCKS):
            await self.control.mine_bitcoin(_BITCOIN_BLOCKS)

    async def _pass_time(self, chain: str, until_time: int) -> None:
        head = await self.control.advance_chain_time(1, chain=chain)
        await self.control.advance_chain_time(max(1, until_time - head + 1), chain=chain)


async def until_state(layers: Layer2Manager, transfer_id: str, *states: TransferState) -> None:
    """Wait until a transfer has reached one of the states."""
    try:
        async with asyncio.timeout(60):
            async for event in layers.transfer_events(transfer_id):
                if event.transfer.state in states:
                    return
    except TimeoutError:
        raise AssertionError(f"not within 60 s: {states}; {await layers.get_transfer_async(transfer_id)}") from None
    raise AssertionError(f"the transfer ended without reaching {states}")
