"""Whole swaps with two honest parties, or with one that fails the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from layer2.swap_engine.records import describe
from layer2.swap_rules.timelocks import REGTEST
from layer2.transfers import Actor, TransferState
from swap_engine.two_parties import Scene
from swap_engine.virtual_time import run
from swap_rules.example_terms import AMOUNT, FEE, PAYMENT_HASH, SWAP_ID

Direction = Callable[[], Awaitable[Scene]]
BOTH = pytest.mark.parametrize("direction", [Scene.to_lightning, Scene.to_bob], ids=["to_lightning", "to_bob"])


@BOTH
def test_both_parties_complete_and_the_provider_earns_the_fee(direction: Direction) -> None:
    async def story() -> None:
        scene = await direction()
        await scene.play()
        assert (scene.taker.state, scene.provider.state) == ("completed", "completed")
        assert (scene.gained("taker"), scene.gained("provider")) == (-FEE, FEE)
        assert scene.world.sends[PAYMENT_HASH] == 1
        assert SWAP_ID in scene.taker.journal.proofs
        await scene.close()

    run(story())


def test_the_taker_sees_every_state_on_the_way_from_bob_to_lightning() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.play()
        ordered = list(dict.fromkeys(scene.taker.seen))
        assert ordered == ["agreed", "funding", "funded", "collecting", "completed"]
        assert list(dict.fromkeys(scene.provider.seen)) == [
            "agreed", "locked", "counter_funding", "collecting", "completed",
        ]  # fmt: skip
        transfer = describe(scene.taker.record, REGTEST)
        assert (transfer.state, transfer.next_actor, transfer.deadline) == (
            TransferState.COMPLETED,
            Actor.NOBODY,
            None,
        )
        assert (transfer.send_amount, transfer.fee) == (AMOUNT + FEE, FEE)
        await scene.close()

    run(story())


def test_the_taker_sees_every_state_on_the_way_from_lightning_to_bob() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()
        await scene.play()
        assert list(dict.fromkeys(scene.taker.seen)) == [
            "agreed", "funding", "funded", "counter_funded", "collecting", "completed",
        ]  # fmt: skip
        assert list(dict.fromkeys(scene.provider.seen)) == [
            "agreed", "held", "counter_funding", "counter_funded", "collecting", "completed",
        ]  # fmt: skip
        await scene.close()

    run(story())
