"""How benchmarks put load on what they measure: what they count is what happened. No time is measured here."""

from __future__ import annotations

import asyncio
import random
import runpy
import socket
from pathlib import Path

import pytest

LOAD = Path(__file__).parents[2] / "benchmarks" / "load"
ROUNDS = runpy.run_path(str(LOAD / "rounds.py"))
STORM = runpy.run_path(str(LOAD / "storm.py"))
HOLDINGS = runpy.run_path(str(LOAD / "holdings.py"))


async def test_ways_take_turns_after_a_round_each_that_does_not_count() -> None:
    said: list[str] = []

    def way(name: str, *rates: float) -> object:
        coming = iter(rates)

        async def one_round() -> float:
            said.append(name)
            return next(coming)

        return one_round

    ways = {"ours": way("ours", 99, 1, 5, 3), "peer": way("peer", 99, 2, 2, 9)}
    assert await ROUNDS["medians"](3, ways) == {"ours": 3, "peer": 2}
    assert said == ["ours", "peer"] * 4


async def test_a_storm_counts_what_was_answered_and_what_was_cancelled() -> None:
    answered = cancelled = 0

    async def call(item: str) -> None:
        nonlocal answered, cancelled
        assert item in {"one", "two"}
        if item == "two":
            try:
                await asyncio.Event().wait()
            finally:
                cancelled += 1
        answered += 1

    # Every call is to be cancelled; those for "one" come to their end before.
    storm = STORM["Storm"](call, ["one", "two"], 1.0, 0.0, random.Random(1))
    await storm.run(0.05)
    assert (storm.done, storm.cancelled) == (answered, cancelled)
    assert answered > 0
    assert cancelled > 0


async def test_an_error_of_a_call_ends_the_storm() -> None:
    async def call(item: str) -> None:
        raise ValueError(item)

    storm = STORM["Storm"](call, ["one"], 0.0, 0.0, random.Random(1))
    with pytest.raises(ValueError, match="one"):
        await storm.run(60)


async def test_what_is_left_behind_is_seen_by_its_kind() -> None:
    now = HOLDINGS["Holdings"].now
    before = now()
    assert dict(now().over(before)) == {"sockets": 0, "tasks": 0, "waiters": 0}
    waiter = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(asyncio.sleep(0))
    with socket.socket():
        assert dict(now().over(before)) == {"sockets": 1, "tasks": 1, "waiters": 1}
    await task
    waiter.cancel()
    assert dict(now().over(before)) == {"sockets": 0, "tasks": 0, "waiters": 0}
