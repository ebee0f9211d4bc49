"""Whatever stops a party anywhere, and however long: nobody honest loses, and nothing is paid twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from swap_engine.faults import Kind, NthPoint, breathe
from swap_engine.two_parties import Party, Scene
from swap_engine.virtual_time import run
from swap_rules.example_terms import FEE, SWAP_ID

Direction = Callable[[], Awaitable[Scene]]
SCENES: dict[str, Direction] = {"to_lightning": Scene.to_lightning, "to_bob": Scene.to_bob}


def check_money(scene: Scene, where: str) -> None:
    """The oracle: each party has what it was promised, or what it had."""
    outcome = (scene.taker.state, scene.provider.state)
    gains = (scene.gained("taker"), scene.gained("provider"))
    if outcome == ("completed", "completed"):
        assert gains == (-FEE, FEE), where
    else:
        assert outcome in {("refunded", "released"), ("abandoned", "released")}, where
        assert gains == (0, 0), where
    assert scene.invoice.sends <= 1, where


async def until_final(party: Party) -> None:
    await party.runner.wait(SWAP_ID)


async def one_fault(direction: Direction, role: str, kind: Kind, nth: int, away: float, *, reads: bool) -> bool:
    """Play with one fault; whether it came to that."""
    scene = await direction()
    party = scene.taker if role == "taker" else scene.provider
    fault = NthPoint(kind, nth, reads=reads)
    party.on_fault(fault)
    for one in scene.parties:
        await one.runner.resume()
    dies = kind in (Kind.KILL, Kind.CANCEL)
    waiting = [asyncio.ensure_future(until_final(one)) for one in scene.parties]
    if dies:
        struck = asyncio.ensure_future(fault.struck.wait())
        done = asyncio.gather(*waiting)
        await asyncio.wait((struck, done), return_when=asyncio.FIRST_COMPLETED)
        if fault.struck.is_set() and not party.record.is_final:
            done.cancel()
            await asyncio.gather(done, *waiting, return_exceptions=True)
            party.on_fault(breathe)
            await asyncio.sleep(away)
            await party.restart()
            await asyncio.gather(*(until_final(one) for one in scene.parties))
        struck.cancel()
    await asyncio.gather(*waiting, return_exceptions=dies)
    check_money(scene, f"{role}, {kind.value} number {nth}, {fault.where}")
    assert all(SWAP_ID in one.journal.proofs for one in scene.parties if one.state == "completed")
    await scene.close()
    return fault.struck.is_set()


FALLS = [(Kind.KILL, 0, True), (Kind.KILL, 300, False), (Kind.CANCEL, 0, False)]


@pytest.mark.parametrize(("kind", "away", "reads"), FALLS, ids=["kill", "kill-and-stay-away", "cancel"])
@pytest.mark.parametrize("role", ["taker", "provider"])
@pytest.mark.parametrize("scene", SCENES)
def test_a_party_that_stops_at_any_point_and_comes_back_ends_well(
    scene: str, role: str, kind: Kind, away: int, reads: bool
) -> None:
    nth = 1
    while run(one_fault(SCENES[scene], role, kind, nth, away, reads=reads)):
        nth += 1
    assert nth > (50 if reads else 10), "there are more points than that in a whole swap"


@pytest.mark.parametrize("kind", [Kind.NO_ANSWER, Kind.NO_CONNECTION, Kind.BUG], ids=lambda kind: kind.value)
@pytest.mark.parametrize("role", ["taker", "provider"])
@pytest.mark.parametrize("scene", SCENES)
def test_a_call_that_fails_once_at_any_point_is_survived_without_a_restart(scene: str, role: str, kind: Kind) -> None:
    reads = kind is Kind.BUG
    nth = 1
    while run(one_fault(SCENES[scene], role, kind, nth, 0, reads=reads)):
        nth += 1
    assert nth > (50 if reads else 10), "there are more points than that in a whole swap"
