"""Blocking twins: the same method for threads without a loop, refused if it would deadlock."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator

import pytest

from layer2.aio.blocking import Portal, iterator_twin, twin
from layer2.errors import AsyncRuntimeError


class Counter:
    """An object with twins, bound to a portal by hand."""

    def __init__(self, portal: Portal | None) -> None:
        self._portal = portal
        self.closed = False

    def blocking_portal(self) -> Portal:
        assert self._portal is not None
        return self._portal

    async def double_async(self, number: int, *, plus: int = 0) -> int:
        """Double a number."""
        await asyncio.sleep(0)
        return number * 2 + plus

    async def fail_async(self) -> None:
        """Fail."""
        raise ValueError("as asked")

    async def numbers_async(self, up_to: int) -> AsyncIterator[int]:
        """Count."""
        try:
            for number in range(up_to):
                yield number
        finally:
            self.closed = True

    double_sync = twin(double_async)
    fail_sync = twin(fail_async)
    numbers_sync = iterator_twin(numbers_async)


class Tripler(Counter):
    async def double_async(self, number: int, *, plus: int = 0) -> int:
        return number * 3 + plus


@pytest.fixture
def portal() -> object:
    made = Portal.with_own_thread()
    yield made
    made.close()


def test_a_twin_returns_what_the_async_method_returns(portal: Portal) -> None:
    assert Counter(portal).double_sync(4, plus=1) == 9


def test_a_twin_raises_what_the_async_method_raises(portal: Portal) -> None:
    with pytest.raises(ValueError, match="as asked"):
        Counter(portal).fail_sync()


def test_overriding_the_async_method_changes_the_twin(portal: Portal) -> None:
    assert Tripler(portal).double_sync(4) == 12


def test_a_twin_is_named_and_described_as_one() -> None:
    assert Counter.double_sync.__name__ == "double_sync"
    assert "Blocking twin of ``double_async``" in (Counter.double_sync.__doc__ or "")
    assert not asyncio.iscoroutinefunction(Counter.double_sync)


def test_an_iterator_twin_yields_and_closes_the_iterator(portal: Portal) -> None:
    counter = Counter(portal)
    assert list(counter.numbers_sync(3)) == [0, 1, 2]
    assert counter.closed


def test_leaving_an_iterator_twin_early_closes_it(portal: Portal) -> None:
    counter = Counter(portal)
    numbers = counter.numbers_sync(3)
    assert next(numbers) == 0
    numbers.close()  # type: ignore[attr-defined]  # a generator; the interface does not guarantee it
    assert counter.closed


async def test_inside_a_loop_a_twin_asks_for_await() -> None:
    with pytest.raises(AsyncRuntimeError, match="await double_async"):
        Counter(Portal.here()).double_sync(1)


async def test_inside_a_loop_no_portal_with_its_own_thread_is_made() -> None:
    with pytest.raises(AsyncRuntimeError, match="async with"):
        Portal.with_own_thread()


async def test_a_twin_called_from_another_thread_runs_in_the_loop_that_made_the_portal() -> None:
    counter = Counter(Portal.here())
    assert await asyncio.to_thread(counter.double_sync, 5) == 10


def test_a_second_loop_is_refused(portal: Portal) -> None:
    async def use() -> None:
        portal.check_loop()

    with pytest.raises(AsyncRuntimeError, match="belongs to the event loop that entered it"):
        asyncio.run(use())


def test_after_its_loop_has_ended_a_twin_is_refused() -> None:
    portal = Portal.with_own_thread()
    portal.close()
    with pytest.raises(AsyncRuntimeError, match="has ended"):
        Counter(portal).double_sync(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_a_twin_is_refused(portal: Portal) -> None:
    child = os.fork()
    if child == 0:
        try:
            Counter(portal).double_sync(1)
        except AsyncRuntimeError as error:
            os._exit(0 if "fork" in str(error) else 1)
        os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_closing_a_portal_ends_its_thread_and_its_tasks() -> None:
    portal = Portal.with_own_thread()
    ended = threading.Event()

    async def begin() -> None:
        async def endless() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        asyncio.create_task(endless()).add_done_callback(lambda _: None)
        await asyncio.sleep(0)

    portal.run("begin_async", begin)
    portal.close()
    assert ended.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "layer2-loop"]
