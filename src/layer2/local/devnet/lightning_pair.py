"""The devnet's Lightning side: btcd and two lnd with one channel, which can be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from layer2.errors import InvalidRequest, NodeRefused
from layer2.local.devnet.bitcoin import FIRST_BLOCKS, BitcoinNode
from layer2.local.devnet.lightning import Lnd
from layer2.local.devnet.processes import Child
from layer2.local.devnet.stages import deadline, together
from layer2.protocols.lightning.node.permissions import PERMISSIONS

__all__ = ["CHANNEL_SATOSHI", "LightningPair"]

CHANNEL_SATOSHI = 16_000_000
"""The capacity of the one channel, of which each party has half, less the funder's commitment fee."""

_WALLET_SATOSHI = 10**9
_PROBE_SATOSHI = 1_000
_MINING_SECONDS = 30.0
# lnd says that it is out of sync when the latest block is two hours old.
_OLDEST_BITCOIN_BLOCK_SECONDS = 1_800.0


class LightningPair:
    """Taker's and provider's lnd on one Bitcoin chain.

    Args:
        bitcoin: the chain.
        taker: who opens the channel.
        provider: to whom.
        own: takes every process that was started; one that ends by itself is then a failure of the network.
    """

    def __init__(self, bitcoin: BitcoinNode, taker: Lnd, provider: Lnd, own: Callable[[Child], None]) -> None:
        self._bitcoin = bitcoin
        self._taker = taker
        self._provider = provider
        self._own = own
        self._turn = asyncio.Lock()

    async def start(self, progress: Callable[[str], None]) -> None:
        """Start all three, open the channel, and return when a payment went through it in each direction."""
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
            await bitcoin.fund([await taker.new_address(), await provider.new_address()], _WALLET_SATOSHI)
            await self.mine_bitcoin(1)
            await together(taker.wait_until_funded(_WALLET_SATOSHI), provider.wait_until_funded(_WALLET_SATOSHI))
        progress("Lightning: opening the channel")
        async with deadline("a payment in each direction to go through"):
            await taker.open_channel(provider, CHANNEL_SATOSHI, CHANNEL_SATOSHI // 2)
            await self.mine_bitcoin(3)
            for payer, payee in ((taker, provider), (provider, taker)):
                await _probe(payer, payee)
        progress("Lightning: ready, a payment went through in each direction")

    async def mine_bitcoin(self, blocks: int) -> int:
        """Make that many Bitcoin blocks, wait until each lnd that runs has seen them; return the height."""
        async with self._turn, deadline("the Lightning nodes to see new blocks", _MINING_SECONDS):
            height = await self._bitcoin.generate(blocks)
            await together(*(lnd.wait_until_synced(height) for lnd in self._running()))
            return height

    async def keep_bitcoin_recent(self) -> None:
        """Make a Bitcoin block every half hour, so that lnd goes on to trust its tip. Runs until cancelled."""
        while True:
            await asyncio.sleep(_OLDEST_BITCOIN_BLOCK_SECONDS)
            await self.mine_bitcoin(1)

    async def stop_lightning(self, party: str) -> None:
        """Kill that party's lnd, and return when the other one, if it runs, has lost it as a peer.

        Raises:
            InvalidRequest: there is no such party, or its lnd does not run.
        """
        lnd, other = self._party(party)
        async with self._turn, deadline(f"the lnd of the {other.name} to notice"):
            if lnd.child is None:
                raise InvalidRequest(f"the lnd of the {party} does not run")
            lnd.kill()
            if other.child is not None:
                await other.wait_until_lost(lnd)

    async def start_lightning(self, party: str, *, new_certificate: bool) -> None:
        """Start that party's lnd again, on its data and ports.

        Returns when it takes all commands and, where both run, their channel can be used again if it is still open.

        Raises:
            InvalidRequest: there is no such party, or its lnd runs.
        """
        lnd, other = self._party(party)
        async with self._turn, deadline(f"the lnd of the {party} to be there again"):
            if lnd.child is not None:
                raise InvalidRequest(f"the lnd of the {party} runs")
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
                raise InvalidRequest(f"no party {name!r}: taker or provider")


async def _reconnect(lnd: Lnd, other: Lnd) -> None:
    """Connect the two now: lnd would do so by itself, and takes its time."""
    while True:
        if not await lnd.is_connected_to(other):
            # The other one may dial at the same moment, and then one of the two attempts is refused.
            with contextlib.suppress(NodeRefused):
                await lnd.connect(other)
        elif not (await lnd.has_inactive_channel() or await other.has_inactive_channel()):
            return
        await asyncio.sleep(0.05)


async def _probe(payer: Lnd, payee: Lnd) -> None:
    """Pay until it works: a channel is listed as active some time before it can be routed through."""
    while True:
        if await payer.pay(await payee.create_invoice(_PROBE_SATOSHI, "devnet probe")) == "SUCCEEDED":
            return
        await asyncio.sleep(0.1)
