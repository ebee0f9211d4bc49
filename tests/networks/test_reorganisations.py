"""Real reorganisations, 1 to 20 blocks deep: a status reverts with its transaction; watchers are notified once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from layer2 import ETH, BobClient, Finality, TxState, TxStatus
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.transactions import EvmTxId
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemorySends
from networks.parties import Clients, bob_settings

SOMEBODY = b"\x05" * 20
GWEI = 1_000_000_000
DEPTHS = pytest.mark.parametrize("depth", [1, 2, 7, 20])


@dataclass
class Sender:
    """A key for this test, and transactions signed without the client."""

    client: BobClient
    signer: SoftwareEvmSigner
    chain_id: int

    async def signed(self, nonce: int, value: int) -> bytes:
        transaction = Eip1559Transaction(self.chain_id, nonce, GWEI // 1000, GWEI, 21_000, SOMEBODY, value)
        return transaction.signed(await self.signer.sign_digest(transaction.signing_hash())).raw


@dataclass
class Watcher:
    """Collects the reports of a watch."""

    client: BobClient
    tx_id: EvmTxId
    told: list[TxStatus[EvmTxId]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        async for status in self.client.watch_transaction_async(self.tx_id):
            async with self.news:
                self.told.append(status)
                self.news.notify_all()
        self.over.set()

    async def until_over(self) -> None:
        """Wait until the watch has nothing to report."""
        await asyncio.wait_for(self.over.wait(), 30)

    async def until(self, state: TxState, *, not_in: bytes | None = b"") -> TxStatus[EvmTxId]:
        """Wait until the last report is that state, in a different block."""
        async with asyncio.timeout(30), self.news:
            await self.news.wait_for(
                lambda: bool(self.told) and self.told[-1].state is state and self.told[-1].block_hash != not_in
            )
            return self.told[-1]

    def states(self) -> list[TxState]:
        return [status.state for status in self.told]


@asynccontextmanager
async def watching(client: BobClient, tx_id: EvmTxId, count: int = 3) -> AsyncIterator[list[Watcher]]:
    """Several watches of one transaction."""
    watchers = [Watcher(client, tx_id) for _ in range(count)]
    tasks = [asyncio.create_task(watcher.run()) for watcher in watchers]
    yield watchers
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def included(watchers: list[Watcher], control: LocalNetworkControl, depth: int) -> TxStatus[EvmTxId]:
    """Make that many blocks, the first with the transaction, and wait until all watches report it."""
    for watcher in watchers:
        await watcher.until(TxState.PENDING)
    await control.mine(depth)
    statuses = [await watcher.until(TxState.INCLUDED) for watcher in watchers]
    return statuses[0]


@pytest.fixture
async def sender(network: LocalNetwork, control: LocalNetworkControl, taker: Clients) -> AsyncIterator[Sender]:
    """Blocks are made only by tests, and none becomes final."""
    signer = SoftwareEvmSigner(os.urandom(32))
    async with BobClient(bob_settings(network), signer, MemorySends()) as client:
        funded = await taker.bob.transfer_asset_async(ETH, 10**15, to_checksum(signer.address))
        await taker.bob.wait_for_status_async(funded)
        await control.set_automatic(False)
        height = await control.mine()
        await control.set_finality(safe=height, finalized=height)
        yield Sender(client, signer, network.bob.chain_id)


@DEPTHS
async def test_a_transaction_included_again_at_its_height_is_reported_once_to_every_watcher(
    control: LocalNetworkControl, sender: Sender, depth: int
) -> None:
    raw = await sender.signed(0, 1)
    tx_id = (await sender.client.submit_transaction_async(raw)).tx_id
    async with watching(sender.client, tx_id) as watchers:
        first = await included(watchers, control, depth)
        await control.reorganise(depth, transactions=[raw])
        for watcher in watchers:
            again = await watcher.until(TxState.INCLUDED, not_in=first.block_hash)
            assert again.block_number == first.block_number
            assert watcher.states() == [TxState.PENDING, TxState.INCLUDED, TxState.INCLUDED]
    status = await sender.client.get_transaction_status_async(tx_id)
    assert (status.depth, status.block_hash) == (depth + 1, again.block_hash)


@DEPTHS
async def test_a_transaction_included_again_at_another_height_goes_back_and_forth(
    control: LocalNetworkControl, sender: Sender, depth: int
) -> None:
    tx_id = (await sender.client.submit_transaction_async(await sender.signed(0, 1))).tx_id
    async with watching(sender.client, tx_id) as watchers:
        first = await included(watchers, control, depth)
        head = await control.reorganise(depth)
        for watcher in watchers:
            await watcher.until(TxState.PENDING)
        assert (await sender.client.get_transaction_status_async(tx_id)).state is TxState.PENDING
        assert await control.mine() == head + 1
        for watcher in watchers:
            again = await watcher.until(TxState.INCLUDED, not_in=first.block_hash)
            assert again.block_number == head + 1
            assert watcher.states() == [TxState.PENDING, TxState.INCLUDED, TxState.PENDING, TxState.INCLUDED]
    assert (await sender.client.get_transaction_status_async(tx_id)).depth == 1


@DEPTHS
async def test_a_transaction_that_lost_its_nonce_in_a_reorganisation_is_dropped_as_finally_as_the_other_is_in(
    control: LocalNetworkControl, sender: Sender, depth: int
) -> None:
    tx_id = (await sender.client.submit_transaction_async(await sender.signed(0, 1))).tx_id
    async with watching(sender.client, tx_id) as watchers:
        first = await included(watchers, control, depth)
        head = await control.reorganise(depth, transactions=[await sender.signed(0, 2)])
        for watcher in watchers:
            dropped = await watcher.until(TxState.DROPPED)
            assert (dropped.finality, dropped.block_hash) == (Finality.LATEST, None)
            assert watcher.states() == [TxState.PENDING, TxState.INCLUDED, TxState.DROPPED]
        assert first.block_number is not None
        await control.set_finality(safe=head, finalized=head)
        for watcher in watchers:
            await watcher.until_over()
            assert watcher.told[-1].finality is Finality.FINALIZED
    assert (await sender.client.get_transaction_status_async(tx_id)).state is TxState.DROPPED
