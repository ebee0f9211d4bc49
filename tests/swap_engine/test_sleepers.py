"""The rows of sleeping swaps: when each wakes, and at which pace."""

from __future__ import annotations

import asyncio
import itertools
import math

from layer2.model.transactions import SwapId
from layer2.swap_engine.sleepers import Sleeper, Sleepers
from swap_engine.virtual_time import EPOCH, VirtualClock, run

POLL_SECONDS = 60.0
LOOK_SECONDS = 20 * POLL_SECONDS


class Woken:
    """The swaps that were woken: each with the time, and whether it may sleep again after one turn."""

    def __init__(self, awake: int = 0, poll_seconds: float = POLL_SECONDS) -> None:
        self.sleepers = Sleepers(VirtualClock(), poll_seconds, self._start, lambda: awake)
        self.at: list[tuple[int, float, bool]] = []
        self.goes_back = True
        """Whether each falls asleep again at once, as after a turn that finds nothing."""

    def _start(self, row: Sleeper, is_idle: bool) -> None:
        self.at.append((int(row.swap_id, 16), asyncio.get_running_loop().time(), is_idle))
        if self.goes_back and is_idle:
            self.sleepers.turned(row.swap_id)
            self.add(int(row.swap_id, 16))

    def add(self, number: int, wake_at: float = math.inf) -> Sleeper:
        row = Sleeper(self.sleepers, SwapId(f"{number:032x}"), b"\x01" * 32, wake_at)
        self.sleepers.add(row)
        return row

    @property
    def numbers(self) -> list[int]:
        return [number for number, _, _ in self.at]


def test_each_wakes_at_its_own_time_and_is_not_idle_then() -> None:
    async def story() -> None:
        woken = Woken()
        for number, after in ((1, 500), (2, 100), (3, 900), (4, 100)):
            woken.add(number, EPOCH + after)
        await asyncio.sleep(1_000)
        assert sorted((at, number) for number, at, _ in woken.at) == [(100, 2), (100, 4), (500, 1), (900, 3)]
        assert not any(is_idle for _, _, is_idle in woken.at)
        assert len(woken.sleepers) == 0
        woken.sleepers.close()

    run(story())


def test_a_row_that_was_woken_does_not_wake_its_successor() -> None:
    async def story() -> None:
        woken = Woken()
        first = woken.add(1, EPOCH + 100)
        first.changed()
        first.changed()
        assert woken.numbers == [1]
        woken.add(1, EPOCH + 500)
        first.changed()
        first.missed()
        await asyncio.sleep(400)
        assert woken.numbers == [1]
        await asyncio.sleep(200)
        assert [at for _, at, _ in woken.at] == [0, 500]
        woken.sleepers.close()

    run(story())


def test_each_is_looked_at_in_rotation() -> None:
    async def story() -> None:
        woken = Woken()
        for number in (1, 2, 3):
            woken.add(number)
        await asyncio.sleep(3 * LOOK_SECONDS)
        assert woken.numbers[:6] == [1, 2, 3, 1, 2, 3]
        assert all(is_idle for _, _, is_idle in woken.at)
        for number in (1, 2, 3):
            times = [at for each, at, _ in woken.at if each == number]
            assert all(later - earlier <= LOOK_SECONDS + 1 for earlier, later in itertools.pairwise(times))
        woken.sleepers.close()

    run(story())


def test_looks_have_a_limited_rate_however_many_sleep() -> None:
    async def story() -> None:
        woken = Woken(poll_seconds=1.0)
        for number in range(2_000):
            woken.add(number)
        await asyncio.sleep(20)
        before = len(woken.at)
        await asyncio.sleep(60)
        assert 290 <= len(woken.at) - before <= 301
        assert len(set(woken.numbers)) == len(woken.at)
        woken.sleepers.close()

    run(story())


