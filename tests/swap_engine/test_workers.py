"""Several processes that act for the swaps of one party: one stops at any point, and wakes after another took over."""

from __future__ import annotations

import asyncio

import pytest

from layer2.ports.journal import Delivery
from swap_engine.faults import READS
from swap_engine.test_faults import EACH_ROLE, check_money, until_final
from swap_engine.two_parties import PAIR_IDS, PAIRS, Party, Scene
from swap_engine.virtual_time import run


class Sleep:
    """Stops a process at its N-th point, as SIGSTOP does, until it is woken. Its other calls stop at the next one.

    Args:
        point: only points of this name count, such as ``before perform``.
    """

    def __init__(self, nth: int, point: str | None = None) -> None:
        self.count, self.nth, self._point = 0, nth, point
        self.where = ""
        self.fell_asleep, self.wakes = asyncio.Event(), asyncio.Event()
        self.sent = 0
        """Calls that send an act."""

    async def __call__(self, when: str, what: str) -> None:
        await asyncio.sleep(0)
        if self.fell_asleep.is_set():
            await self.wakes.wait()
        if what not in READS and self._point in (None, f"{when} {what}"):
            self.count += 1
            if self.count == self.nth:
                self.where = f"{when} {what}"
                self.fell_asleep.set()
                await self.wakes.wait()
        self.sent += (when, what) == ("before", "perform")


def second_worker(scene: Scene, party: Party) -> Party:
    """Another process of the party, with the same journal and nodes."""
    other = Party(scene.world, party.name, party.role, scene.terms)
    other.journal = party.journal.of_another_process()
    other.start()
    return other


async def one_sleep(pair: tuple[str, str], role: str, nth: int, away: float) -> bool:
    """Run with one worker that stops; return whether it did."""
    scene = await Scene.of(*pair)
    party = scene.taker if role == "taker" else scene.provider
    sleep = Sleep(nth)
    party.on_fault(sleep)
    await scene.begin()
    waiting = asyncio.gather(*(until_final(one, f"{role} {nth}") for one in scene.parties))
    asleep = asyncio.ensure_future(sleep.fell_asleep.wait())
    await asyncio.wait((asleep, waiting), return_when=asyncio.FIRST_COMPLETED)
    if sleep.fell_asleep.is_set():
        other = second_worker(scene, party)
        await other.runner.resume()
        await asyncio.sleep(away)
        sleep.wakes.set()
        await until_final(other, f"{role} {nth}, {sleep.where}")
        await waiting
        await other.runner.aclose()
    asleep.cancel()
    await waiting
    check_money(scene, f"{role} {nth}, {sleep.where}")
    await scene.close()
    return sleep.fell_asleep.is_set()


@pytest.mark.parametrize("away", [30, 3_600], ids=["briefly", "past every deadline"])
@EACH_ROLE
@pytest.mark.parametrize("pair", PAIRS[:2], ids=PAIR_IDS[:2])
def test_a_worker_that_stops_at_any_point_and_wakes_after_another_took_over_does_no_harm(
    pair: tuple[str, str], role: str, away: int
) -> None:
    nth = 1
    while run(one_sleep(pair, role, nth, away)):
        nth += 1
    assert nth > 10, "there are more points than that in a whole swap"


async def taken_over(point: str) -> tuple[Scene, Sleep, Party, Sleep]:
    """A taker that funds over Lightning and stops at a point, and the worker that has taken over from it."""
    scene = await Scene.to_bob()
    sleep, watch = Sleep(1, point), Sleep(0)
    scene.taker.on_fault(sleep)
    await scene.begin()
    await sleep.fell_asleep.wait()
    other = second_worker(scene, scene.taker)
    other.on_fault(watch)
    await other.runner.resume()
    return scene, sleep, other, watch


async def ended(scene: Scene, sleep: Sleep, other: Party) -> None:
    """Wake the worker that stopped, and wait for the end."""
    sleep.wakes.set()
    await asyncio.gather(*(until_final(one, sleep.where) for one in (*scene.parties, other)))
    check_money(scene, sleep.where)
    await other.runner.aclose()
    await scene.close()


def test_a_worker_that_wakes_before_its_act_leaves_the_act_to_the_one_that_took_over() -> None:
    async def story() -> None:
        scene, sleep, other, watch = await taken_over("before delivery leaving")
        await scene.when(lambda: scene.invoice.sends == 1)
        assert (sleep.sent, watch.sent) == (0, 1)
        sleep.wakes.set()
        await asyncio.sleep(1)
        assert sleep.sent == 0
        await ended(scene, sleep, other)
        assert scene.states == ("completed", "completed")
        assert scene.invoice.sends == 1

    run(story())


def test_a_payment_that_a_worker_was_about_to_send_is_sent_by_no_other_worker_and_counts_as_sent() -> None:
    async def story() -> None:
        scene, sleep, other, watch = await taken_over("after delivery leaving")
        await asyncio.sleep(60)
        assert watch.sent == 0
        assert other.state == "funding"
        [intent] = await other.journal.intents(other.record.swap_id)
        assert intent.delivery is Delivery.LEAVING
        await ended(scene, sleep, other)
        assert scene.invoice.sends == 1

    run(story())
