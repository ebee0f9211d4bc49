"""What is read for as long as it is wanted is begun anew after every end, unless that does not pass."""

from __future__ import annotations

import asyncio

import pytest
from tenacity import wait_none

from layer2.errors import AuthenticationFailed, Layer2Error, NodeRefused, NodeUnreachable
from layer2.protocols.lightning.lnd import lasting
from layer2.protocols.lightning.lnd.lasting import LastingRead


class Node:
    """Ends each read as it is told; when nothing is left it goes on forever."""

    def __init__(self, *ends: Layer2Error | None) -> None:
        self.ends = list(ends)
        self.reads = 0
        self.failed: asyncio.Future[Layer2Error] = asyncio.get_running_loop().create_future()
        self.goes_on = asyncio.Event()
        self.reading = LastingRead("something", self.read, self.failed.set_result)

    async def read(self) -> None:
        self.reads += 1
        if not self.ends:
            self.goes_on.set()
            await asyncio.Event().wait()
        if (end := self.ends.pop(0)) is not None:
            raise end


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "_BACK_OFF", wait_none())


async def test_reading_is_begun_anew_after_ends_and_errors_that_pass() -> None:
    node = Node(None, NodeUnreachable("away"), NodeRefused("starting", retryable=True), None)
    node.reading.start()
    await asyncio.wait_for(node.goes_on.wait(), 5)
    assert (node.reads, node.failed.done()) == (5, False)
    await node.reading.aclose()
    assert node.reading.has_ended


async def test_an_error_that_does_not_pass_ends_it_at_once() -> None:
    node = Node(NodeUnreachable("away"), AuthenticationFailed("another macaroon"))
    node.reading.start()
    assert isinstance(await asyncio.wait_for(node.failed, 5), AuthenticationFailed)
    assert node.reads == 2
    assert not node.reading.is_under_way


async def test_a_refusal_that_is_repeated_ends_it_and_a_few_do_not() -> None:
    node = Node(*[NodeRefused("shutting down") for _ in range(4)])
    node.reading.start()
    await asyncio.wait_for(node.goes_on.wait(), 5)
    await node.reading.aclose()
    node = Node(*[NodeRefused("no such call") for _ in range(5)])
    node.reading.start()
    assert isinstance(await asyncio.wait_for(node.failed, 5), NodeRefused)


async def test_what_is_stopped_later_goes_on_where_it_is_started_again_before() -> None:
    node = Node()
    node.reading.start()
    await node.goes_on.wait()
    node.reading.stop_after(0)
    node.reading.start()
    await asyncio.sleep(0)
    assert (node.reading.is_under_way, node.reads) == (True, 1)
    node.reading.stop_after(0)
    while node.reading.is_under_way:  # noqa: ASYNC110 - the loop's own timer ends it
        await asyncio.sleep(0)
    await node.reading.aclose()
    assert not node.failed.done()