def test_many_awake_swaps_slow_the_looks_and_do_not_stop_them() -> None:
    async def story() -> None:
        looks = []
        for awake in (0, 4_000):
            woken = Woken(awake=awake)
            for number in range(5):
                woken.add(number)
            await asyncio.sleep(50 * LOOK_SECONDS)
            looks.append(len(woken.at))
            woken.sleepers.close()
        # Five rows, each once in every interval; and a fifth of that.
        assert looks[0] in range(240, 252)
        assert looks[1] in range(48, 52)

    run(story())


def test_a_clock_that_is_set_forward_wakes_within_one_poll() -> None:
    async def story() -> None:
        ahead = 0.0

        class SetClock:
            def now(self) -> float:
                return VirtualClock().now() + ahead

        times: list[float] = []
        sleepers = Sleepers(SetClock(), POLL_SECONDS, lambda *_: times.append(asyncio.get_running_loop().time()), int)
        sleepers.add(Sleeper(sleepers, SwapId("1"), b"\x01" * 32, EPOCH + 50_000))
        await asyncio.sleep(100)
        ahead = 50_000.0
        await asyncio.sleep(POLL_SECONDS)
        assert len(times) == 1
        sleepers.close()

    run(story())


def test_rows_that_were_woken_long_before_their_time_are_not_kept() -> None:
    async def story() -> None:
        woken = Woken()
        for number in range(10_000):
            woken.add(number, EPOCH + 10**6 + number).changed()
        assert len(woken.sleepers._times) <= 2_000
        woken.sleepers.close()

    run(story())


def test_the_rows_before_a_first_turn_are_not_kept_after_it() -> None:
    async def story() -> None:
        woken = Woken()
        count = 10_000
        woken.sleepers.load(
            [Sleeper(woken.sleepers, SwapId(f"{number:032x}"), b"", EPOCH + 10**6) for number in range(count)]
        )
        while len(woken.at) < count:  # noqa: ASYNC110 - each turn is in another callback
            await asyncio.sleep(1)
        assert len(woken.sleepers) == count
        assert len(woken.sleepers._times) <= 1.1 * count + 1_000
        woken.sleepers.close()

    run(story())


def test_nothing_wakes_after_the_close() -> None:
    async def story() -> None:
        woken = Woken()
        rows = [woken.add(number, EPOCH + 100) for number in range(100)]
        for row in rows[:80]:
            row.missed()
        taken = len(woken.at)
        woken.sleepers.close()
        rows[90].changed()
        rows[91].missed()
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert len(woken.at) == taken

    run(story())


def test_a_busy_process_begins_no_more_turns_because_they_take_long() -> None:
    async def story() -> None:
        woken = Woken()
        woken.goes_back = False
        rows = [woken.add(number) for number in range(200)]
        for row in rows:
            row.missed()
        assert len(woken.at) == 50
        selector = asyncio.get_running_loop()._jumping  # type: ignore[attr-defined]  # of the loop with virtual time
        # Something else holds up the loop for five seconds, in which the places would have become free.
        selector.now += 5.0
        await asyncio.sleep(1)
        assert len(woken.at) == 50
        await asyncio.sleep(1.5)
        assert len(woken.at) == 100
        woken.sleepers.close()

    run(story())


def test_news_that_is_missed_again_and_again_leaves_no_swap_without_a_turn() -> None:
    async def story() -> None:
        turns: list[int] = []

        def start(row: Sleeper, is_idle: bool) -> None:
            turns.append(int(row.swap_id, 16))
            asyncio.get_running_loop().call_later(1.0, sleep_again, row)

        def sleep_again(row: Sleeper) -> None:
            sleepers.turned(row.swap_id)
            sleepers.add(Sleeper(sleepers, row.swap_id, row.payment_hash, row.wake_at))

        sleepers = Sleepers(VirtualClock(), POLL_SECONDS, start, int)
        for number in range(200):
            sleepers.add(Sleeper(sleepers, SwapId(f"{number:032x}"), b"\x01" * 32, EPOCH + 10**6 + number))
        for _ in range(20):
            # As with each block whose events cannot be read.
            for row in sleepers.rows():
                row.missed()
            await asyncio.sleep(1.5)
        assert set(turns) == set(range(200))
        sleepers.close()

    run(story())


