"""A leg on Bitcoin from both sides: funded, claimed, refunded, released, re-priced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.errors import FundsRulesError
from layer2.legs.bitcoin import BitcoinKeys, BitcoinLeg
from layer2.legs.evidence import read_evidence, write_evidence
from layer2.legs.leg import Htlc
from layer2.legs.shown import EvidencePolicy, LegOutcome, Owed
from layer2.legs.views import ActStatus, LegState, OfferRequest, Side, Verb
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.model.transactions import Finality
from protocols.bitcoin.parties import BitcoinParty, two_parties
from protocols.bitcoin.scripts import PREIMAGE
from simnet.bitcoin.coins import REWARD, reward_of, spend, started_node

AMOUNT = 500_000
OWED = Owed(Side.PAYER, AMOUNT, PREIMAGE.payment_hash, b"\x01" * 32, 0)


async def htlc_of(payer: BitcoinParty, payee: BitcoinParty, node: BitcoinNode, blocks: int = 60) -> Htlc:
    request = OfferRequest(Side.PAYER, PREIMAGE.payment_hash, AMOUNT, "memo", 0, 0)
    named = BitcoinKeys.read(await payer.legs.offer(request))
    offered = (await payee.legs.leg_offer()).keys
    leg = BitcoinLeg(
        prefix="bcrt",
        amount=AMOUNT,
        payer=named.key,
        payee=offered.key,
        payee_release=offered.release_key,
        payment_hash=PREIMAGE.payment_hash,
        locktime=node.chain.height + blocks,
        issued_height=node.chain.height,
        depth=2,
        fee_floor=1_000,
        finality=Finality.SAFE,
    )
    return Htlc(leg, PREIMAGE.payment_hash, b"\x01" * 32)


async def test_an_output_is_funded_and_claimed_and_both_see_it() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        await taker.legs.check_can_finish(htlc, Side.PAYER)
        await provider.legs.check_can_finish(htlc, Side.PAYEE)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.NONE
        fund = await taker.legs.prepare(Verb.FUND, htlc)
        assert await taker.legs.act_status(fund) is ActStatus.UNSEEN
        await taker.legs.perform(fund)
        assert await taker.legs.act_status(fund) is ActStatus.UNDER_WAY
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.PENDING
        node.mine(1)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.PENDING
        node.mine(1)
        for party, side in ((taker, Side.PAYER), (provider, Side.PAYEE)):
            assert (await party.legs.observe(htlc, side)).state is LegState.FUNDED
        assert await taker.legs.act_status(fund) is ActStatus.DONE
        claim = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        await provider.legs.perform(claim)
        seen = await taker.legs.observe(htlc, Side.PAYER)
        assert (seen.state, seen.preimage, seen.arrived, seen.final) == (LegState.COLLECTED, PREIMAGE, False, False)
        node.mine(2)
        assert (await taker.legs.observe(htlc, Side.PAYER)).arrived
        node.mine(4)
        seen = await provider.legs.observe(htlc, Side.PAYEE)
        assert (seen.final, seen.over) == (True, False)
        assert await provider.legs.act_status(claim) is ActStatus.DONE
        evidence = await taker.legs.evidence(htlc, Side.PAYER)
        assert evidence is not None
        shown = htlc.leg.check_evidence(read_evidence(write_evidence(evidence), "evidence"), OWED, EvidencePolicy())
        assert shown.outcome is LegOutcome.COLLECTED
        assert shown.header is not None
        assert shown.header.hash.hex() == node.chain.blocks[shown.header.number].block.header.id
        balance, _ = await provider.parts.coins.balance()
        assert 30_000_000 + AMOUNT - 2_000 < balance.confirmed < 30_000_000 + AMOUNT


async def test_a_payee_that_works_with_a_miner_cannot_hide_its_claim() -> None:
    # Consensus takes every true selector of the branch; nodes relay only one.
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(2)
        await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE))
        (claim,) = node.mempool.for_block(0)
        signature, preimage, _, script = claim.inputs[0].witness
        node.mine(1, [claim.with_witness(0, (signature, preimage, b"\x02", script))])
        node.mine(5)
        seen = await taker.legs.observe(htlc, Side.PAYER)
        assert (seen.state, seen.preimage, seen.over) == (LegState.COLLECTED, PREIMAGE, False)
        evidence = await taker.legs.evidence(htlc, Side.PAYER)
        assert evidence is not None
        assert htlc.leg.check_evidence(evidence, OWED, EvidencePolicy()).outcome is LegOutcome.COLLECTED


async def test_a_payer_takes_it_back_at_the_lock_time_and_not_before() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=20)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(18)
        await taker.legs.observe(htlc, Side.PAYER)
        with pytest.raises(FundsRulesError, match="lock time"):
            await taker.legs.prepare(Verb.RECLAIM, htlc)
        node.mine(2)
        refund = await taker.legs.prepare(Verb.RECLAIM, htlc)
        await taker.legs.perform(refund)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED
        node.mine(1)
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.RETURNED
        node.mine(5)
        seen = await taker.legs.observe(htlc, Side.PAYER)
        assert (seen.state, seen.final, seen.over) == (LegState.RETURNED, True, True)
        evidence = await provider.legs.evidence(htlc, Side.PAYEE)
        assert evidence is not None
        assert htlc.leg.check_evidence(evidence, OWED, EvidencePolicy()).outcome is LegOutcome.RETURNED


async def test_a_release_gives_it_back_at_once() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(2)
        signed = await provider.legs.prepare(Verb.RELEASE, htlc)
        assert await provider.legs.act_status(signed) is ActStatus.DONE
        assert not (await taker.legs.observe(htlc, Side.PAYER)).returnable
        await taker.legs.take_release(htlc, signed)
        assert (await taker.legs.observe(htlc, Side.PAYER)).returnable
        await taker.legs.perform(await taker.legs.prepare(Verb.RECLAIM, htlc))
        node.mine(6)
        seen = await provider.legs.observe(htlc, Side.PAYEE)
        assert (seen.state, seen.over) == (LegState.RETURNED, True)


async def test_a_claim_is_made_again_with_a_higher_fee_when_blocks_pass_without_it() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=30)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(2)
        claim = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        await provider.legs.perform(claim)
        assert await provider.legs.repriced(claim, htlc) is None
        node.mine(1, [])
        node.reorganise(1, True, [])
        second = await provider.legs.repriced(claim, htlc)
        assert second is not None
        await provider.legs.perform(second)
        assert await provider.legs.act_status(claim) is ActStatus.UNSEEN
        node.mine(1)
        assert await provider.legs.act_status(second) is ActStatus.DONE
        assert (await taker.legs.observe(htlc, Side.PAYER)).preimage == PREIMAGE


async def test_a_claim_that_a_block_contains_is_not_made_again() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=30)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(2)
        claim = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        await provider.legs.perform(claim)
        node.mine(1)
        assert await provider.legs.repriced(claim, htlc) is None


async def test_a_second_funding_of_one_hash_spends_the_same_coins() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        first = await taker.legs.prepare(Verb.FUND, htlc)
        second = await taker.legs.prepare(Verb.FUND, htlc)
        await taker.legs.perform(first)
        node.mine(6)
        assert await taker.legs.act_status(first) is ActStatus.DONE
        assert second["scripts"] == first["scripts"]


async def test_a_party_makes_neither_the_other_partys_acts_nor_a_second_funding() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        with pytest.raises(FundsRulesError, match="funded before"):
            await taker.legs.prepare(Verb.FUND, htlc)
        node.mine(2)
        for party, verb in ((taker, Verb.COLLECT), (taker, Verb.RELEASE), (provider, Verb.RECLAIM)):
            with pytest.raises(FundsRulesError, match="belongs to the other party"):
                await party.legs.prepare(verb, htlc, PREIMAGE)
        with pytest.raises(FundsRulesError, match="in a block"):
            await taker.legs.prepare(Verb.VOID, htlc)
        assert isinstance(htlc.leg, BitcoinLeg)
        other = replace(htlc, leg=replace(htlc.leg, locktime=node.chain.height + 90))
        with pytest.raises(FundsRulesError, match="funded before"):
            await taker.legs.prepare(Verb.FUND, other)


async def test_a_funding_begins_neither_after_the_deadline_nor_above_the_highest_fee_rate() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=1)
        node.set_fees(250_000)
        with pytest.raises(FundsRulesError, match="250 sat/vB exceeds max_fee_rate, 200 sat/vB"):
            await taker.legs.prepare(Verb.FUND, htlc)
        node.set_fees(1_000)
        node.mine(1)
        await provider.legs.read_clock()
        with pytest.raises(FundsRulesError, match="deadline"):
            await taker.legs.prepare(Verb.FUND, htlc)


async def test_a_funding_that_is_not_confirmed_is_voided_for_good() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        fund = await taker.legs.prepare(Verb.FUND, htlc)
        await taker.legs.perform(fund)
        void = await taker.legs.prepare(Verb.VOID, htlc)
        await taker.legs.perform(void)
        assert await taker.legs.act_status(fund) is ActStatus.UNSEEN
        assert await taker.legs.act_status(void) is ActStatus.UNDER_WAY
        node.mine(5)
        assert not (await taker.legs.observe(htlc, Side.PAYER)).over
        assert await taker.legs.act_status(fund) is ActStatus.UNSEEN
        node.mine(1)
        seen = await taker.legs.observe(htlc, Side.PAYER)
        assert (seen.state, seen.over) == (LegState.NONE, True)
        assert await taker.legs.act_status(fund) is ActStatus.FAILED
        assert await taker.legs.act_status(void) is ActStatus.DONE


async def test_outputs_with_other_amounts_are_never_credited_and_are_taken_back() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=20)
        assert isinstance(htlc.leg, BitcoinLeg)
        program = htlc.leg.htlc.program
        for height, amount in enumerate((AMOUNT - 1, AMOUNT + 1, AMOUNT), start=2):
            node.mine(1, [spend(reward_of(node, height), [amount, REWARD - 2 * AMOUNT], script=program)])
            assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.PENDING
        node.mine(1, [spend(reward_of(node, 5), [AMOUNT], script=program)])
        assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED
        claim = await provider.legs.prepare(Verb.COLLECT, htlc, PREIMAGE)
        await provider.legs.perform(claim)
        node.mine(20)
        refund = await taker.legs.prepare(Verb.RECLAIM, htlc)
        await taker.legs.perform(refund)
        node.mine(6)
        assert (await taker.legs.observe(htlc, Side.PAYER)).state is LegState.COLLECTED
        balance, _ = await taker.parts.coins.balance()
        assert balance.confirmed > 30_000_000 + 3 * (REWARD - AMOUNT) - 5_000
