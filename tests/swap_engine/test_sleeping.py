"""A swap that only waits sleeps. It misses no report, no time, and nothing that happens while it falls asleep."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from dataclasses import replace

import pytest

from layer2.errors import JournalError, NodeUnreachable, Outcome
from layer2.legs.timelock_settings import MAINNET, REGTEST, TimelockSettings
from layer2.model.transactions import Finality, SwapId
from layer2.ports.journal import Role
from layer2.swap_engine.driver import Driver
from swap_engine.fake_layers import FakeLayer
from swap_engine.two_parties import Party, Scene, wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import SWAP_ID

PAIRS = [("bob", "lightning"), ("lightning", "bob"), ("bob", "rootstock")]
POLL_SECONDS = 60


def is_asleep(party: Party) -> bool:
    """Whether the party's swap is open and only its row is left."""
    runner = party.runner
    names = [task.get_name() for task in asyncio.all_tasks()]
    return not runner._tasks and not runner._drivers and "layer2-swap" not in names and len(runner._sleepers) == 1


async def asleep(party: Party, *, within: float = 3 * POLL_SECONDS) -> None:
    async with asyncio.timeout(within):
        while not is_asleep(party):  # noqa: ASYNC110 - the event is in another task
            await asyncio.sleep(1)


async def all_asleep(party: Party, count: int) -> None:
    while len(party.runner._sleepers) < count or party.runner._tasks:  # noqa: ASYNC110 - the event is in another task
        await asyncio.sleep(0.1)


def unreported(party: Party) -> None:
    """The party's layers never report anything again."""
    for layer in party.layers:
        layer.world = _Silent(layer.world)  # type: ignore[assignment]  # a view of the same world


class _Silent:
    """The world, without its changes."""

    def __init__(self, world: object) -> None:
        self.__dict__["inner"] = world
        self.__dict__["listeners"] = []
        self.__dict__["changed"] = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["inner"], name)

    def __setattr__(self, name: str, value: object) -> None:
        if name != "listeners":
            setattr(self.__dict__["inner"], name, value)


async def counter_funded(source: str, destination: str, rules: TimelockSettings = REGTEST) -> Scene:
    """A swap that the provider has funded, and whose taker is gone."""
    scene = await Scene.of(source, destination, rules, Finality.LATEST)
    await scene.provider.runner.resume()
    await scene.taker.runner.resume()
    await scene.taker.until("funding")
    scene.taker.destination.fault = _down
    await scene.provider.until("counter_funded")
    await scene.taker.runner.aclose()
    return scene


async def _down(when: str, what: str) -> None:
    await asyncio.sleep(0)
    raise NodeUnreachable("no answer", outcome=Outcome.NOT_SENT)


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_a_swap_that_waits_has_neither_a_task_nor_a_driver_and_completes(source: str, destination: str) -> None:
    async def story() -> None:
        scene = await Scene.of(source, destination, REGTEST, Finality.LATEST)
        await scene.provider.runner.resume()
        await asleep(scene.provider)
        await scene.taker.runner.resume()
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        await scene.close()
        assert not scene.world.listeners

    run(story())


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_a_swap_wakes_at_once_when_its_leg_changes(source: str, destination: str) -> None:
    async def story() -> None:
        scene = await counter_funded(source, destination)
        await asleep(scene.provider)
        assert scene.provider.destination.reserved == {scene.terms.payment_hash}
        began = asyncio.get_running_loop().time()
        scene.taker.destination.fault = _breathe
        await scene.taker.start().resume()
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        # Much less than a look or a time to wake.
        assert asyncio.get_running_loop().time() - began < 60 + 2 * scene.world.rules.courtesy
        await scene.close()

    run(story())


async def _breathe(when: str, what: str) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("slow_end", ["source", "destination"])
def test_what_happens_between_the_observation_and_the_sleep_is_not_missed(slow_end: str) -> None:
    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        slow: FakeLayer = getattr(scene.provider, slow_end)
        observe = slow.observe

        async def slowly(htlc: object, side: object) -> object:
            if slow_end == "source":
                view = await observe(htlc, side)  # type: ignore[arg-type]
                await asyncio.sleep(1)
                return view
            await asyncio.sleep(1)
            return await observe(htlc, side)  # type: ignore[arg-type]

        slow.observe = slowly  # type: ignore[method-assign,assignment]
        scene.chain_of(scene.terms.source).inclusion_seconds = lambda: 0
        await scene.provider.runner.resume()
        await asyncio.sleep(0.2)
        await scene.taker.runner.resume()
        await scene.when(lambda: scene.lock_of(scene.terms.source) is not None)
        # The source is locked within this turn, after it was observed. Nothing else will be reported.
        assert asyncio.get_running_loop().time() < 1
        unreported(scene.provider)
        assert not scene.world.listeners
        await scene.provider.until("counter_funding")
        assert asyncio.get_running_loop().time() < POLL_SECONDS / 2
        await scene.close()

    run(story())


