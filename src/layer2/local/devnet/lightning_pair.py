"""The devnet's Lightning network: btcd and two lnd nodes with channels. Each lnd can be killed and restarted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from layer2.errors import InvalidRequest, NodeRefused
from layer2.formats import segwit_address
from layer2.local.bitcoin_wallets import COIN
from layer2.local.devnet.bitcoin import FIRST_BLOCKS, BitcoinNode
from layer2.local.devnet.lightning import Lnd
from layer2.local.devnet.stages import deadline, together
from layer2.local.processes import Child
from layer2.protocols.lightning.node.permissions import PERMISSIONS

__all__ = ["CHANNEL_SATOSHI", "LightningPair"]

CHANNEL_SATOSHI = 16_000_000
"""A channel's capacity. Each party has half, less the funder's commitment fee."""

_WALLET_SATOSHI = 10**9
_PROBE_SATOSHI = 1_000
_MINING_SECONDS = 30.0
# lnd reports that it is out of sync when the latest block is two hours old.
_OLDEST_BITCOIN_BLOCK_SECONDS = 1_800.0


class LightningPair:
    """The lnd nodes of taker and provider on one Bitcoin chain.

    Args:
        bitcoin: the chain.
        taker: opens the channels.
        provider: accepts the channels.
        own: is called with every started process; the network fails if one of them ends by itself.
        wallets: output scripts of the parties' Bitcoin wallets, which receive a coin each.
        channels: the number of channels between the two nodes.
    """

    def __init__(
        self,
        bitcoin: BitcoinNode,
        taker: Lnd,
        provider: Lnd,
        own: Callable[[Child], None],
        wallets: Sequence[bytes],
        channels: int,
    ) -> None:
        self._bitcoin = bitcoin
        self._taker = taker
        self._provider = provider
        self._own = own
        self._wallets = wallets
        self._channels = channels
        self._turn = asyncio.Lock()

    async def start(self, progress: Callable[[str], None]) -> None:
        """Start all three, open the channels, and return after a payment in each direction has succeeded."""
        bitcoin, taker, provider = self._bitcoin, self._taker, self._provider
        progress("Bitcoin: starting btcd")
        self._own(bitcoin.start())
        async with deadline("btcd to answer"):
            await bitcoin.wait_until_answering()
            await bitcoin.generate(FIRST_BLOCKS)
        progress("Lightning: starting two lnd (a few seconds, to make their wallets)")
        for lnd in (taker, provider):
            self._own(lnd.start(bitcoin))
        async with deadline("both lnd to answer"):
            await together(taker.wait_until_answering(), provider.wait_until_answering())
            await together(taker.bake_macaroon(PERMISSIONS), provider.bake_macaroon(PERMISSIONS))
        async with deadline("both lnd to be in sync"):
            await taker.connect(provider)
            addresses = [await taker.new_address(), await provider.new_address()]
            scripts = [segwit_address.decode_script(address, "bcrt") for address in addresses]
            await bitcoin.fund(scripts, _WALLET_SATOSHI, reward=1)
            await bitcoin.fund(self._wallets, COIN, reward=2)
            await self.mine(1)
            await together(taker.wait_until_funded(_WALLET_SATOSHI), provider.wait_until_funded(_WALLET_SATOSHI))
        progress(f"Lightning: opening the channel{'s' if self._channels > 1 else ''}")
        async with deadline("a payment in each direction to go through"):
            for count in range(1, self._channels + 1):
                await taker.open_channel(provider, CHANNEL_SATOSHI, CHANNEL_SATOSHI // 2)
                await self.mine(3)
                # lnd refuses to open a second channel to a peer while the first is pending.
                await together(taker.wait_until_active(count), provider.wait_until_active(count))
            for payer, payee in ((taker, provider), (provider, taker)):
                await _probe(payer, payee)
        progress("Lightning: ready, a payment went through in each direction")

    async def mine(self, blocks: int) -> int:
        """Mine that many Bitcoin blocks, wait until each running lnd has seen them, and return the height."""
        return await self.change_chain(lambda: self._bitcoin.generate(blocks))

    async def change_chain(self, change: Callable[[], Awaitable[int]]) -> int:
        """Change the Bitcoin chain, wait until each running lnd has seen its new height, and return that height."""
        async with self._turn, deadline("the Lightning nodes to see new blocks", _MINING_SECONDS):
            height = await change()
            await together(*(lnd.wait_until_synced(height) for lnd in self._running()))
            return height

    async def keep_bitcoin_recent(self) -> None:
        """Mine a Bitcoin block every half hour, so that lnd stays in sync. Runs until cancelled."""
        while True:
            await asyncio.sleep(_OLDEST_BITCOIN_BLOCK_SECONDS)
            await self.mine(1)

    async def stop_node(self, party: str) -> None:
        """Kill that party's lnd, and return when the other lnd, if it runs, has noticed the disconnection.

        Raises:
            InvalidRequest: the party is unknown, or its lnd is not running.
        """
        lnd, other = self._party(party)
        async with self._turn, deadline(f"the lnd of the {other.name} to notice"):
            if lnd.child is None:
                raise InvalidRequest(f"the lnd of the {party} is not running")
            lnd.kill()
            if other.child is not None:
                await other.wait_until_lost(lnd)

    async def start_node(self, party: str, *, new_certificate: bool) -> None:
        """Restart that party's lnd with the same data and ports.

        Returns when it accepts all commands. If both nodes run and their channel is open, it also waits until the
        channel is active.

        Raises:
            InvalidRequest: the party is unknown, or its lnd is running already.
        """
        lnd, other = self._party(party)
        async with self._turn, deadline(f"the lnd of the {party} to restart"):
            if lnd.child is not None:
                raise InvalidRequest(f"the lnd of the {party} is already running")
            if new_certificate:
                lnd.forget_certificate()
            self._own(lnd.start(self._bitcoin))
            await lnd.wait_until_answering()
            await lnd.wait_until_synced(await self._bitcoin.height())
            if other.child is not None:
                await _reconnect(lnd, other)

    def _running(self) -> Sequence[Lnd]:
        return [lnd for lnd in (self._taker, self._provider) if lnd.child is not None]

    def _party(self, name: str) -> tuple[Lnd, Lnd]:
        """That party's lnd, and the other one."""
        match name:
            case "taker":
                return self._taker, self._provider
            case "provider":
                return self._provider, self._taker
            case _:
                raise InvalidRequest(f"unknown party {name!r}: expected taker or provider")


async def _reconnect(lnd: Lnd, other: Lnd) -> None:
    """Connect the two nodes now, because lnd's own reconnection is slow."""
    while True:
        if not await lnd.is_connected_to(other):
            # If both nodes dial at the same time, one of the two attempts is refused.
            with contextlib.suppress(NodeRefused):
                await lnd.connect(other)
        elif not (await lnd.has_inactive_channel() or await other.has_inactive_channel()):
            return
        await asyncio.sleep(0.05)


async def _probe(payer: Lnd, payee: Lnd) -> None:
    """Retry a payment until it succeeds: lnd lists a channel as active before it can route through it."""
    while True:
        if await payer.pay(await payee.create_invoice(_PROBE_SATOSHI, "devnet probe")) == "SUCCEEDED":
            return
        await asyncio.sleep(0.1)
