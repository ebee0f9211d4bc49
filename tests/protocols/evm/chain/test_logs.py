"""Following logs and heads without gaps or repetitions, despite reorganisations, lying nodes and lost connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from layer2.contracts.erc20 import transfer_call
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.errors import AsyncRuntimeError, BadAnswer, FormatError, InvalidRequest, Layer2Error, NodeUnreachable
from layer2.formats.evm_abi import event_topic
from layer2.formats.evm_address import to_checksum
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.chain.follower import ChainStep
from layer2.protocols.evm.chain.logs import LogEvent
from layer2.protocols.evm.rpc import head_notices
from protocols.evm.bob_network import BobNetwork

TOKEN = to_checksum(TEST_TOKEN_ADDRESS)
TRANSFER = event_topic("Transfer(address,address,uint256)")
Where = tuple[bytes, str, int]


class Chain:
    """A network's node, whose blocks the test makes."""

    def __init__(self, bob: BobNetwork) -> None:
        self.bob = bob
        bob.maker.set_enabled(False)
        bob.node.set_finality(0, 0)
        self.amount = 0

    @property
    def height(self) -> int:
        return self.bob.node.chain.head.number

    def transfer(self, times: int = 1) -> None:
        """Add transfers to the pool. Each emits one log."""
        account = self.bob.accounts["taker"]
        for _ in range(times):
            state = self.bob.node.chain.state_at(self.bob.node.chain.head)
            nonce = self.bob.node.pool.next_nonce(account.address, state)
            self.amount += 1
            call = transfer_call(self.bob.address("provider"), self.amount)
            self.bob.node.send(account.sign_call(nonce, TEST_TOKEN_ADDRESS, call, 100_000))

    def block(self, transfers: int) -> None:
        self.transfer(transfers)
        self.bob.node.mine()

    def logs(self, first: int) -> list[Where]:
        """The result of eth_getLogs afterwards."""
        criteria = {"address": TOKEN, "topics": ["0x" + TRANSFER.hex()], "fromBlock": hex(first), "toBlock": "latest"}
        logs: Any = EvmMethods(self.bob.node, lambda: None).answer("eth_getLogs", [criteria])
        return [(bytes.fromhex(log["blockHash"][2:]), log["transactionHash"], int(log["logIndex"], 16)) for log in logs]


class Listener:
    """The logs that one iterator yielded and did not remove again."""

    def __init__(self, events: AsyncIterator[LogEvent]) -> None:
        self.events = events
        self.standing: list[Where] = []
        self.history: list[LogEvent] = []

    async def next(self) -> LogEvent:
        event = await asyncio.wait_for(anext(self.events), 10)
        where = (event.block_hash, event.tx_id, event.log_index)
        if event.removed:
            assert self.standing.pop() == where
        else:
            assert where not in self.standing
            self.standing.append(where)
        self.history.append(event)
        return event

    async def until(self, logs: list[Where]) -> None:
        while self.standing != logs:
            await self.next()


@pytest.fixture
def chain(bob: BobNetwork) -> Chain:
    return Chain(bob)


@pytest.fixture
async def client(bob: BobNetwork) -> BobClient:
    return await bob.client("taker")


def transfers(client: BobClient, **options: Any) -> AsyncIterator[LogEvent]:
    return client.watch_logs_async(TOKEN, [TRANSFER], **options)


def tasks_of_streams() -> list[str]:
    names = ("LogStreams", "ChainFollower", "HeadNotices")
    return [repr(task) for task in asyncio.all_tasks() if any(name in repr(task) for name in names)]


async def test_logs_from_a_past_block_are_those_of_the_node_and_then_the_new_ones(
    chain: Chain, client: BobClient
) -> None:
    first = chain.height + 1
    for transfers_in_block in (1, 0, 3, 2):
        chain.block(transfers_in_block)
    listener = Listener(transfers(client, from_block=first))
    await listener.until(chain.logs(first))
    chain.block(2)
    await listener.until(chain.logs(first))
    assert [event.removed for event in listener.history] == [False] * 8


async def test_without_a_block_to_begin_at_only_later_logs_come(chain: Chain, client: BobClient) -> None:
    chain.block(1)
    steps, listener = client.watch_heads_async(), Listener(transfers(client))
    assert [block.number for block in (await anext(steps)).added] == [chain.height]
    first = chain.height + 1
    coming = asyncio.ensure_future(listener.next())
    # Long enough for the iterator to read the newest block, after which its logs start.
    await asyncio.sleep(0.2)
    chain.block(1)
    await coming
    assert listener.standing == chain.logs(first)


