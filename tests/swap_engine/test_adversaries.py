"""One honest party against a hostile counterparty, with the worst possible clocks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.legs.timelock_settings import REGTEST
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from swap_engine.adversary import Adversary
from swap_engine.two_parties import PAIR_IDS, PAIRS, Party, Scene, wait_for
from swap_engine.virtual_time import run
from swap_rules.example_terms import FEE, NOW, SWAP_ID

HORIZON = 12 * 3600
MARGINS = REGTEST.margins(Layer2ProtocolType.BOB)

# As slow and as fast as the bounds allow, over the number of blocks that matters in each direction.
SLOW = REGTEST.bitcoin.latest(100 + REGTEST.close_blocks) / (100 + REGTEST.close_blocks)
FAST = REGTEST.bitcoin.earliest(200) / 200


async def prepare(
    pair: tuple[str, str],
    honest: str,
    per_block: float,
    early: int,
    delays: Sequence[int],
    finality: Finality = Finality.SAFE,
) -> Scene:
    scene = await Scene.of(*pair, finality=finality)
    cycle = itertools.cycle(delays)
    scene.world.seconds_per_block = per_block
    for chain in scene.world.chains.values():
        chain.early = early
        chain.inclusion_seconds = lambda: next(cycle)
    for invoice in scene.world.invoices.values():
        # A dishonest payee keeps a payment that an honest node would fail before its expiry.
        invoice.gives_up = invoice.payee == honest
    return scene


async def stumble(party: Party, restarts: Sequence[int]) -> None:
    for pause in restarts:
        await asyncio.sleep(pause)
        await party.restart()


async def finish(scene: Scene, party: Party) -> None:
    async with asyncio.timeout(HORIZON):
        await wait_for(party.runner, SWAP_ID)
    # Money in flight arrives.
    await asyncio.sleep(HORIZON)
    await scene.close()


def check(scene: Scene, party: Party, story: object) -> None:
    floor = -FEE if (party.name, party.state) == ("taker", "completed") else 0
    assert scene.gained(party.name) >= floor, (party.state, scene.gains, story)


MOVES = ["lock", "claim", "refund", "give back", "pay", "pay with little time", "settle", "settle on chain", "cancel"]


@pytest.mark.parametrize("honest", ["taker", "provider"])
@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(
    script=st.lists(st.tuples(st.integers(0, 700), st.sampled_from(MOVES)), max_size=8),
    per_block=st.sampled_from([FAST, 8.0, SLOW]),
    early=st.integers(0, MARGINS.clock_early),
    delays=st.lists(st.integers(0, MARGINS.inclusion), min_size=1, max_size=4),
    restarts=st.lists(st.integers(1, 900), max_size=3),
    finality=st.sampled_from([Finality.LATEST, Finality.SAFE]),
)
def test_an_honest_party_never_loses(
    pair: tuple[str, str],
    honest: str,
    script: list[tuple[int, str]],
    per_block: float,
    early: int,
    delays: list[int],
    restarts: list[int],
    finality: Finality,
) -> None:
    async def story() -> None:
        scene = await prepare(pair, honest, per_block, early, delays, finality)
        party = scene.taker if honest == "taker" else scene.provider
        adversary = Adversary(scene, "provider" if honest == "taker" else "taker")

        async def misbehave() -> None:
            for pause, move in script:
                await asyncio.sleep(pause)
                adversary.make(move)

        await party.runner.resume()
        await asyncio.gather(misbehave(), stumble(party, restarts))
        await finish(scene, party)
        check(scene, party, script)

    run(story())


@pytest.mark.parametrize("honest", ["taker", "provider"])
@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    script=st.lists(st.tuples(st.integers(0, 400), st.sampled_from([*MOVES, "reorganise", "lose"])), max_size=10),
    backwards=st.booleans(),
    restarts=st.lists(st.integers(1, 900), max_size=2),
)
def test_an_honest_party_that_waits_for_safe_blocks_never_loses_by_a_reorganisation(
    pair: tuple[str, str], honest: str, script: list[tuple[int, str]], backwards: bool, restarts: list[int]
) -> None:
    async def story() -> None:
        scene = await prepare(pair, honest, 8.0, 0, [1])
        party = scene.taker if honest == "taker" else scene.provider
        other = scene.provider if honest == "taker" else scene.taker
        adversary = Adversary(scene, other.name)

        async def misbehave() -> None:
            for pause, move in script:
                await asyncio.sleep(pause)
                if move in adversary.moves:
                    adversary.make(move)
                    continue
                for chain in scene.world.chains.values():
                    chain.reorganise(MARGINS.safe_time - 1, to_pool=move == "reorganise", backwards=backwards)

        # The other party is honest until the script begins, so that swaps make progress.
        await scene.begin()
        await asyncio.sleep(script[0][0] % 100 if script else 0)
        await other.runner.aclose()
        await asyncio.gather(misbehave(), stumble(party, restarts))
        await finish(scene, party)
        check(scene, party, script)

    run(story())


@pytest.mark.parametrize("early", [0, MARGINS.clock_early])
@pytest.mark.parametrize("restarted", [False, True], ids=["awake", "restarted"])
def test_the_slowest_payment_still_leaves_the_provider_its_claim(early: int, restarted: bool) -> None:
    """The provider pays as late as possible, the payee closes the channel at the last block, blocks are as slow as the
    bound, the claim is censored for the whole window, and the taker refunds as soon as it can."""

    async def story() -> None:
        scene = await prepare(("bob", "lightning"), "provider", SLOW, early, [1])
        taker, party = Adversary(scene, "taker"), scene.provider
        taker.make("lock")
        # The provider is suspended until just before the last moment to pay.
        await asyncio.sleep(scene.terms.counter_fund_by - 2 - NOW)
        await party.runner.resume()
        await asyncio.sleep(3)
        assert scene.invoice.state == "accepted"
        scene.chain.inclusion_seconds = lambda: MARGINS.inclusion
        await asyncio.sleep((scene.payment.cltv_limit - 1) * SLOW - 1)
        if restarted:
            await party.restart()
        taker.make("settle on chain")
        await asyncio.sleep(scene.deadline - MARGINS.inclusion - scene.chain.time())
        for _ in range(4 * MARGINS.inclusion):
            await asyncio.sleep(1)
            scene.chain.inclusion_seconds = lambda: 0
            taker.make("refund")
        await finish(scene, party)
        assert party.state == "completed"
        assert scene.gained("provider") == FEE

    run(story())


def test_fast_blocks_do_not_let_the_held_payment_go_before_the_provider_has_its_refund() -> None:
    """The taker pays with exactly the required blocks, and claims in the last block before the refund."""

    async def story() -> None:
        scene = await prepare(("lightning", "bob"), "provider", FAST, 0, [MARGINS.inclusion])
        taker, party = Adversary(scene, "taker"), scene.provider
        await party.runner.resume()
        scene.world.send(scene.invoice, "taker", scene.payment.min_blocks_left + 1)
        await asyncio.sleep(scene.deadline - NOW - 1)
        assert party.state == "counter_funded"
        # Its refund is already sent when the claim is included first.
        await asyncio.sleep(MARGINS.inclusion // 2)
        scene.chain.inclusion_seconds = lambda: 1
        taker.make("claim")
        await finish(scene, party)
        assert party.state == "completed"
        assert scene.gained("provider") == FEE

    run(story())


def test_a_payment_that_leaves_too_few_blocks_is_given_back() -> None:
    async def story() -> None:
        scene = await prepare(("lightning", "bob"), "provider", 8.0, 0, [1])
        await scene.provider.runner.resume()
        scene.world.send(scene.invoice, "taker", scene.payment.min_blocks_left - 5)
        await finish(scene, scene.provider)
        assert scene.provider.state == "released"
        assert scene.lock_of(scene.terms.destination) is None
        assert [one.verb for one in await scene.provider.journal.intents(SWAP_ID)] == ["release"]

    run(story())


@pytest.mark.parametrize("pair", [("lightning", "bob"), ("rootstock", "bob")], ids="-to-".join)
def test_a_lock_that_comes_too_late_to_claim_safely_is_not_claimed(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await prepare(pair, "taker", 8.0, 0, [1])
        provider, party = Adversary(scene, "provider"), scene.taker
        await party.runner.resume()
        await scene.sleep_until(scene.terms.collect_by - 5)
        provider.make("lock")
        await finish(scene, party)
        assert party.state == "refunded"
        assert scene.world.shown == set()
        assert scene.gained("taker") == 0

    run(story())