def test_a_layer_that_fails_whenever_it_follows_a_swap_does_not_wake_it_without_a_pause() -> None:
    async def story() -> None:
        woken = Woken()
        woken.goes_back = False
        for expected in (True, False, False):
            woken.add(1).missed()
            assert woken.at[-1][2] is expected
            woken.sleepers.turned(SwapId(f"{1:032x}"))
            await asyncio.sleep(POLL_SECONDS)
        woken.add(2).missed()
        assert woken.at[-1][2]
        await asyncio.sleep(3 * POLL_SECONDS)
        woken.add(1).missed()
        assert woken.at[-1][2]
        woken.sleepers.close()

    run(story())


def test_a_clock_that_is_set_back_gives_each_a_turn_that_sets_another_time() -> None:
    async def story() -> None:
        behind = 0.0

        class SetClock:
            def now(self) -> float:
                return VirtualClock().now() - behind

        turns: list[str] = []

        def start(row: Sleeper, is_idle: bool) -> None:
            turns.append(row.swap_id)
            asyncio.get_running_loop().call_soon(sleepers.turned, row.swap_id)

        sleepers = Sleepers(SetClock(), POLL_SECONDS, start, lambda: 10_000)
        for number in range(200):
            sleepers.add(Sleeper(sleepers, SwapId(f"{number:032x}"), b"\x01" * 32, EPOCH + 50_000))
        await asyncio.sleep(2 * POLL_SECONDS)
        behind = 30.0
        await asyncio.sleep(2 * POLL_SECONDS)
        assert not turns
        behind = 40_000.0
        await asyncio.sleep(2 * POLL_SECONDS)
        assert len(set(turns)) == len(turns) == 200
        sleepers.close()

    run(story())


def test_the_time_of_a_swap_comes_before_its_first_turn_if_the_turns_of_others_take_long() -> None:
    async def story() -> None:
        woken = Woken()
        woken.goes_back = False
        times = [*(EPOCH + 20 + number // 100 for number in range(1_000)), EPOCH - 5]
        rows = [Sleeper(woken.sleepers, SwapId(f"{number:032x}"), b"", wake_at) for number, wake_at in enumerate(times)]
        # No turn ends: a node does not answer.
        woken.sleepers.load(rows)
        await asyncio.sleep(35)
        late = [number for number, at, _ in woken.at if at > max(0, rows[number].wake_at - EPOCH) + 1]
        assert not late
        assert sorted(woken.numbers) == list(range(1_001))
        woken.sleepers.close()

    run(story())


def test_after_the_machine_was_suspended_those_that_are_late_wake_in_turn_and_those_in_time_at_once() -> None:
    async def story() -> None:
        ahead = 0.0

        class SetClock:
            def now(self) -> float:
                return VirtualClock().now() + ahead

        turns: list[int] = []

        def start(row: Sleeper, is_idle: bool) -> None:
            turns.append(int(row.swap_id, 16))

        sleepers = Sleepers(SetClock(), POLL_SECONDS, start, int)
        for number in range(300):
            sleepers.add(Sleeper(sleepers, SwapId(f"{number:032x}"), b"\x01" * 32, EPOCH + 1_000 + number))
        for number in range(300, 400):
            sleepers.add(Sleeper(sleepers, SwapId(f"{number:032x}"), b"\x01" * 32, EPOCH + 50_030))
        # The machine's clock continues while it is suspended, and the loop's does not.
        ahead = 50_000.0
        await asyncio.sleep(POLL_SECONDS + 0.5)
        in_time = [number for number in turns if number >= 300]
        assert len(in_time) == 100
        assert sorted(set(turns) - set(in_time)) == list(range(50)), "the soonest time first"
        for _ in range(6):
            for number in turns[:]:
                sleepers.turned(SwapId(f"{number:032x}"))
            await asyncio.sleep(0)
        assert sorted(turns) == list(range(400))
        sleepers.close()

    run(story())
