"""A lock that is older than the searched blocks can be read, claimed and refunded after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from layer2.errors import BadAnswer
from layer2.legs.evm import EvmLeg
from layer2.legs.lock_evidence import shown_of
from layer2.legs.views import LegState, Side, Verb
from layer2.model.transactions import Finality, Preimage
from layer2.protocols.bob import BobClient
from protocols.evm.bob_network import BobNetwork, at

SECRET = Preimage(bytes(range(32)))
REACH = 10


async def restarted(bob: BobNetwork, name: str) -> BobClient:
    return await bob.client(name, log_search_blocks=REACH, log_search_step_blocks=4)


async def funded(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET)))


async def test_an_old_lock_is_funded_and_is_refunded_after_its_deadline(bob: BobNetwork) -> None:
    htlc = bob.htlc(SECRET)
    await funded(bob)
    bob.node.mine(REACH + 2)
    taker = await restarted(bob, "taker")
    view = await taker.legs.observe(at(htlc, Finality.SAFE), Side.PAYER)
    assert (view.state, view.tx_id) == (LegState.FUNDED, None)
    bob.node.advance_time(7_200)
    await taker.legs.perform(await taker.legs.prepare(Verb.RECLAIM, htlc))
    view = await taker.legs.observe(htlc, Side.PAYER)
    assert view.state is LegState.RETURNED
    assert view.tx_id is not None


async def test_an_old_lock_is_claimed(bob: BobNetwork) -> None:
    htlc = bob.htlc(SECRET)
    await funded(bob)
    bob.node.mine(REACH + 2)
    provider = await restarted(bob, "provider")
    assert (await provider.legs.observe(at(htlc, Finality.SAFE), Side.PAYEE)).state is LegState.FUNDED
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.COLLECTED


async def test_an_old_claim_shows_its_preimage_and_leaves_its_evidence(bob: BobNetwork) -> None:
    htlc, provider = bob.htlc(SECRET), await bob.client("provider")
    await funded(bob)
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    bob.node.mine(REACH + 2)
    taker = await restarted(bob, "taker")
    view = await taker.legs.observe(at(htlc, Finality.FINALIZED), Side.PAYER)
    assert (view.state, view.final, view.preimage, view.tx_id) == (LegState.COLLECTED, True, SECRET, None)
    evidence = await taker.legs.evidence(htlc, Side.PAYER)
    assert evidence is not None
    assert isinstance(htlc.leg, EvmLeg)
    shown_of(evidence, htlc.leg.lock(htlc.payment_hash, htlc.terms_hash))


async def test_the_blocks_that_are_too_old_are_not_searched_again_at_every_look(
    bob: BobNetwork, requests_seen: list[bytes]
) -> None:
    await funded(bob)
    bob.node.mine(REACH + 2)
    taker = await restarted(bob, "taker")
    await taker.legs.observe(at(bob.htlc(SECRET), Finality.SAFE), Side.PAYER)
    requests_seen.clear()
    await taker.legs.observe(at(bob.htlc(SECRET), Finality.SAFE), Side.PAYER)
    assert not any(b"eth_getLogs" in body for body in requests_seen)


@pytest.mark.parametrize("blocks", [0, REACH - 2])
async def test_a_node_that_hides_the_event_of_a_recent_lock_is_not_believed(
    bob: BobNetwork, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await funded(bob)
    if blocks:
        bob.node.mine(blocks)
    taker = await restarted(bob, "taker")

    async def nothing(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(taker._node, "logs", nothing)
    with pytest.raises(BadAnswer, match="does not find"):
        await taker.legs.observe(bob.htlc(SECRET), Side.PAYER)