@pytest.mark.parametrize("depth", [1, 3, 20])
async def test_a_reorganisation_takes_logs_back_newest_first_before_the_new_ones(
    chain: Chain, client: BobClient, depth: int
) -> None:
    first = chain.height + 1
    for _ in range(22):
        chain.block(2)
    listener = Listener(transfers(client, from_block=first))
    await listener.until(chain.logs(first))
    before = list(listener.standing)
    chain.bob.node.reorganise(depth, keep_transactions=True)
    chain.bob.node.mine()
    await listener.until(chain.logs(first))
    news = listener.history[44:]
    assert [event.removed for event in news] == [True] * (2 * depth) + [False] * (2 * depth)
    assert [(event.block_hash, event.tx_id, event.log_index) for event in news[: 2 * depth]] == before[::-1][
        : 2 * depth
    ]


async def test_an_iterator_that_began_in_the_past_takes_back_what_was_before_it_met_the_others(
    chain: Chain, client: BobClient
) -> None:
    first = chain.height + 1
    for _ in range(5):
        chain.block(1)
    steps = client.watch_heads_async()
    await anext(steps)
    listener = Listener(transfers(client, from_block=first))
    await listener.until(chain.logs(first))
    chain.block(1)
    await listener.until(chain.logs(first))
    chain.bob.node.reorganise(4, keep_transactions=False)
    chain.block(1)
    await listener.until(chain.logs(first))
    assert [event.removed for event in listener.history].count(True) == 4


async def test_any_mix_of_blocks_reorganisations_and_starts_is_reported_correctly(
    chain: Chain, client: BobClient
) -> None:
    chance, first = random.Random(11), chain.height + 1
    chain.block(1)
    listeners: list[Listener] = []
    for turn in range(60):
        above = chain.height - first
        if above > 3 and chance.random() < 0.4:
            chain.bob.node.reorganise(chance.randint(1, min(above, 15)), keep_transactions=chance.random() < 0.5)
        chain.block(chance.randint(0, 2))
        if turn % 12 == 0:
            listeners.append(Listener(transfers(client, from_block=first)))
        if chance.random() < 0.6:
            logs = chain.logs(first)
            await asyncio.gather(*[one.until(logs) for one in listeners if chance.random() < 0.5])
    chain.block(1)
    logs = chain.logs(first)
    await asyncio.gather(*[one.until(logs) for one in listeners])
    assert len(logs) > 5


async def test_heads_are_followed_by_all_iterators_alike(chain: Chain, client: BobClient) -> None:
    streams = [client.watch_heads_async() for _ in range(3)]
    told: list[list[bytes]] = [[] for _ in streams]

    async def step(index: int) -> ChainStep:
        one = await asyncio.wait_for(anext(streams[index]), 10)
        for point in one.removed:
            assert told[index].pop() == point.hash
        told[index] += [block.hash for block in one.added]
        return one

    await asyncio.gather(*[step(index) for index in range(3)])
    chain.bob.node.mine(5)
    chain.bob.node.reorganise(3, keep_transactions=True)
    chain.bob.node.mine(2)
    for index in range(3):
        while told[index][-1] != chain.bob.node.chain.head.hash:
            await step(index)
    assert told[0] == told[1] == told[2]
    parents = {
        block.hash: bytes(block.header.parent_hash)
        for number in range(chain.height + 1)
        if (block := chain.bob.node.chain.block_by_number(number)) is not None
    }
    assert [parents[one] for one in told[0][1:]] == told[0][:-1]


async def test_a_websocket_that_dies_again_and_again_makes_neither_gap_nor_repeat(
    chain: Chain, bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_notices, "_BACK_OFF", lambda _: 0.0)
    # Only notices and new connections wake it: the next poll would be in an hour.
    client = await bob.client("taker", websocket_url=bob.url.replace("http", "ws"), poll_interval_ms=3_600_000)
    bob.faults.set("drop_reply", method="eth_subscription", count=10)
    first = chain.height + 1
    chain.block(1)
    listener = Listener(transfers(client, from_block=first))
    await listener.until(chain.logs(first))
    for turn in range(15):
        coming = asyncio.ensure_future(listener.next())
        while not bob.node.watchers:  # noqa: ASYNC110 - until the node has the connection
            await asyncio.sleep(0)
        if turn % 4 == 3:
            bob.node.reorganise(2, keep_transactions=True)
        chain.block(1)
        await coming
        await listener.until(chain.logs(first))
    assert [event.removed for event in listener.history].count(True) > 3


