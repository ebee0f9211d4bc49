"""A claim that was mined before its lock, after a reorganisation, has failed and is made again."""

from __future__ import annotations

import pytest

from layer2.formats.evm_hex import parse_data
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.model.transactions import Preimage
from protocols.evm.bob_network import BobNetwork

SECRET = Preimage(bytes(range(32)))


@pytest.mark.parametrize("same_client", [True, False], ids=["running", "restarted"])
async def test_a_claim_that_was_mined_before_its_lock_is_made_again_and_lands(
    bob: BobNetwork, same_client: bool
) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    fund = await taker.legs.prepare(Verb.FUND, htlc)
    await taker.legs.perform(fund)
    claim = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(claim)
    assert await provider.legs.act_status(claim) is ActStatus.DONE

    bob.maker.set_enabled(False)
    bob.node.set_finality(0, 0)
    claim_first = parse_data(claim["transactions"][0], "transaction")
    bob.node.reorganise(2, keep_transactions=False, transactions=[claim_first])
    provider = provider if same_client else await bob.client("provider")
    assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.NONE
    assert await provider.legs.act_status(claim) is ActStatus.FAILED

    await taker.legs.perform(fund)
    bob.node.mine()
    assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED
    again = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(again)
    bob.node.mine()
    assert await provider.legs.act_status(again) is ActStatus.DONE
    assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.COLLECTED
