"""A party whose journal is replaced by an old copy of itself loses nothing and pays nothing twice."""

from __future__ import annotations

import pytest

from layer2.swap_engine.records import outlook_of
from swap_engine.old_copies import Copies
from swap_engine.two_parties import PAIR_IDS, PAIRS, Scene
from swap_engine.virtual_time import run
from swap_rules.example_terms import FEE

EVERY_PAIR = pytest.mark.parametrize("pair", PAIRS[:3], ids=PAIR_IDS[:3])
EVERY_PARTY = pytest.mark.parametrize("who", [0, 1], ids=["taker", "provider"])


async def writes_of(pair: tuple[str, str], who: int) -> int:
    """The number of writes of a party in a swap that completes."""
    scene = await Scene.of(*pair)
    copies = Copies(scene.parties[who])
    await scene.play()
    await scene.close()
    return len(copies.kept)


def paid_at_most_once(scene: Scene) -> bool:
    locks = [lock for chain in scene.world.chains.values() for lock in chain.ledger().locks.values()]
    sends = [invoice.sends for invoice in scene.world.invoices.values()]
    return len(locks) <= len(scene.world.chains) and all(number <= 1 for number in sends)


@EVERY_PAIR
@EVERY_PARTY
def test_every_version_of_a_journal_that_is_restored_after_the_end_ends_in_the_same_way(
    pair: tuple[str, str], who: int
) -> None:
    async def story(number: int) -> None:
        scene = await Scene.of(*pair)
        party = scene.parties[who]
        copies = Copies(party)
        await scene.play()
        await copies.restore(number)
        assert number == len(copies.kept) - 1 or "old copy" in outlook_of(party.record, scene.world.rules).funds
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        assert scene.gains == (-FEE, FEE)
        assert paid_at_most_once(scene)
        await scene.close()

    for number in range(run_count(pair, who)):
        run(story(number))


@EVERY_PAIR
@EVERY_PARTY
@pytest.mark.parametrize("copy", ["first", "last"])
def test_a_journal_that_is_replaced_after_any_write_loses_nothing(pair: tuple[str, str], who: int, copy: str) -> None:
    async def story(last: int) -> None:
        scene = await Scene.of(*pair)
        copies = Copies(scene.parties[who], stop_after=last)
        await scene.begin()
        await copies.stopped.wait()
        await copies.restore(0 if copy == "first" else last)
        await scene.both_final()
        assert scene.gains in ((0, 0), (-FEE, FEE)), (last, scene.states, scene.gains)
        assert paid_at_most_once(scene)
        await scene.close()

    for last in range(1, run_count(pair, who)):
        run(story(last))


def run_count(pair: tuple[str, str], who: int) -> int:
    counts: list[int] = []

    async def count() -> None:
        counts.append(await writes_of(pair, who))

    run(count())
    return counts[0]
