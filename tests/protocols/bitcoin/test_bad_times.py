"""A leg on Bitcoin while fees rise, the mempool evicts, coins are taken, and both parties spend at the deadline."""

from __future__ import annotations

import pytest

from layer2.errors import FundsRulesError, InsufficientFunds, Outcome, TransactionError
from layer2.formats.bitcoin_transaction import Transaction, TxOut
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.local.simnet.bitcoin.chain import TransactionRefused
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.ports.journal import Json
from layer2.protocols.bitcoin.htlc.acts import Broadcast, read_act
from protocols.bitcoin.client_world import STRANGER_SCRIPT
from protocols.bitcoin.parties import BitcoinParty, two_parties
from protocols.bitcoin.scripts import PREIMAGE
from protocols.bitcoin.test_bitcoin_legs import AMOUNT, htlc_of
from simnet.bitcoin.coins import started_node

RUSH = 100_000
"""Satoshi per 1,000 virtual bytes, when many want to be in the next block."""


def transaction_of(act: Json) -> Transaction:
    read = read_act(act)
    assert isinstance(read, Broadcast)
    return read.transaction


def rate_of(act: Json) -> int:
    read = read_act(act)
    assert isinstance(read, Broadcast)
    return read.rate


def to_stranger(amount: int) -> TxOut:
    return TxOut(amount, STRANGER_SCRIPT)


async def funded(taker: BitcoinParty, provider: BitcoinParty, node: BitcoinNode, blocks: int = 60) -> Htlc:
    htlc = await htlc_of(taker, provider, node, blocks)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    node.mine(2)
    return htlc


async def test_a_funding_that_the_mempool_evicts_is_sent_again_as_it_was() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        fund = await taker.legs.prepare(Verb.FUND, htlc)
        await taker.legs.perform(fund)
        node.set_fees(RUSH)
        assert await taker.legs.act_status(fund) is ActStatus.UNSEEN
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.NONE
        node.set_fees(1_000)
        await taker.legs.perform(fund)
        node.mine(2)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED
        assert transaction_of(fund).id in {each.id for each in node.chain.blocks[-2].block.transactions}


async def test_a_claim_that_a_spike_of_the_fees_evicts_is_made_again_also_above_the_cap_of_sends() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(taker, provider, node)
        claim = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        await provider.legs.perform(claim)
        most = provider.parts.settings.max_fee_rate
        node.set_fees(most + 50_000)
        node.mine(1)
        assert await provider.legs.act_status(claim) is ActStatus.UNSEEN
        with pytest.raises(TransactionError) as refused:
            await provider.legs.perform(claim)
        assert refused.value.outcome is Outcome.REJECTED
        dearer = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        assert rate_of(dearer) > most
        await provider.legs.perform(dearer)
        node.mine(1)
        assert await provider.legs.act_status(dearer) is ActStatus.DONE
        assert (await taker.legs.observe(htlc, Side.PAYER)).preimage == PREIMAGE


async def test_a_funding_is_not_made_while_the_mempool_demands_more_than_the_cap() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        node.set_fees(taker.parts.settings.max_fee_rate + 1_000)
        with pytest.raises(FundsRulesError) as caught:
            await taker.legs.prepare(Verb.FUND, htlc)
        assert caught.value.code == "fee_cap"


async def test_an_amount_that_the_fees_would_eat_is_refused_before_anything_is_sent() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        node.set_fees(AMOUNT * 10)
        for party, side in ((taker, Side.PAYER), (provider, Side.PAYEE)):
            with pytest.raises(InsufficientFunds, match="not worth its fees"):
                await party.legs.check_can_finish(htlc, side)


async def test_a_wallet_without_coins_names_what_it_has_and_what_it_needs() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        await taker.parts.coins.pay("swap:ff", [to_stranger(29_900_000)], 1_000)
        with pytest.raises(InsufficientFunds, match="that no other swap holds"):
            await taker.legs.check_can_finish(htlc, Side.PAYER)


async def test_a_funding_whose_coins_another_program_spent_has_failed_once_that_is_final() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        fund = await taker.legs.prepare(Verb.FUND, htlc)
        theft = await taker.parts.coins.wallet.pay_with(
            [each.prevout for each in transaction_of(fund).inputs], [to_stranger(9_000_000)], 5_000
        )
        node.submit(theft.transaction.encode())
        node.mine(1)
        assert await taker.legs.act_status(fund) is ActStatus.UNSEEN
        node.mine(5)
        assert await taker.legs.act_status(fund) is ActStatus.FAILED
        assert (await taker.legs.observe(htlc, Side.PAYER)).state is LegState.NONE


@pytest.mark.parametrize("is_claimed_first", [True, False])
async def test_of_a_claim_and_a_refund_at_the_deadline_one_takes_effect_and_both_parties_see_which(
    is_claimed_first: bool,
) -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(taker, provider, node, blocks=10)
        node.mine(8)
        claim = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        refund = await taker.legs.prepare(Verb.RECLAIM, htlc)
        first, second = (claim, refund) if is_claimed_first else (refund, claim)
        node.submit(transaction_of(first).encode())
        with pytest.raises(TransactionRefused):
            node.submit(transaction_of(second).encode())
        node.mine(6)
        views = [await taker.legs.observe(htlc, Side.PAYER), await provider.legs.observe(htlc, Side.PAYEE)]
        ended = LegState.COLLECTED if is_claimed_first else LegState.RETURNED
        assert [(each.state, each.final) for each in views] == [(ended, True)] * 2
        assert await provider.legs.act_status(claim) is (ActStatus.DONE if is_claimed_first else ActStatus.FAILED)
        assert await taker.legs.act_status(refund) is (ActStatus.FAILED if is_claimed_first else ActStatus.DONE)


async def test_each_party_outbids_the_other_s_spend_of_the_same_output() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(taker, provider, node, blocks=10)
        node.mine(8)
        rates = []
        for _ in range(3):
            claim = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
            await provider.legs.perform(claim)
            refund = await taker.legs.prepare(Verb.RECLAIM, htlc)
            await taker.legs.perform(refund)
            assert await provider.legs.act_status(claim) is ActStatus.UNSEEN
            rates += [rate_of(claim), rate_of(refund)]
        assert rates == sorted(set(rates))
        node.mine(6)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.RETURNED


async def test_no_party_outbids_beyond_half_of_the_amount() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await funded(taker, provider, node)
        leg = htlc.leg
        assert isinstance(leg, BitcoinLeg)
        node.set_fees(1_000_000)
        claim = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        fee = AMOUNT - sum(each.amount for each in transaction_of(claim).outputs)
        assert fee <= AMOUNT // 2
        await provider.legs.perform(claim)
        node.set_fees(AMOUNT * 1_000)
        most = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        assert fee < AMOUNT - sum(each.amount for each in transaction_of(most).outputs) <= AMOUNT // 2
