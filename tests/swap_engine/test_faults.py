"""A fault at any point, for any time: no honest party loses, and nothing is paid twice."""

from __future__ import annotations

import asyncio

import pytest

from swap_engine.faults import Kind, NthPoint, breathe
from swap_engine.two_parties import PAIR_IDS, PAIRS, Party, Scene, wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import FEE, SWAP_ID

LONGEST = 12 * 3600
EVERY_PAIR = pytest.mark.parametrize("pair", PAIRS[:3], ids=PAIR_IDS[:3])
EACH_ROLE = pytest.mark.parametrize("role", ["taker", "provider"])


def check_money(scene: Scene, where: str) -> None:
    """The oracle: each party has the amount of the terms, or its original money."""
    if scene.states == ("completed", "completed"):
        assert scene.gains == (-FEE, FEE), where
    else:
        assert scene.states in {("refunded", "released"), ("abandoned", "released")}, where
        assert scene.gains == (0, 0), where
    assert all(invoice.sends <= 1 for invoice in scene.world.invoices.values()), where


async def until_final(party: Party, where: str) -> None:
    try:
        async with asyncio.timeout(LONGEST):
            await wait_for(party.runner, SWAP_ID)
    except TimeoutError:
        raise AssertionError(f"{party.name} does not end: {party.state}, {where}") from None


async def one_fault(
    pair: tuple[str, str],
    role: str,
    kind: Kind,
    nth: int,
    away: float,
    *,
    reads: bool,
    may_fund: bool = True,
    clock_error: float = 0.0,
) -> bool:
    """Run with one fault; return whether it occurred.

    Args:
        may_fund: whether a party that ended and runs again funds.
        clock_error: the seconds by which its clock is wrong then.
    """
    scene = await Scene.of(*pair)
    party = scene.taker if role == "taker" else scene.provider
    fault = NthPoint(kind, nth, reads=reads)
    party.on_fault(fault)
    await scene.begin()
    where = f"{role}, {kind.value} number {nth}"
    dies = kind in (Kind.KILL, Kind.CANCEL)
    waiting = [asyncio.ensure_future(until_final(one, where)) for one in scene.parties]
    if dies:
        struck = asyncio.ensure_future(fault.struck.wait())
        done = asyncio.gather(*waiting)
        await asyncio.wait((struck, done), return_when=asyncio.FIRST_COMPLETED)
        if fault.struck.is_set() and not party.record.is_final:
            done.cancel()
            await asyncio.gather(done, *waiting, return_exceptions=True)
            party.on_fault(breathe)
            await asyncio.sleep(away)
            fundings = await party.fundings()
            party.set_clock(clock_error)
            await party.restart(may_fund=may_fund)
            await asyncio.gather(*(until_final(one, f"{where}, {fault.where}") for one in scene.parties))
            assert may_fund or await party.fundings() == fundings, where
        struck.cancel()
    await asyncio.gather(*waiting, return_exceptions=dies)
    check_money(scene, f"{where}, {fault.where}")
    for one in scene.parties:
        assert (one.proof is not None) >= (one.state == "completed"), where
    await scene.close()
    return fault.struck.is_set()


FALLS = [(Kind.KILL, 0, True), (Kind.KILL, 300, False), (Kind.CANCEL, 0, False)]


@pytest.mark.parametrize(("kind", "away", "reads"), FALLS, ids=["kill", "kill-and-stay-away", "cancel"])
@EACH_ROLE
@EVERY_PAIR
def test_a_party_that_stops_at_any_point_and_restarts_ends_well(
    pair: tuple[str, str], role: str, kind: Kind, away: int, reads: bool
) -> None:
    nth = 1
    while run(one_fault(pair, role, kind, nth, away, reads=reads)):
        nth += 1
    assert nth > (50 if reads else 10), "there are more points than that in a whole swap"


@pytest.mark.parametrize("kind", [Kind.KILL, Kind.CANCEL], ids=lambda kind: kind.value)
@EACH_ROLE
@EVERY_PAIR
def test_a_party_that_stops_at_any_point_ends_well_without_funding_anything_more(
    pair: tuple[str, str], role: str, kind: Kind
) -> None:
    nth = 1
    while run(one_fault(pair, role, kind, nth, 0, reads=kind is Kind.KILL, may_fund=False)):
        nth += 1
    assert nth > (50 if kind is Kind.KILL else 10), "there are more points than that in a whole swap"


HOURS = 6 * 3600


@pytest.mark.parametrize("error", [HOURS, -HOURS], ids=["ahead", "behind"])
@EACH_ROLE
@EVERY_PAIR
def test_a_party_whose_clock_is_wrong_by_hours_after_a_restart_loses_nothing(
    pair: tuple[str, str], role: str, error: float
) -> None:
    nth = 1
    while run(one_fault(pair, role, Kind.KILL, nth, 0, reads=False, clock_error=error)):
        nth += 1
    assert nth > 10, "there are more points than that in a whole swap"


async def clock_is_set(pair: tuple[str, str], role: str, after: float, error: float) -> None:
    scene = await Scene.of(*pair)
    party = scene.taker if role == "taker" else scene.provider
    await scene.begin()
    await asyncio.sleep(after)
    party.set_clock(error)
    where = f"{role}, {error} s after {after} s"
    await asyncio.gather(*(until_final(one, where) for one in scene.parties))
    check_money(scene, where)
    await scene.close()


@pytest.mark.parametrize("error", [HOURS, -HOURS], ids=["ahead", "behind"])
@EACH_ROLE
@EVERY_PAIR
def test_a_party_whose_clock_is_set_wrong_by_hours_while_it_runs_loses_nothing(
    pair: tuple[str, str], role: str, error: float
) -> None:
    for tenths in range(0, 300, 15):
        run(clock_is_set(pair, role, tenths / 10, error))


@pytest.mark.parametrize("kind", [Kind.NO_ANSWER, Kind.NO_CONNECTION, Kind.BUG], ids=lambda kind: kind.value)
@EACH_ROLE
@EVERY_PAIR
def test_a_call_that_fails_once_at_any_point_is_survived_without_a_restart(
    pair: tuple[str, str], role: str, kind: Kind
) -> None:
    reads = kind is Kind.BUG
    nth = 1
    while run(one_fault(pair, role, kind, nth, 0, reads=reads)):
        nth += 1
    assert nth > (50 if reads else 10), "there are more points than that in a whole swap"
