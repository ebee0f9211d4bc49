"""The explorer covers all inputs that occur in runs of the real engine."""

from __future__ import annotations

import asyncio
import random
from functools import cache

import pytest

from layer2.errors import NodeUnreachable, Outcome
from layer2.legs.timelock_settings import REGTEST
from layer2.model.transactions import Finality
from layer2.swap_rules.decisions import next_step
from layer2.swap_rules.machine import Observed, Step, Swap
from layer2.swap_rules.states import State
from layer2.testing.explore.questions import Question
from layer2.testing.explore.scenario import Scenario, Setup
from layer2.testing.explore.search import explore
from layer2.testing.explore.swaps import PAIRS
from layer2.testing.explore.world import Who
from swap_engine.adversary import Adversary
from swap_engine.faults import Fault
from swap_engine.two_parties import Scene, wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import SWAP_ID

HORIZON = 12 * 3600
RUNS = 40
MOST_MOVES = 8
LAYERS = {
    "evm-evm": ("rootstock", "bob"),
    "evm-lightning": ("bob", "lightning"),
    "lightning-evm": ("lightning", "bob"),
    "evm-lightning(foreign)": ("bob", "lightning"),
}


@cache
def explored(pair: str, finality: Finality) -> frozenset[Question]:
    """Every input of a machine that the explorer covers."""
    found: set[Question] = set()
    for taker, provider in ((Who.HONEST, Who.HONEST), (Who.HONEST, Who.HOSTILE), (Who.HOSTILE, Who.HONEST)):
        setup = Setup(Scenario(PAIRS[pair], finality, taker, provider))
        assert not explore(setup.scenario, setup=setup).findings
        for who, party in ((taker, setup.taker), (provider, setup.provider)):
            if who is Who.HONEST:
                found.update(party.questions())
    return frozenset(found)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[Question]:
    """The inputs of the engine's machines in the test."""
    questions: set[Question] = set()

    def noted_step(swap: Swap, state: State, observed: Observed) -> Step:
        step = next_step(swap, state, observed)
        questions.add(Question.of(state, observed, step))
        return step

    monkeypatch.setattr("layer2.swap_engine.driver.next_step", noted_step)
    return questions


def for_a_time(seconds: int) -> Fault:
    """A node that does not answer until the time has passed."""
    until = asyncio.get_running_loop().time() + seconds

    async def silent(when: str, what: str) -> None:
        await asyncio.sleep(0)
        if when == "before" and asyncio.get_running_loop().time() < until:
            raise NodeUnreachable("no answer", outcome=Outcome.NOT_SENT)

    return silent


async def random_run(pair: str, finality: Finality, dice: random.Random) -> None:
    """A swap with restarts, reorganisations and unresponsive nodes; one party may be hostile."""
    scene = await Scene.of(*LAYERS[pair], REGTEST, finality, foreign=PAIRS[pair].is_foreign)
    honest = [party for party in scene.parties if dice.random() < 0.75] or [dice.choice(scene.parties)]
    hostile = [Adversary(scene, party.name) for party in scene.parties if party not in honest]
    for party in honest:
        await party.runner.resume()
    for _ in range(dice.randrange(MOST_MOVES)):
        await asyncio.sleep(dice.choice((0.2, 1, 3, 10, 60, 300, 900)))
        match dice.choice(("restart", "reorganise", "silence", "forget", "hostile", "hostile", "hostile")):
            case "restart":
                await dice.choice(honest).restart()
            case "reorganise" if finality is Finality.FINALIZED:
                for chain in scene.world.chains.values():
                    chain.reorganise(dice.randrange(chain.margins.final_time), to_pool=dice.random() < 0.7)
            case "silence":
                dice.choice(dice.choice(honest).layers).fault = for_a_time(dice.choice((1, 20, 200)))
            case "forget":
                for invoice in scene.world.invoices.values():
                    invoice.is_forgotten = invoice.payment != "none"
            case "hostile" if hostile:
                hostile[0].make(dice.choice(list(hostile[0].moves)))
            case _:
                pass
    await asyncio.wait([asyncio.ensure_future(wait_for(party.runner, SWAP_ID)) for party in honest], timeout=HORIZON)
    await scene.close()


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("pair", LAYERS)
@pytest.mark.parametrize("finality", [Finality.FINALIZED, Finality.LATEST], ids=lambda one: one.value)
def test_what_the_engine_asks_in_random_runs_is_explored(pair: str, finality: Finality, asked: set[Question]) -> None:
    for seed in range(RUNS):
        run(random_run(pair, finality, random.Random(f"{pair} {finality.value} {seed}")))
    unknown = asked - explored(pair, finality)
    assert not unknown, "\n".join(map(str, unknown))
