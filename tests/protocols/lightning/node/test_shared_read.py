"""One read serves all callers that accept its age, and a request without an answer delays no one for long."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import BadAnswer, NodeUnreachable
from layer2.protocols.lightning.node.shared_read import SharedRead


class Source:
    """Answers with the number of the request, at once or when released."""

    def __init__(self) -> None:
        self.asked = 0
        self.waits_for: asyncio.Event | None = None
        self.error: Exception | None = None

    async def ask(self) -> int:
        self.asked += 1
        number, waits_for = self.asked, self.waits_for
        if waits_for is not None:
            await waits_for.wait()
        if self.error is not None:
            raise self.error
        return number


@pytest.fixture
def source() -> Source:
    return Source()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_callers_at_the_same_time_and_those_that_accept_its_age_share_a_request(source: Source) -> None:
    read = SharedRead(source.ask)
    moment = now()
    assert await asyncio.gather(*(read.since(now()) for _ in range(50))) == [1] * 50
    assert await read.since(moment) == 1
    assert await read.since(now()) == 2


async def test_a_caller_during_a_request_that_was_sent_before_its_moment_gets_the_next_one(source: Source) -> None:
    read = SharedRead(source.ask)
    source.waits_for = asyncio.Event()
    first = asyncio.ensure_future(read.since(now()))
    await asyncio.sleep(0.01)
    accepts, refuses = [asyncio.ensure_future(read.since(moment)) for moment in (now() - 1, now())]
    await asyncio.sleep(0)
    source.waits_for.set()
    assert [await first, await accepts, await refuses] == [1, 1, 2]


async def test_requests_are_spaced(source: Source) -> None:
    read = SharedRead(source.ask, spacing=0.05)
    started = now()
    for _ in range(4):
        await read.since(now())
    assert now() - started >= 0.15
    assert source.asked == 4


async def test_a_cancelled_caller_leaves_the_request_to_the_others_and_the_last_one_ends_it(source: Source) -> None:
    read = SharedRead(source.ask)
    source.waits_for = asyncio.Event()
    callers = [asyncio.ensure_future(read.since(0.0)) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    source.waits_for.set()
    assert await asyncio.gather(*callers[1:]) == [1, 1]

    source.waits_for = asyncio.Event()
    silent = asyncio.ensure_future(read.since(now()))
    await asyncio.sleep(0)
    silent.cancel()
    await asyncio.gather(silent, return_exceptions=True)
    source.waits_for = None
    assert await asyncio.wait_for(read.since(now()), 1.0) == 3


async def test_a_request_that_stays_without_an_answer_is_made_again(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layer2.protocols.lightning.node.shared_read._PATIENCE", 0.05)
    read = SharedRead(source.ask)
    source.waits_for = asyncio.Event()
    stuck = asyncio.ensure_future(read.since(now()))
    await asyncio.sleep(0.1)
    release, source.waits_for = source.waits_for, None
    assert await asyncio.wait_for(read.since(0.0), 1.0) == 2
    # An older answer that comes late does not replace a newer one.
    release.set()
    await stuck
    assert read.last == 2


async def test_an_error_reaches_all_callers_and_is_not_kept(source: Source) -> None:
    read = SharedRead(source.ask)
    source.error = BadAnswer("nonsense")
    errors = await asyncio.gather(*(read.since(now()) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(error, BadAnswer) for error in errors)
    assert source.asked == 1
    source.error = None
    assert await read.since(0.0) == 2


async def test_closing_ends_all_requests_and_forgets_the_result(source: Source) -> None:
    read = SharedRead(source.ask)
    assert await read.since(0.0) == 1
    source.waits_for = asyncio.Event()
    caller = asyncio.ensure_future(read.since(now()))
    await asyncio.sleep(0)
    await read.aclose()
    with pytest.raises(NodeUnreachable, match="the client was closed"):
        await caller
    assert read.last is None