@pytest.mark.parametrize("rules", [REGTEST, MAINNET], ids=lambda one: one.network)
@pytest.mark.parametrize(("source", "destination"), [("bob", "rootstock"), ("lightning", "bob")])
def test_a_swap_wakes_at_its_deadline_without_any_report(
    source: str, destination: str, rules: TimelockSettings
) -> None:
    def reclaimed_at(*, can_follow: bool) -> float:
        ended: list[float] = []

        async def story() -> None:
            scene = await counter_funded(source, destination, rules)
            for layer in scene.provider.layers:
                layer.can_follow = can_follow
            if can_follow:
                await asleep(scene.provider, within=3_600)
            unreported(scene.provider)
            await scene.provider.until("refunding")
            ended.append(asyncio.get_running_loop().time())
            await scene.close()

        run(story())
        return ended[0]

    assert abs(reclaimed_at(can_follow=True) - reclaimed_at(can_follow=False)) < 2


def test_a_look_finds_what_no_layer_reports() -> None:
    async def story() -> None:
        scene = await counter_funded("bob", "rootstock", MAINNET)
        await asleep(scene.provider, within=3_600)
        unreported(scene.provider)
        began = asyncio.get_running_loop().time()
        scene.taker.destination.fault = _breathe
        await scene.taker.start().resume()
        await scene.provider.until("collecting")
        # Twenty polls of 600 s, and far before the deadline.
        assert asyncio.get_running_loop().time() - began < 20 * 600 + 60
        await scene.close()

    run(story())


def test_a_swap_on_a_layer_that_cannot_follow_stays_awake() -> None:
    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        scene.provider.destination.can_follow = False
        await scene.provider.runner.resume()
        with pytest.raises(TimeoutError):
            await asleep(scene.provider)
        await scene.close()

    run(story())


def test_a_swap_whose_node_is_down_stays_awake() -> None:
    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        scene.provider.destination.fault = _down
        await scene.provider.runner.resume()
        with pytest.raises(TimeoutError):
            await asleep(scene.provider)
        await scene.close()

    run(story())


def test_a_swap_with_an_act_under_way_stays_awake() -> None:
    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        scene.chain_of(scene.terms.source).inclusion_seconds = lambda: 3_600
        await scene.taker.runner.resume()
        await scene.taker.until("funding")
        with pytest.raises(TimeoutError):
            await asleep(scene.taker)
        await scene.close()

    run(story())


@pytest.mark.parametrize("name", ["taker", "provider"])
def test_a_swap_that_another_task_has_ended_does_not_sleep(name: str) -> None:
    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        party: Party = getattr(scene, name)
        early = party.record
        await scene.play()
        driver = Driver(party.runner._context, early, is_idle=True)
        assert await driver.run() is None
        assert driver.record.is_final
        await scene.close()

    run(story())


def test_a_swap_that_sleeps_is_driven_and_is_open_at_the_end() -> None:
    async def story() -> None:
        scene = await counter_funded("bob", "rootstock")
        await asleep(scene.provider)
        scene.provider.runner.drive(scene.provider.record)
        assert is_asleep(scene.provider)
        assert await scene.provider.runner.aclose() == (SWAP_ID,)
        assert not scene.world.listeners
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await scene.close()

    run(story())


class FailingLoads:
    """The next loads of a party's journal fail."""

    def __init__(self, party: Party, times: int, error: Exception) -> None:
        self.left = times
        load = party.journal.load

        async def failing(swap_id: SwapId) -> object:
            self.left -= 1
            if self.left >= 0:
                raise error
            return await load(swap_id)

        party.journal.load = failing  # type: ignore[method-assign,assignment]


