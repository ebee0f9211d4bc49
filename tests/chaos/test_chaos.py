"""Random faults by fixed seeds on simnet: nothing is lost, stuck, reported wrongly or paid twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.events import DIRECTIONS, Fault, schedule
from chaos.party import SAFE_FROM
from chaos.run import run

_SECONDS = 14.0
_TRANSFERS = 8
_EVERY = 1.6
_SEEDS = (68, 69)
"""Together these seeds contain every fault."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", _SEEDS)
async def test_no_money_is_lost_stuck_or_paid_twice_under_any_fault(seed: int, tmp_path: Path) -> None:
    planned = schedule(seed, _SECONDS, "simnet", transfers=_TRANSFERS, every=_EVERY)
    verdict, going = await run(planned, "simnet", tmp_path)
    story = [*map(str, planned.events), str(verdict), verdict.details(), str(going.errors)]
    assert verdict.is_clean, "\n".join(story)
    assert verdict.reorganised_away <= SAFE_FROM
    assert verdict.ends["completed"] + verdict.ends["refunded"] == _TRANSFERS, "\n".join(story)


def test_a_seed_gives_the_same_schedule() -> None:
    first = schedule(5, 60.0, "simnet", transfers=20, every=2.0)
    assert schedule(5, 60.0, "simnet", transfers=20, every=2.0) == first
    assert schedule(6, 60.0, "simnet", transfers=20, every=2.0) != first


def test_every_fault_and_direction_is_drawn() -> None:
    drawn = [schedule(seed, _SECONDS, "simnet", transfers=_TRANSFERS, every=_EVERY) for seed in _SEEDS]
    assert {event.fault for one in drawn for event in one.events} == set(Fault)
    assert {(wish.source, wish.destination) for one in drawn for wish in one.wishes} == set(DIRECTIONS)


def test_real_nodes_are_spared_what_only_a_simulation_can_do() -> None:
    drawn = schedule(1, 2_000.0, "devnet", transfers=1, every=2.0)
    missing = set(Fault) - {event.fault for event in drawn.events}
    assert missing == {Fault.FORGET, Fault.CHAIN_DOWN, Fault.LOSE_REPLIES, Fault.AWAY}
