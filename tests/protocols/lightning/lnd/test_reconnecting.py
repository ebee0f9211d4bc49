"""A stream is opened again after every end, unless an error occurs that a retry cannot cure."""

from __future__ import annotations

import asyncio

import pytest
from tenacity import wait_none

from layer2.errors import AuthenticationFailed, Layer2Error, NodeRefused, NodeUnreachable
from layer2.protocols.lightning.lnd import reconnecting
from layer2.protocols.lightning.lnd.reconnecting import ReconnectingStream


class Node:
    """Ends each read with the next of ``ends``: an error, or None for a normal end. Further reads never end."""

    def __init__(self, *ends: Layer2Error | None) -> None:
        self.ends = list(ends)
        self.reads = 0
        self.failed: asyncio.Future[Layer2Error] = asyncio.get_running_loop().create_future()
        self.stays_open = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.stream = ReconnectingStream("something", self.read, self.tasks)

    def start(self) -> None:
        self.stream.join(self.failed.set_result)

    async def stop(self) -> None:
        self.stream.stop()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def read(self) -> None:
        self.reads += 1
        if not self.ends:
            self.stays_open.set()
            await asyncio.Event().wait()
        if (end := self.ends.pop(0)) is not None:
            raise end


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnecting, "_BACK_OFF", wait_none())


async def test_a_stream_is_opened_again_after_ends_and_retryable_errors() -> None:
    node = Node(None, NodeUnreachable("away"), NodeRefused("starting", retryable=True), None)
    node.start()
    await asyncio.wait_for(node.stays_open.wait(), 5)
    assert (node.reads, node.failed.done()) == (5, False)
    await node.stop()
    assert not node.tasks


async def test_an_error_that_is_not_retryable_ends_the_stream_at_once() -> None:
    node = Node(NodeUnreachable("away"), AuthenticationFailed("another macaroon"))
    node.start()
    assert isinstance(await asyncio.wait_for(node.failed, 5), AuthenticationFailed)
    assert node.reads == 2
    assert not node.stream.is_running


async def test_five_refusals_in_a_row_end_the_stream_and_four_do_not() -> None:
    node = Node(*[NodeRefused("shutting down") for _ in range(4)])
    node.start()
    await asyncio.wait_for(node.stays_open.wait(), 5)
    await node.stop()
    node = Node(*[NodeRefused("no such call") for _ in range(5)])
    node.start()
    assert isinstance(await asyncio.wait_for(node.failed, 5), NodeRefused)


async def test_a_delayed_stop_is_cancelled_by_a_start() -> None:
    node = Node()
    node.start()
    await node.stays_open.wait()
    node.stream.leave(node.failed.set_result)
    node.start()
    await asyncio.sleep(0)
    assert (node.stream.is_running, node.reads) == (True, 1)
    node.stream.leave(node.failed.set_result)
    while node.stream.is_running:  # noqa: ASYNC110 - a timer of the loop ends it
        await asyncio.sleep(0)
    await node.stop()
    assert not node.failed.done()