def test_a_journal_that_cannot_be_read_only_delays_waking(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        scene = await counter_funded("bob", "rootstock")
        await asleep(scene.provider)
        loads = FailingLoads(scene.provider, 3, JournalError("the disk is gone"))
        scene.taker.destination.fault = _breathe
        await scene.taker.start().resume()
        await wait_for(scene.taker.runner, SWAP_ID)
        await wait_for(scene.provider.runner, SWAP_ID)
        assert loads.left <= 0
        assert scene.states == ("completed", "completed")
        await scene.close()

    run(story())
    assert "the disk is gone" in caplog.text


class Turns:
    """The swaps whose first turn began, in order, and the most that had one at the same time."""

    def __init__(self, party: Party, seconds: float) -> None:
        self.order: list[bytes] = []
        self.most = 0
        self._now = 0
        load = party.journal.load

        async def slow(swap_id: SwapId) -> object:
            self.order.append(bytes.fromhex(swap_id))
            self._now += 1
            self.most = max(self.most, self._now)
            await asyncio.sleep(seconds)
            self._now -= 1
            return await load(swap_id)

        party.journal.load = slow  # type: ignore[method-assign,assignment]


def with_copies(party: Party, count: int, collect_by: Callable[[int], int]) -> None:
    """Replace the party's swap by copies of it with other ids and times."""
    record, intents = party.record, party.journal._intents[SWAP_ID]
    party.journal.records.clear()
    assert record.terms is not None
    for number in range(count):
        swap_id = SwapId(f"{number:032x}")
        terms = {**record.terms, "terms": {**record.terms["terms"], "collect_by": collect_by(number)}}
        party.journal.records[swap_id] = replace(record, swap_id=swap_id, terms=terms)
        party.journal._intents[swap_id], party.journal._events[swap_id] = list(intents), []


def test_after_a_start_a_limited_number_of_swaps_has_a_turn_at_once_and_the_soonest_is_first() -> None:
    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        latest = scene.terms.collect_by
        with_copies(scene.provider, 200, lambda number: latest - number % 97)
        turns = Turns(scene.provider, 0.1)
        began = asyncio.get_running_loop().time()
        assert len(await scene.provider.runner.resume()) == 200
        await all_asleep(scene.provider, 200)
        assert turns.most == 50
        assert asyncio.get_running_loop().time() - began < 2
        times = [latest - int.from_bytes(swap_id) % 97 for swap_id in turns.order]
        assert len(times) == 200
        assert times == sorted(times)
        await scene.close()

    run(story())


def test_turns_that_take_long_do_not_keep_their_places() -> None:
    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        with_copies(scene.provider, 200, lambda number: scene.terms.collect_by)
        turns = Turns(scene.provider, 30)
        await scene.provider.runner.resume()
        await asyncio.sleep(7)
        assert len(turns.order) == 200
        await scene.close()

    run(story())


def test_a_user_of_a_swap_does_not_wait_for_the_turns_of_others() -> None:
    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        with_copies(scene.provider, 200, lambda number: scene.terms.collect_by + number)
        turns = Turns(scene.provider, 30)
        await scene.provider.runner.resume()
        await asyncio.sleep(0.1)
        last = scene.provider.journal.records[SwapId(f"{199:032x}")]
        assert bytes.fromhex(last.swap_id) not in turns.order
        scene.provider.runner.drive(last)
        await asyncio.sleep(0.1)
        assert bytes.fromhex(last.swap_id) in turns.order
        await scene.close()

    run(story())


def test_what_a_layer_missed_wakes_all_in_turn() -> None:
    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        with_copies(scene.provider, 200, lambda number: scene.terms.collect_by)
        runner = scene.provider.runner
        await runner.resume()
        await all_asleep(scene.provider, 200)
        turns = Turns(scene.provider, 0.5)
        for listener in tuple(scene.world.listeners):
            listener.missed()
        await asyncio.sleep(0.1)
        assert len(turns.order) == 50
        await asyncio.sleep(5)
        assert sorted(set(turns.order)) == sorted(turns.order)
        assert len(turns.order) == 200
        await scene.close()

    run(story())


def test_only_swaps_of_its_role_are_loaded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "layer2")

    async def story() -> None:
        scene = await Scene.of("bob", "rootstock", REGTEST, Finality.LATEST)
        assert await scene.provider.runner.resume([Role.TAKER]) == []
        assert not len(scene.provider.runner._sleepers)
        await scene.close()

    run(story())
    assert not caplog.text


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_a_watcher_of_a_swap_that_sleeps_sees_every_version(source: str, destination: str) -> None:
    async def story() -> None:
        scene = await Scene.of(source, destination, REGTEST, Finality.LATEST)
        await scene.provider.runner.resume()
        await asleep(scene.provider)
        versions: list[int] = []

        async def watch() -> None:
            versions.extend([record.version async for record in scene.provider.runner.watch(SWAP_ID)])

        watching = asyncio.ensure_future(watch())
        await scene.taker.runner.resume()
        await wait_for(scene.provider.runner, SWAP_ID)
        await watching
        assert versions == list(range(1, scene.provider.record.version + 1))
        await scene.close()

    run(story())


def test_the_driver_of_a_swap_that_fell_asleep_is_freed_without_a_collection() -> None:
    async def story() -> None:
        scene = await counter_funded("bob", "lightning")
        gc.collect()
        gc.disable()
        try:
            (driver,) = scene.provider.runner._drivers.values()
            freed = weakref.ref(driver)
            del driver
            await asleep(scene.provider)
            assert freed() is None
        finally:
            gc.enable()

    run(story())