async def test_a_thousand_subscribers_share_one_websocket_and_the_requests_of_one(
    chain: Chain, bob: BobNetwork, requests_seen: list[bytes]
) -> None:
    url = bob.url.replace("http", "ws")
    client = await bob.client("taker", websocket_url=url, poll_interval_ms=3_600_000)
    chain.block(1)
    listeners = [Listener(transfers(client, from_block=chain.height)) for _ in range(1000)]
    await asyncio.gather(*[listener.next() for listener in listeners])
    costs = []
    for _ in range(3):
        waiting = [asyncio.ensure_future(listener.next()) for listener in listeners]
        while not bob.node.watchers:  # noqa: ASYNC110 - until the node has the subscription
            await asyncio.sleep(0)
        before = len(b"".join(requests_seen).split(b'"method"'))
        chain.bob.node.mine(2)
        chain.block(1)
        await asyncio.gather(*waiting)
        costs.append(len(b"".join(requests_seen).split(b'"method"')) - before)
    assert len(bob.node.watchers) == 1
    # Three blocks: three calls for each read of the heads, one for each block between, and one for the receipts.
    assert max(costs) <= 16, costs


async def test_a_block_without_such_logs_is_not_read(
    chain: Chain, client: BobClient, requests_seen: list[bytes]
) -> None:
    first = chain.height + 1
    for _ in range(30):
        chain.bob.node.mine()
    chain.block(1)
    listener = Listener(transfers(client, from_block=first))
    await listener.until(chain.logs(first))
    assert b"".join(requests_seen).count(b"eth_getBlockReceipts") == 1


async def test_leaving_all_iterators_leaves_no_task_behind(chain: Chain, client: BobClient) -> None:
    async def watch() -> None:
        async with aclosing(transfers(client, from_block=chain.height)) as events:  # type: ignore[type-var]  # an async generator behind an interface
            async for _ in events:
                pass

    watching = [asyncio.ensure_future(watch()) for _ in range(50)]
    steps = client.watch_heads_async()
    await anext(steps)
    chain.block(1)
    await anext(steps)
    for one in watching:
        one.cancel()
    assert all(
        isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*watching, return_exceptions=True)
    )
    await steps.aclose()
    assert not client._watcher._waiters
    assert tasks_of_streams() == []


async def test_cancelling_one_of_many_disturbs_no_other(chain: Chain, client: BobClient) -> None:
    first = chain.height + 1
    chance = random.Random(3)
    listeners = [Listener(transfers(client, from_block=first)) for _ in range(20)]
    for _ in range(20):
        waiting = [asyncio.ensure_future(listener.next()) for listener in listeners]
        for _ in range(chance.randint(0, 30)):
            await asyncio.sleep(0)
        waiting[0].cancel()
        del listeners[0]
        listeners.append(Listener(transfers(client, from_block=first)))
        chain.block(1)
        await asyncio.gather(*waiting, return_exceptions=True)
    chain.block(1)
    logs = chain.logs(first)
    await asyncio.gather(*[listener.until(logs) for listener in listeners])


async def test_closing_the_client_ends_every_iterator_with_a_typed_error(bob: BobNetwork, chain: Chain) -> None:
    client = await bob.client("taker")
    steps, past = client.watch_heads_async(), transfers(client, from_block=chain.height)
    await anext(steps)
    waiting = [asyncio.ensure_future(anext(one)) for one in (steps, past)]
    await asyncio.sleep(0)
    await client.aclose()
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(error, NodeUnreachable)
        assert "closed" in error.message
    with pytest.raises(AsyncRuntimeError, match="closed"):
        await anext(client.watch_heads_async())
    assert tasks_of_streams() == []


async def test_a_node_that_is_away_for_a_moment_is_waited_for(chain: Chain, client: BobClient) -> None:
    first = chain.height + 1
    listener = Listener(transfers(client, from_block=first))
    chain.block(1)
    await listener.next()
    chain.bob.faults.set("error", count=2, status=503)
    chain.block(1)
    await listener.until(chain.logs(first))


