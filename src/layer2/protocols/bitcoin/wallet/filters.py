"""Synchronising BDK's wallet by compact block filters (BIP 157, BIP 158) from one peer that the user names."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import bdkpython as bdk

from layer2.errors import ConfigurationError, NodeUnreachable
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.source.port import BlockId
from layer2.protocols.bitcoin.wallet.bdk import Wallet

__all__ = ["LOOKAHEAD", "FilterSync"]

LOG: Final = logging.getLogger("layer2.bitcoin")
LOOKAHEAD: Final = 100
"""Addresses after the last one given out that the wallet of a filter client recognises."""
_PATIENCE: Final = 10.0
"""Seconds in which the peer has to show the newest block."""


class FilterSync:
    """Follows one peer.

    Args:
        peer: ``HOST:PORT`` with a numeric host.
        directory: for headers and filters; None keeps them in a temporary directory.
        tip: the newest block at the node that shows the chain. The wallet is up to date once it knows that height.

    Raises:
        ConfigurationError: the peer's address cannot be read.
    """

    def __init__(self, peer: str, directory: Path | None, tip: Callable[[], Awaitable[BlockId]]) -> None:
        host, _, port = peer.rpartition(":")
        try:
            address = ipaddress.ip_address(host.strip("[]"))
            self._peer = bdk.Peer(address=_ip(address), port=int(port), v2_transport=False)
        except ValueError:
            raise ConfigurationError(f"the peer {peer!r} is not an IP address with a port") from None
        self._temporary = TemporaryDirectory(prefix="layer2-") if directory is None else None
        self._directory = Path(self._temporary.name) if self._temporary is not None else directory
        self._tip = tip
        self._client: bdk.CbfClient | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._updated = asyncio.Event()
        self._updates = 0
        self._reports = 0
        self._percent = 0.0
        self._known = 0
        # The block from which BDK's node reads the filters again, and the one from which it has to.
        self._reads_from: bdk.BlockId | None = None
        self._read_from: bdk.BlockId | None = None

    async def bring_up_to_date(self, wallet: Wallet) -> None:
        """See ``WalletSync``: blocks are applied as they come; waits until the newest block is.

        Raises:
            NodeUnreachable: the peer does not show it in time. The reading continues, and a later call gets its result.
        """
        wanted = (await self._tip()).height
        if self._client is None or self._has_stopped or await self._is_outgrown(wallet):
            await self._stop()
            await self._start(wallet)
        reports = self._reports
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._until_read(wallet, wanted)
                while self._read_from is not None and not self._has_stopped:
                    await self._stop()
                    await self._start(wallet)
                    await self._until_read(wallet, wanted)
        if self._read_from is not None or await wallet.height() < wanted:
            if self._reports == reports:
                # The connection may be dead although it is open: the next call makes another.
                await self._stop()
            raise NodeUnreachable(
                f"the filter peer did not show block {wanted:,} in time; {self._percent:.0f} % of the filters are read",
                protocol=BITCOIN,
                operation="filters",
                retryable=True,
            )

    async def aclose(self) -> None:
        """See ``WalletSync``."""
        await self._stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def _stop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(bdk.CbfError):
                client.shutdown()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    @property
    def _has_stopped(self) -> bool:
        return any(task.done() for task in self._tasks)

    async def _is_outgrown(self, wallet: Wallet) -> bool:
        """Whether so many addresses were given out that the next ones could be unknown to BDK's node."""
        return not self._is_reading_again and await wallet.given_out() + LOOKAHEAD // 2 > self._known

    @property
    def _is_reading_again(self) -> bool:
        return self._reads_from is not None and not self._updates

    async def _until_read(self, wallet: Wallet, height: int) -> None:
        """Wait until the wallet knows the height and a second reading has ended, or BDK's node has stopped."""
        while not self._has_stopped:
            self._updated.clear()
            if not self._is_reading_again and await wallet.height() >= height:
                return
            updated = asyncio.create_task(self._updated.wait())
            try:
                await asyncio.wait([updated, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            finally:
                updated.cancel()

    async def _start(self, wallet: Wallet) -> None:
        builder = bdk.CbfBuilder().connections(1).only_configured_peers().peers([self._peer])
        builder = builder.data_dir(str(self._directory)).scan_type(_scan_from(self._read_from))
        self._known, self._updates, self._percent = await wallet.given_out() + LOOKAHEAD, 0, 0.0
        self._reads_from = self._read_from
        parts = await wallet.run(builder.build)
        self._client = parts.client
        parts.node.run()
        self._tasks = [
            asyncio.create_task(self._apply(parts.client, wallet)),
            asyncio.create_task(self._drain(parts.client)),
            asyncio.create_task(self._warn(parts.client)),
        ]

    async def _apply(self, client: bdk.CbfClient, wallet: Wallet) -> None:
        while True:
            await self._apply_one(await client.update(), wallet)
            self._updates += 1
            self._updated.set()

    async def _apply_one(self, update: bdk.Update, wallet: Wallet) -> None:
        """Apply an update, and note whether its blocks have to be read again.

        BDK's node brings the blocks of one update in the order of their arrival, the newest first, and looks only for
        the addresses that it knew before. So it misses a spend of a coin that an earlier block of the same update
        contains, and the addresses after those that the update has added. A second reading finds them.
        """
        again = await wallet.run(lambda known: _applied(known, update), persists=True)
        if self._reads_from is None or self._updates:
            self._read_from = again.first if again.has_news and again.is_long else self._read_from
        else:
            self._read_from = self._reads_from if again.has_news else None

    async def _drain(self, client: bdk.CbfClient) -> None:
        # The node stops if its messages are not read.
        while True:
            info = await client.next_info()
            self._reports += 1
            if isinstance(info, bdk.Info.PROGRESS):
                self._percent = info.filters_downloaded_percent

    async def _warn(self, client: bdk.CbfClient) -> None:
        while True:
            warning = await client.next_warning()
            LOG.info("the filter peer: %s", type(warning).__name__)


def _ip(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bdk.IpAddress:
    if isinstance(address, ipaddress.IPv4Address):
        return bdk.IpAddress.from_ipv4(*address.packed)
    groups = [int.from_bytes(address.packed[at : at + 2], "big") for at in range(0, 16, 2)]
    return bdk.IpAddress.from_ipv6(*groups)


@dataclass(frozen=True, slots=True)
class _Applied:
    """What an update has changed in the wallet."""

    first: bdk.BlockId
    """The newest block that the wallet knew and the update did not change."""
    has_news: bool
    """Whether it contained transactions that the wallet did not know."""
    is_long: bool
    """Whether it contained more than one block."""


def _applied(wallet: bdk.Wallet, update: bdk.Update) -> _Applied:
    known = wallet.checkpoints()
    wallet.apply_update(update)
    staged = wallet.staged()
    changed = [] if staged is None else [each.height for each in staged.localchain_changeset().changes]
    kept = [each for each in known if each.height < min(changed, default=wallet.latest_checkpoint().height + 1)]
    first = max(kept, key=lambda each: each.height)
    has_news = staged is not None and bool(staged.tx_graph_changeset().txs)
    return _Applied(first, has_news, max(changed, default=0) > first.height + 1)


def _scan_from(block: bdk.BlockId | None) -> bdk.ScanType:
    """Read the filters from the wallet's newest block, or again from another one."""
    return bdk.ScanType.SYNC() if block is None else bdk.ScanType.RECOVERY(LOOKAHEAD, bdk.RecoveryPoint.OTHER(block))
