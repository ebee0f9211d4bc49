"""A leg whose output others pay: what its payer sees of right, wrong, second and late payments, and its refunds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.errors import FundsRulesError
from layer2.formats import segwit_address
from layer2.formats.bitcoin_transaction import TxOut
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, FundingRequest, LegState, LegView, Side, Verb
from layer2.local.simnet.bitcoin.node import BitcoinNode
from protocols.bitcoin.parties import BitcoinParty, two_parties
from protocols.bitcoin.scripts import PREIMAGE
from protocols.bitcoin.test_bitcoin_legs import AMOUNT, htlc_of
from simnet.bitcoin.coins import REWARD, reward_of, spend, started_node

LOCK_BLOCKS = 20


async def leg_of(taker: BitcoinParty, provider: BitcoinParty, node: BitcoinNode) -> tuple[Htlc, FundingRequest]:
    """The taker's leg, and how others pay it."""
    htlc = replace(await htlc_of(taker, provider, node, blocks=LOCK_BLOCKS), funded_by_others=True)
    request = htlc.leg.funding_request(fund_by=1)
    assert request is not None
    return htlc, request


def others_pay(node: BitcoinNode, request: FundingRequest, reward: int, *amounts: int) -> None:
    """Another wallet pays these amounts to the address, in one block."""
    script = segwit_address.decode_script(request.address, "bcrt")
    outputs = [TxOut(amount, script) for amount in amounts]
    paid = spend(reward_of(node, reward), [REWARD - sum(amounts) - 10_000])
    node.mine(1, [replace(paid, outputs=(*outputs, *paid.outputs))])


async def seen(party: BitcoinParty, htlc: Htlc) -> LegView:
    return await party.legs.observe(htlc, Side.PAYER)


async def test_a_payment_of_the_exact_amount_funds_it() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, request = await leg_of(taker, provider, node)
        assert (request.amount, request.fund_by) == (AMOUNT, 1)
        assert request.uri == f"bitcoin:{request.address}?amount=0.00500000"
        await taker.legs.check_can_finish(htlc, Side.PAYER)
        assert (await seen(taker, htlc)).state is LegState.NONE
        others_pay(node, request, 2, AMOUNT)
        assert (await seen(taker, htlc)).state is LegState.PENDING
        node.mine(1)
        view = await seen(taker, htlc)
        assert (view.state, view.has_more, view.over) == (LegState.FUNDED, False, False)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED


async def test_the_wallet_needs_no_coins_and_neither_funds_nor_voids_it() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, request = await leg_of(taker, provider, node)
        assert isinstance(htlc.leg, BitcoinLeg)
        rich = replace(htlc, leg=replace(htlc.leg, amount=10**10))
        await taker.legs.check_can_finish(rich, Side.PAYER)
        for verb in (Verb.FUND, Verb.VOID):
            with pytest.raises(FundsRulesError):
                await taker.legs.prepare(verb, htlc)
        node.mine(200)
        assert not (await seen(taker, htlc)).over, "others can pay at any time"
        others_pay(node, request, 2, AMOUNT)
        assert (await seen(taker, htlc)).state is LegState.PENDING


async def test_an_address_whose_refund_belongs_to_another_party_is_not_given_away() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, _ = await leg_of(taker, provider, node)
        with pytest.raises(FundsRulesError, match="another party"):
            await provider.legs.check_can_finish(htlc, Side.PAYER)


async def test_a_wrong_payment_is_seen_and_refunded_at_the_lock_time() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, request = await leg_of(taker, provider, node)
        others_pay(node, request, 2, AMOUNT - 1)
        view = await seen(taker, htlc)
        assert (view.state, view.reason) == (LegState.PENDING, "the output's amount differs from the terms'")
        with pytest.raises(FundsRulesError, match="no confirmed output to claim"):
            await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        node.mine(LOCK_BLOCKS)
        await taker.legs.perform(await taker.legs.prepare(Verb.RECLAIM, htlc))
        node.mine(6)
        view = await seen(taker, htlc)
        assert (view.state, view.final, view.over) == (LegState.RETURNED, True, True)
        balance, _ = await taker.parts.coins.balance()
        assert 30_000_000 + AMOUNT - 2_000 < balance.confirmed < 30_000_000 + AMOUNT