async def test_a_node_that_stays_away_is_an_error_of_every_iterator(chain: Chain, client: BobClient) -> None:
    streams = [client.watch_heads_async() for _ in range(5)]
    for steps in streams:
        await anext(steps)
    chain.bob.faults.set("down")
    waiting = [asyncio.ensure_future(anext(steps)) for steps in streams]
    errors = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)
    assert [type(error) for error in errors] == [NodeUnreachable] * 5
    assert len({id(error) for error in errors}) == 5
    chain.bob.faults.set("none")
    assert (await anext(client.watch_heads_async())).added


# Lying nodes.


def altered(client: BobClient, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    read = client._node.block_receipts

    async def block_receipts(ref: int | bytes) -> Any:
        return change(await read(ref))

    monkeypatch.setattr(client._node, "block_receipts", block_receipts)


def emptied(receipts: Any) -> Any:
    return []


def without_one(receipts: Any) -> Any:
    return receipts[:-1]


def without_logs(receipts: Any) -> Any:
    return [receipt | {"logs": [], "logsBloom": "0x" + "00" * 256} for receipt in receipts]


def with_another_amount(receipts: Any) -> Any:
    for receipt in receipts:
        for log in receipt["logs"]:
            log["data"] = "0x" + "00" * 31 + "01"
    return receipts


def absent(receipts: Any) -> Any:
    return None


@pytest.mark.parametrize("lie", [emptied, without_one, without_logs, with_another_amount, absent])
async def test_a_node_that_keeps_a_log_back_or_changes_it_is_caught(
    chain: Chain, client: BobClient, monkeypatch: pytest.MonkeyPatch, lie: Any
) -> None:
    chain.block(1)
    chain.block(2)
    altered(client, monkeypatch, lie)
    with pytest.raises(BadAnswer, match="receipts of block"):
        await anext(transfers(client, from_block=chain.height))


async def test_a_block_removed_before_its_logs_were_read_is_neither_an_error_nor_a_gap(
    chain: Chain, client: BobClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = chain.height + 1
    listener = Listener(transfers(client, from_block=first))
    chain.block(1)
    read, node = client._node.block_receipts, chain.bob.node
    gone = node.chain.head.hash

    async def block_receipts(ref: int | bytes) -> Any:
        if node.chain.head.hash == gone:
            node.reorganise(1, keep_transactions=True)
        # As a node that forgets blocks of abandoned branches.
        return None if ref == gone else await read(ref)

    monkeypatch.setattr(client._node, "block_receipts", block_receipts)
    coming = asyncio.ensure_future(listener.next())
    while node.chain.head.hash == gone:  # noqa: ASYNC110 - until the receipts were asked for
        await asyncio.sleep(0)
    chain.block(1)
    await coming
    await listener.until(chain.logs(first))
    assert len(listener.standing) == 2
    assert [event.removed for event in listener.history] == [False, False]


# Arguments.


async def test_topics_choose_as_eth_getlogs_does(chain: Chain, client: BobClient) -> None:
    first = chain.height + 1
    chain.block(3)
    taker = chain.bob.address("taker").rjust(32, b"\x00")
    stranger = chain.bob.address("stranger").rjust(32, b"\x00")
    every = chain.logs(first)
    for choice in ([TRANSFER, taker], [[TRANSFER, b"\x01" * 32]], [None, [stranger, taker]], []):
        listener = Listener(client.watch_logs_async([TOKEN], choice, from_block=first))
        await listener.until(every)
    wrong = client.watch_logs_async(TOKEN, [TRANSFER, stranger], from_block=first)
    right = Listener(client.watch_logs_async(from_block=first))
    waiting = asyncio.ensure_future(anext(wrong))
    await right.until(every)
    assert not waiting.done()
    waiting.cancel()


WRONG: list[tuple[Any, Any, type[Layer2Error]]] = [
    ("0x12", (), FormatError),
    ([], (), InvalidRequest),
    (None, [b"\x01"], FormatError),
    (None, [[]], InvalidRequest),
    (None, [None] * 5, InvalidRequest),
]


@pytest.mark.parametrize(("address", "topics", "error"), WRONG)
async def test_what_no_log_has_is_refused(
    client: BobClient, address: Any, topics: Any, error: type[Layer2Error]
) -> None:
    with pytest.raises(error):
        await anext(client.watch_logs_async(address, topics))


async def test_a_height_that_the_chain_has_not_reached_is_an_error(chain: Chain, client: BobClient) -> None:
    with pytest.raises(BadAnswer, match="ends below it"):
        await anext(transfers(client, from_block=chain.height + 2))


def test_a_blocking_program_can_iterate_too() -> None:
    assert callable(BobClient.watch_logs_sync)
