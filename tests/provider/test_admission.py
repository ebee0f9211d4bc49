"""How a provider limits what it does at the same time."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import QuoteRefused
from layer2.provider.admission import Admission


async def hold(admission: Admission, released: asyncio.Event) -> None:
    async with admission.place():
        await released.wait()


async def test_more_than_the_limit_wait_a_moment_and_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layer2.provider.admission._LONGEST_WAIT_SECONDS", 10)
    admission, released, served = Admission(2), asyncio.Event(), 0

    async def serve() -> None:
        nonlocal served
        async with admission.place():
            served += 1
            await released.wait()

    calls = [asyncio.create_task(serve()) for _ in range(4)]
    await asyncio.sleep(0.01)
    assert served == 2
    released.set()
    await asyncio.gather(*calls)
    assert served == 4


async def test_what_is_beyond_the_queue_is_refused_at_once_and_the_others_after_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("layer2.provider.admission._LONGEST_WAIT_SECONDS", 0.1)
    admission, released = Admission(2), asyncio.Event()
    calls = [asyncio.create_task(hold(admission, released)) for _ in range(4)]
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(QuoteRefused) as refused:
        await hold(admission, released)
    assert loop.time() - began < 0.05
    assert (refused.value.code, refused.value.retryable) == ("busy", True)
    assert (refused.value.retry_after or 0) >= 1
    done, _ = await asyncio.wait(calls, timeout=5, return_when=asyncio.FIRST_EXCEPTION)
    assert {type(each.exception()) for each in done} == {QuoteRefused}
    released.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [each.exception() is None for each in calls] == [True, True, False, False]
    await hold(admission, released)


async def test_refused_takers_are_asked_to_return_at_the_pace_of_recent_requests() -> None:
    admission, released = Admission(1), asyncio.Event()
    calls = [asyncio.create_task(hold(admission, released)) for _ in range(2)]
    await asyncio.sleep(0)
    pauses = []
    for _ in range(20):
        with pytest.raises(QuoteRefused) as refused:
            await hold(admission, released)
        pauses.append(refused.value.retry_after or 0)
    # At the assumed pace of five a second, twenty return over four seconds.
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (1, 4)
    released.set()
    await asyncio.gather(*calls)


async def test_a_request_that_is_cancelled_gives_its_place_back() -> None:
    admission, released = Admission(1), asyncio.Event()
    calls = [asyncio.create_task(hold(admission, released)) for _ in range(2)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    released.set()
    await asyncio.wait_for(hold(admission, released), 5)
