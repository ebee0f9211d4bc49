"""Synchronising BDK's wallet with an Esplora server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Final, TypeVar

import bdkpython as bdk

from layer2.errors import BadAnswer, NodeUnreachable
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.wallet.bdk import Wallet

__all__ = ["EsploraSync"]

_GAP: Final = 20
_REQUESTS: Final = 4
_PATIENCE: Final = 60.0
"""Seconds for a whole scan."""

T = TypeVar("T")


class EsploraSync:
    """Synchronises a wallet with an Esplora server. The wallet can be used while the server is read.

    Args:
        url: the server.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: bdk.EsploraClient | None = None
        self._scanned = False

    async def bring_up_to_date(self, wallet: Wallet) -> None:
        """See ``WalletSync``: the first time it looks for every address, later for the known ones."""
        try:
            client = self._client = self._client or bdk.EsploraClient(self._url, None)
            if not self._scanned:
                every = await wallet.run(lambda known: known.start_full_scan().build())
                scan = await _in_thread(lambda: client.full_scan(every, _GAP, _REQUESTS))
                await wallet.run(lambda known: known.apply_update(scan), persists=True)
                self._scanned = True
                if await wallet.run(_is_within_gap):
                    return
            before: list[int | None] = []
            # A payment of another program with the same seed can show an address that is read only the next time.
            while before != (before := await wallet.run(_newest_addresses)):
                revealed = await wallet.run(lambda known: known.start_sync_with_revealed_spks().build())
                update = await _in_thread(partial(client.sync, revealed, _REQUESTS))
                await wallet.run(partial(_apply, update), persists=True)
        except TimeoutError as error:
            raise NodeUnreachable(
                "the Esplora server does not answer in time", protocol=BITCOIN, operation="sync"
            ) from error
        except bdk.EsploraError as error:
            raise NodeUnreachable(
                f"the Esplora server cannot be read: {type(error).__name__}", protocol=BITCOIN, operation="sync"
            ) from error
        except bdk.CannotConnectError as error:
            raise BadAnswer(
                "the Esplora server's chain does not continue the one that the wallet knows",
                protocol=BITCOIN,
                operation="sync",
            ) from error

    async def aclose(self) -> None:
        """See ``WalletSync``."""


def _is_within_gap(wallet: bdk.Wallet) -> bool:
    """Whether a scan, which ends at a gap of unused addresses, has looked at every address that was given out."""
    return all(len(wallet.list_unused_addresses(each)) < _GAP for each in bdk.KeychainKind)


def _newest_addresses(wallet: bdk.Wallet) -> list[int | None]:
    return [wallet.derivation_index(each) for each in bdk.KeychainKind]


def _apply(update: bdk.Update, wallet: bdk.Wallet) -> None:
    wallet.apply_update(update)


async def _in_thread(call: Callable[[], T]) -> T:
    """Run a call of BDK that waits for the server.

    BDK sets no time limit for an answer. A daemon thread holds up neither the wallet, nor the end of the client or the
    program.

    Raises:
        TimeoutError: the server does not answer.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def act() -> None:
        try:
            outcome: tuple[T | None, Exception | None] = call(), None
        except Exception as error:  # noqa: BLE001 - the caller receives it
            outcome = None, error
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, *outcome)

    Thread(target=act, name="layer2-esplora", daemon=True).start()
    async with asyncio.timeout(_PATIENCE):
        return await done
