"""Heads and logs are followed on both networks, over the nodes' websockets, across reorganisations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from layer2 import BTC, BobClient
from layer2.formats.evm_abi import event_topic
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.transactions import EvmTxId, TxState
from layer2.protocols.evm.chain.follower import ChainStep
from layer2.protocols.evm.chain.logs import LogEvent
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemorySends
from networks.parties import bob_settings

TRANSFER = event_topic("Transfer(address,address,uint256)")
SECONDS = 30
FOR_EVER_MS = 3_600_000
"""A poll interval longer than any test, so that only the websocket announces blocks."""
Where = tuple[str, str, int]


class Following:
    """The logs that result from an iterator, compared with the node's answer."""

    def __init__(self, network: LocalNetwork, events: AsyncIterator[LogEvent], first: int) -> None:
        self.network = network
        self.events = events
        self.first = first
        self.standing: list[Where] = []
        self.taken_back = 0

    async def next(self) -> None:
        event = await asyncio.wait_for(anext(self.events), SECONDS)
        where = ("0x" + event.block_hash.hex(), str(event.tx_id), event.log_index)
        if event.removed:
            assert self.standing.pop() == where
            self.taken_back += 1
        else:
            assert where not in self.standing
            self.standing.append(where)

    async def until_as_the_node_says(self) -> None:
        while self.standing != await self.node_logs():
            await self.next()

    async def node_logs(self) -> list[Where]:
        criteria = {
            "address": self.network.bob.token_address,
            "topics": ["0x" + TRANSFER.hex()],
            "fromBlock": hex(self.first),
            "toBlock": "latest",
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [criteria]}
        async with aiohttp.ClientSession() as session, session.post(self.network.bob.rpc_url, json=body) as response:
            logs: list[dict[str, Any]] = (await response.json())["result"]
        return [(log["blockHash"], log["transactionHash"], int(log["logIndex"], 16)) for log in logs]


@pytest.fixture
async def listening(network: LocalNetwork) -> AsyncIterator[BobClient]:
    """A client that learns of blocks only over the node's websocket."""
    settings = bob_settings(network, websocket_url=network.bob.websocket_url, poll_interval_ms=FOR_EVER_MS)
    async with BobClient(settings, SoftwareEvmSigner.from_file(network.taker.evm_key_file), MemorySends()) as client:
        await client.initialize_async()
        yield client


async def height_of(client: BobClient) -> int:
    return (await anext(client.watch_heads_async())).heads.latest.number


async def test_the_nodes_websocket_reports_each_block(listening: BobClient, control: LocalNetworkControl) -> None:
    await control.set_automatic(False)
    steps = listening.watch_heads_async()
    told = [block.hash for block in (await anext(steps)).added]
    for _ in range(3):
        coming: asyncio.Future[ChainStep] = asyncio.ensure_future(anext(steps))
        height = await control.mine()
        while True:
            step = await asyncio.wait_for(coming, SECONDS)
            assert step.removed == ()
            for block in step.added:
                assert block.header.parent_hash == told[-1]
                told.append(block.hash)
            if step.heads.latest.number == height:
                break
            coming = asyncio.ensure_future(anext(steps))


async def test_logs_of_the_past_and_of_new_blocks_come_once(
    network: LocalNetwork, listening: BobClient, control: LocalNetworkControl
) -> None:
    first = await height_of(listening) + 1
    recipient = network.provider.evm_address
    await control.mine()
    await asyncio.gather(*[listening.transfer_asset_async(BTC, 1_000 + one, recipient) for one in range(5)])
    await control.mine()
    events = listening.watch_logs_async(network.bob.token_address, [TRANSFER], from_block=first)
    following = Following(network, events, first)
    await following.until_as_the_node_says()
    tx_id = await listening.transfer_asset_async(BTC, 2_000, recipient)
    await control.mine()
    await following.until_as_the_node_says()
    assert tx_id in [where[1] for where in following.standing]
    assert (len(following.standing), following.taken_back) == (6, 0)


@pytest.mark.parametrize("depth", [1, 5])
async def test_a_reorganisation_takes_logs_back_before_the_new_ones(
    network: LocalNetwork, listening: BobClient, control: LocalNetworkControl, depth: int
) -> None:
    await control.set_automatic(False)
    height = await control.mine(6)
    await control.set_finality(safe=height - 6, finalized=height - 6)
    first = height + 1
    events = listening.watch_logs_async(network.bob.token_address, [TRANSFER], from_block=first)
    following = Following(network, events, first)
    for one in range(depth):
        await listening.transfer_asset_async(BTC, 3_000 + one, network.provider.evm_address)
        await control.mine()
    await following.until_as_the_node_says()
    assert len(following.standing) == depth
    tx_ids = {EvmTxId(where[1]) for where in following.standing}
    await control.reorganise(depth)
    await control.mine(2)
    for tx_id in sorted(tx_ids):
        await listening.wait_for_status_async(tx_id, until=TxState.INCLUDED, timeout=SECONDS)
    while following.taken_back < depth or {where[1] for where in following.standing} != tx_ids:
        await following.next()
    await following.until_as_the_node_says()


@pytest.mark.only_on("simnet", reason="real nodes have no switch to cut connections")
async def test_connections_that_are_cut_off_while_blocks_come_leave_neither_gap_nor_repeat(
    network: LocalNetwork, listening: BobClient, control: LocalNetworkControl
) -> None:
    await control.set_automatic(False)
    first = await height_of(listening) + 1
    await control.mine()
    await control.fault("bob", "drop_reply", method="eth_subscription", count=4)
    events = listening.watch_logs_async(network.bob.token_address, [TRANSFER], from_block=first)
    following = Following(network, events, first)
    for one in range(6):
        await listening.transfer_asset_async(BTC, 4_000 + one, network.provider.evm_address)
        coming = asyncio.ensure_future(following.next())
        await control.mine()
        await coming
    await following.until_as_the_node_says()
    assert len(following.standing) == 6
