"""A subscriber's queue keeps updates in order and up to a limit, and reports an overflow."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import AsyncRuntimeError, NodeUnreachable
from layer2.protocols.lightning.lnd.update_queue import UpdateQueue


async def test_every_update_is_returned_in_order() -> None:
    queue: UpdateQueue[int] = UpdateQueue()
    coming = asyncio.ensure_future(queue.next())
    await asyncio.sleep(0)
    for update in range(5):
        queue.put(update)
    assert [await coming, *[await queue.next() for _ in range(4)]] == [0, 1, 2, 3, 4]


async def test_a_cancelled_wait_loses_no_update() -> None:
    queue: UpdateQueue[int] = UpdateQueue()
    waiting = asyncio.ensure_future(queue.next())
    await asyncio.sleep(0)
    queue.put(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await queue.next() == 1


async def test_an_error_is_raised_after_the_updates_and_as_a_new_copy_each_time() -> None:
    queue: UpdateQueue[int] = UpdateQueue()
    error = NodeUnreachable("gone")
    queue.put(1)
    queue.fail(error)
    assert await queue.next() == 1
    raised = []
    for _ in range(2):
        with pytest.raises(NodeUnreachable, match="gone") as caught:
            await queue.next()
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert all(copy is not error and copy.__cause__ is error for copy in raised)


async def test_a_full_queue_raises_an_error_after_the_updates_that_it_kept() -> None:
    queue: UpdateQueue[int] = UpdateQueue(limit=3)
    for update in range(1, 8):
        queue.put(update)
    assert [await queue.next() for _ in range(3)] == [1, 2, 3]
    for _ in range(2):
        with pytest.raises(AsyncRuntimeError, match="left more than 3 updates") as caught:
            await queue.next()
        assert caught.value.remedy == "subscribe again with the cursor of the last update"
    queue.put(8)
    with pytest.raises(AsyncRuntimeError):
        await queue.next()