async def test_a_second_payment_is_seen_by_the_payer_alone_and_both_are_refunded() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, request = await leg_of(taker, provider, node)
        others_pay(node, request, 2, AMOUNT, AMOUNT)
        node.mine(1)
        view = await seen(taker, htlc)
        assert (view.state, view.has_more) == (LegState.FUNDED, True)
        assert not (await provider.legs.observe(htlc, Side.PAYEE)).has_more
        node.mine(LOCK_BLOCKS)
        await taker.legs.perform(await taker.legs.prepare(Verb.RECLAIM, htlc))
        node.mine(6)
        view = await seen(taker, htlc)
        assert (view.state, view.over, view.has_more) == (LegState.RETURNED, True, False)
        balance, _ = await taker.parts.coins.balance()
        assert balance.confirmed > 30_000_000 + 2 * AMOUNT - 3_000


async def test_a_payment_after_the_refund_ends_nothing_for_the_provider_and_is_refunded_too() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, request = await leg_of(taker, provider, node)
        others_pay(node, request, 2, AMOUNT)
        node.mine(LOCK_BLOCKS)
        first = await taker.legs.prepare(Verb.RECLAIM, htlc)
        await taker.legs.perform(first)
        node.mine(6)
        assert not (await seen(taker, htlc)).has_more
        others_pay(node, request, 3, AMOUNT)
        view = await seen(taker, htlc)
        assert (view.state, view.over, view.has_more) == (LegState.RETURNED, True, True)
        # The provider's end does not depend on what others pay later.
        view = await provider.legs.observe(htlc, Side.PAYEE)
        assert (view.state, view.over) == (LegState.RETURNED, True)
        second = await taker.legs.prepare(Verb.RECLAIM, htlc)
        await taker.legs.perform(second)
        node.mine(6)
        assert [await taker.legs.act_status(each) for each in (first, second)] == [ActStatus.DONE, ActStatus.DONE]
        assert not (await seen(taker, htlc)).has_more
        balance, _ = await taker.parts.coins.balance()
        assert balance.confirmed > 30_000_000 + 2 * AMOUNT - 4_000


async def test_after_a_claim_the_payer_still_sees_a_second_payment() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, request = await leg_of(taker, provider, node)
        others_pay(node, request, 2, AMOUNT)
        node.mine(1)
        await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
        node.mine(6)
        assert not (await seen(taker, htlc)).has_more
        others_pay(node, request, 3, AMOUNT)
        view = await seen(taker, htlc)
        assert (view.state, view.final, view.has_more) == (LegState.COLLECTED, True, True)


async def test_a_strangers_payment_does_not_look_like_a_funding_of_a_payer_that_funds_itself() -> None:
    # Otherwise the counterparty could stop a swap for the price of one small output.
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, request = await leg_of(taker, provider, node)
        own = replace(htlc, funded_by_others=False)
        others_pay(node, request, 2, 20_000)
        assert (await seen(taker, own)).state is LegState.NONE
        assert (await provider.legs.observe(own, Side.PAYEE)).state is LegState.PENDING
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, own))
        await taker.legs.perform(await taker.legs.prepare(Verb.VOID, own))
        node.mine(6)
        view = await seen(taker, own)
        assert (view.state, view.over) == (LegState.NONE, True)


async def test_a_payment_that_is_not_worth_a_refund_keeps_nothing_open() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, request = await leg_of(taker, provider, node)
        others_pay(node, request, 2, 600)
        assert (await seen(taker, htlc)).state is LegState.NONE
        others_pay(node, request, 3, AMOUNT)
        node.mine(1)
        view = await seen(taker, htlc)
        assert (view.state, view.has_more) == (LegState.FUNDED, False)


async def test_a_payment_after_the_release_does_not_keep_the_released_one_back() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc, request = await leg_of(taker, provider, node)
        others_pay(node, request, 2, AMOUNT)
        node.mine(1)
        signed = await provider.legs.prepare(Verb.RELEASE, htlc)
        others_pay(node, request, 3, AMOUNT)
        await taker.legs.take_release(htlc, signed)
        assert (await seen(taker, htlc)).returnable
        await taker.legs.perform(await taker.legs.prepare(Verb.RECLAIM, htlc))
        node.mine(6)
        view = await seen(taker, htlc)
        assert (view.state, view.over, view.has_more, view.returnable) == (LegState.RETURNED, True, True, False)
