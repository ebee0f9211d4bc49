"""What a subscriber has still to take is kept in order and within a limit, or only the newest of it."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import AsyncRuntimeError, NodeUnreachable
from layer2.protocols.lightning.lnd.outlet import Cell, Outlet


async def test_a_cell_keeps_the_newest_word_only() -> None:
    cell: Cell[int] = Cell()
    for word in (1, 2, 3):
        cell.put(word)
    assert await cell.next() == 3
    coming = asyncio.ensure_future(cell.next())
    await asyncio.sleep(0)
    assert not coming.done()
    cell.put(4)
    assert await coming == 4


async def test_a_cell_fails_after_the_word_that_was_not_taken_yet_and_each_time_anew() -> None:
    cell: Cell[int] = Cell()
    told = NodeUnreachable("gone")
    cell.put(1)
    cell.fail(told)
    assert await cell.next() == 1
    raised = []
    for _ in range(2):
        with pytest.raises(NodeUnreachable, match="gone") as caught:
            await cell.next()
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert all(error is not told and error.__cause__ is told for error in raised)


async def test_a_cancelled_wait_loses_no_word() -> None:
    cell: Cell[int] = Cell()
    waiting = asyncio.ensure_future(cell.next())
    await asyncio.sleep(0)
    cell.put(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await cell.next() == 1


async def test_an_outlet_hands_every_word_out_in_order() -> None:
    outlet: Outlet[int] = Outlet("begin again")
    coming = asyncio.ensure_future(outlet.next())
    await asyncio.sleep(0)
    for word in range(5):
        outlet.put(word)
    assert [await coming, *[await outlet.next() for _ in range(4)]] == [0, 1, 2, 3, 4]


async def test_an_outlet_that_is_full_says_so_after_the_words_that_it_kept() -> None:
    outlet: Outlet[int] = Outlet("begin again after 3", most=3)
    for word in range(1, 8):
        outlet.put(word)
    assert [await outlet.next() for _ in range(3)] == [1, 2, 3]
    for _ in range(2):
        with pytest.raises(AsyncRuntimeError, match="left more than 3 updates") as caught:
            await outlet.next()
        assert caught.value.remedy == "begin again after 3"
    outlet.put(8)
    with pytest.raises(AsyncRuntimeError):
        await outlet.next()
