"""Acts on locks: fund, claim, release, refund, and refusals."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from layer2.contracts.htlc import spent_call
from layer2.errors import BadAnswer, FormatError, FundsRulesError, InsufficientFunds, ProofUndecided, TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.legs.evidence import EvmReceiptEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.lock_evidence import shown_of
from layer2.legs.shown import LegOutcome
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.local.simnet.evm.calls import CallFailed, CallRequest, Overrides
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.model.money import ETH
from layer2.model.transactions import Finality, Preimage, TxState
from protocols.evm.bob_network import START, START_SATOSHIS, BobNetwork, at

SECRET = Preimage(bytes(range(32)))


async def test_a_lock_is_funded_collected_and_proven(bob: BobNetwork) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    htlc = bob.htlc(SECRET)
    assert isinstance(htlc.leg, EvmLeg)
    await taker.legs.check_can_finish(htlc, Side.PAYER)
    await provider.legs.check_can_finish(htlc, Side.PAYEE)

    fund = await taker.legs.prepare(Verb.FUND, htlc)
    assert await taker.legs.act_status(fund) is ActStatus.UNSEEN
    await taker.legs.perform(fund)
    assert await taker.legs.act_status(fund) is ActStatus.DONE
    view = await provider.legs.observe(at(htlc, Finality.SAFE), Side.PAYEE)
    assert (view.state, view.final, view.over, view.preimage) == (LegState.PENDING, False, False, None)
    bob.node.mine(2)
    view = await provider.legs.observe(at(htlc, Finality.SAFE), Side.PAYEE)
    assert view.state is LegState.FUNDED

    collect = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(collect)
    view = await taker.legs.observe(at(htlc, Finality.SAFE), Side.PAYER)
    assert (view.state, view.preimage, view.final) == (LegState.COLLECTED, SECRET, False)
    bob.node.mine(4)
    view = await taker.legs.observe(at(htlc, Finality.SAFE), Side.PAYER)
    assert (view.final, view.over) == (True, False)

    evidence = await taker.legs.evidence(htlc, Side.PAYER)
    assert evidence is not None
    shown = shown_of(evidence, htlc.leg.lock(htlc.payment_hash, htlc.terms_hash))
    assert shown.outcome is LegOutcome.COLLECTED
    assert await provider.verify_proof_async(evidence)


async def funded(bob: BobNetwork, **changes: Any) -> None:
    taker = await bob.client("taker")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET, **changes)))


async def test_the_payee_releases_a_lock_before_the_deadline_and_the_refund_is_proven(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    assert isinstance(htlc.leg, EvmLeg)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    release = await provider.legs.prepare(Verb.RELEASE, htlc)
    await provider.legs.perform(release)
    assert await provider.legs.act_status(release) is ActStatus.DONE
    bob.node.mine(4)
    view = await taker.legs.observe(at(htlc, Finality.FINALIZED), Side.PAYER)
    assert (view.state, view.final, view.over) == (LegState.RETURNED, True, True)
    evidence = await provider.legs.evidence(htlc, Side.PAYEE)
    assert evidence is not None
    shown = shown_of(evidence, htlc.leg.lock(htlc.payment_hash, htlc.terms_hash))
    assert shown.outcome is LegOutcome.RETURNED


async def test_the_payer_reclaims_only_after_the_deadline_on_the_chains_clock(bob: BobNetwork) -> None:
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    with pytest.raises(FundsRulesError, match="deadline has not passed") as refused:
        await taker.legs.prepare(Verb.RECLAIM, htlc)
    assert refused.value.deadline == START + 7_200
    bob.node.advance_time(7_200)
    await taker.legs.perform(await taker.legs.prepare(Verb.RECLAIM, htlc))
    view = await taker.legs.observe(htlc, Side.PAYER)
    assert (view.state, view.arrived, view.final, view.over) == (LegState.RETURNED, True, False, False)


async def test_a_funding_that_never_came_is_over_when_the_finalized_block_is_past_the_deadline(bob: BobNetwork) -> None:
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    bob.node.advance_time(7_200)
    assert not (await taker.legs.observe(htlc, Side.PAYER)).over
    bob.node.mine(4)
    view = await taker.legs.observe(htlc, Side.PAYER)
    assert (view.state, view.over) == (LegState.NONE, True)


async def test_the_preimage_is_found_by_its_hash_though_another_lock_was_claimed(bob: BobNetwork) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    for other in (bob.htlc(SECRET), bob.htlc(Preimage(b"\x07" * 32))):
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, other))
        secret = SECRET if other == bob.htlc(SECRET) else Preimage(b"\x07" * 32)
        await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, other, secret))
    view = await taker.legs.observe(bob.htlc(SECRET, amount=5), Side.PAYER)
    assert (view.state, view.preimage) == (LegState.NONE, SECRET)


async def test_a_claim_that_was_seen_is_read_with_one_call_and_a_removed_one_is_noticed(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    asked: list[bytes] = []
    execute = bob.node.calls.call

    def noted(request: CallRequest, block: MinedBlock, overrides: Overrides | None = None) -> bytes:
        asked.append(request.data[:4])
        return execute(request, block, overrides)

    monkeypatch.setattr(bob.node.calls, "call", noted)
    spent = spent_call(bytes(32))[:4]
    assert (await taker.legs.observe(htlc, Side.PAYER)).preimage == SECRET
    assert asked.count(spent) == 1
    asked.clear()
    bob.node.mine()
    view = await taker.legs.observe(htlc, Side.PAYER)
    assert (view.state, view.preimage, spent in asked) == (LegState.COLLECTED, SECRET, False)
    asked.clear()
    bob.node.reorganise(2, keep_transactions=False)
    view = await taker.legs.observe(htlc, Side.PAYER)
    assert (view.state, view.preimage, asked.count(spent)) == (LegState.FUNDED, None, 1)


@pytest.mark.parametrize(
    "change",
    [{"amount": 100_419}, {"deadline": START + 7_201}, {"payee": "stranger"}],
    ids=["amount", "deadline", "payee"],
)
async def test_a_lock_that_differs_in_one_detail_is_not_this_leg(bob: BobNetwork, change: dict[str, Any]) -> None:
    await funded(bob, **change)
    provider = await bob.client("provider")
    assert (await provider.legs.observe(bob.htlc(SECRET), Side.PAYEE)).state is LegState.NONE


async def test_what_a_stranger_locked_under_the_hash_is_ignored(bob: BobNetwork) -> None:
    provider = await bob.client("provider")
    other = bob.htlc(SECRET, payer="provider", payee="stranger")
    await provider.legs.perform(await provider.legs.prepare(Verb.FUND, other))
    await funded(bob)
    view = await provider.legs.observe(bob.htlc(SECRET), Side.PAYEE)
    assert view.state is LegState.FUNDED


@pytest.mark.parametrize(
    "change",
    [
        {"contract": b"\x01" * 20},
        {"token": b"\x02" * 20},
        {"chain_id": 1},
        {"token_decimals": 18},
        {"amount": 0},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_leg_of_another_contract_token_or_chain_is_refused(bob: BobNetwork, change: dict[str, Any]) -> None:
    taker = await bob.client("taker")
    with pytest.raises(FundsRulesError):
        await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET, **change))
    assert len(bob.sent()) == 4


async def test_a_hash_is_funded_once_by_one_key_until_the_first_funding_is_over(bob: BobNetwork) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    first, second = bob.htlc(SECRET), bob.htlc(SECRET, amount=5)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, first))
    with pytest.raises(FundsRulesError, match="already locked under this payment hash"):
        await taker.legs.prepare(Verb.FUND, second)
    await provider.legs.perform(await provider.legs.prepare(Verb.RELEASE, first))
    with pytest.raises(FundsRulesError, match="already locked under this payment hash"):
        await taker.legs.prepare(Verb.FUND, second)
    bob.node.mine(4)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, second))
    assert (await taker.legs.observe(second, Side.PAYER)).state is LegState.FUNDED


async def test_nothing_is_locked_under_a_hash_whose_preimage_is_public(bob: BobNetwork) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET)))
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, bob.htlc(SECRET), SECRET))
    with pytest.raises(FundsRulesError, match="public"):
        await provider.legs.prepare(Verb.FUND, bob.htlc(SECRET, payer="provider", payee="taker"))


async def test_nothing_that_shows_the_preimage_is_asked_before_the_claim_is_performed(
    bob: BobNetwork, requests_seen: list[bytes]
) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET)))
    claim = await provider.legs.prepare(Verb.COLLECT, bob.htlc(SECRET), SECRET)
    shown = SECRET.secret.hex().encode()
    assert not any(shown in request for request in requests_seen)
    assert b"eth_estimateGas" not in b"".join(requests_seen)
    await provider.legs.perform(claim)
    assert any(shown in request for request in requests_seen)


async def test_no_claim_is_made_for_a_lock_that_is_not_there_or_not_ours(bob: BobNetwork) -> None:
    provider, stranger = await bob.client("provider"), await bob.client("stranger")
    with pytest.raises(FundsRulesError, match="no open lock"):
        await provider.legs.prepare(Verb.COLLECT, bob.htlc(SECRET), SECRET)
    await funded(bob)
    with pytest.raises(FundsRulesError, match="not the payee"):
        await stranger.legs.prepare(Verb.COLLECT, bob.htlc(SECRET), SECRET)


async def test_a_party_without_gas_is_refused_before_anything_is_locked(bob: BobNetwork) -> None:
    stranger = await bob.client("stranger")
    with pytest.raises(InsufficientFunds, match="gas"):
        await stranger.legs.check_can_finish(bob.htlc(SECRET, payee="stranger"), Side.PAYEE)


async def test_a_payer_without_the_tokens_is_refused(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    with pytest.raises(InsufficientFunds, match="smallest unit"):
        await taker.legs.check_can_finish(bob.htlc(SECRET, amount=START_SATOSHIS + 1), Side.PAYER)


async def test_the_second_lock_needs_no_approval(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    first = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    await taker.legs.perform(first)
    second = await taker.legs.prepare(Verb.FUND, bob.htlc(Preimage(b"\x09" * 32)))
    assert (len(first["transactions"]), len(second["transactions"])) == (2, 1)


async def test_many_locks_at_once_are_all_funded(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    htlcs = [bob.htlc(Preimage(bytes((number,)) * 32)) for number in range(20)]

    async def fund(htlc: Htlc) -> LegState:
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        return (await taker.legs.observe(htlc, Side.PAYER)).state

    await asyncio.gather(*[fund(htlc) for htlc in htlcs])
    bob.node.mine()
    views = await asyncio.gather(*[taker.legs.observe(htlc, Side.PAYER) for htlc in htlcs])
    assert [view.state for view in views] == [LegState.FUNDED] * 20


async def test_performing_an_act_twice_is_harmless(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    await taker.legs.perform(act)
    await taker.legs.perform(act)
    restarted = await bob.client("taker")
    await restarted.legs.perform(act)
    assert len(bob.sent()) == 6


async def test_a_lock_that_a_reorganisation_removes_is_restored_by_its_act(bob: BobNetwork) -> None:
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    act = await taker.legs.prepare(Verb.FUND, htlc)
    await taker.legs.perform(act)
    bob.node.reorganise(2, keep_transactions=False)
    assert (await taker.legs.observe(htlc, Side.PAYER)).state is LegState.NONE
    assert await taker.legs.act_status(act) is ActStatus.UNSEEN
    await taker.legs.perform(act)
    assert (await taker.legs.observe(htlc, Side.PAYER)).state is LegState.FUNDED


async def test_a_lock_whose_nonce_another_transaction_took_has_failed_once_that_is_finalized(bob: BobNetwork) -> None:
    await funded(bob)
    taker, other = await bob.client("taker"), await bob.client("taker")
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(Preimage(b"\x09" * 32)))
    for _ in range(2):
        await other.transfer_asset_async(ETH, 1, to_checksum(b"\x05" * 20))
    with pytest.raises(TransactionError, match="nonce too low"):
        await taker.legs.perform(act)
    assert await taker.legs.act_status(act) is ActStatus.UNSEEN
    bob.node.mine(4)
    assert await taker.legs.act_status(act) is ActStatus.FAILED


async def test_a_lock_that_reverted_has_failed_once_that_is_finalized(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET, deadline=bob.node.chain.head.timestamp + 10))
    bob.node.advance_time(60)
    await taker.legs.perform(act)
    assert await taker.legs.act_status(act) is ActStatus.UNDER_WAY
    bob.node.mine(4)
    assert await taker.legs.act_status(act) is ActStatus.FAILED


async def test_evidence_of_a_block_that_was_reorganised_away_is_undecided_and_then_refused(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    evidence = await provider.legs.evidence(htlc, Side.PAYEE)
    assert evidence is not None
    with pytest.raises(ProofUndecided, match="not finalized yet"):
        await taker.verify_proof_async(evidence)
    bob.node.reorganise(1, keep_transactions=False)
    with pytest.raises(ProofUndecided, match="another block"):
        await taker.verify_proof_async(evidence)
    bob.node.mine(4)
    assert not await taker.verify_proof_async(evidence)


async def test_evidence_that_was_tampered_with_is_false(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    bob.node.mine(4)
    evidence = await provider.legs.evidence(htlc, Side.PAYEE)
    assert isinstance(evidence, EvmReceiptEvidence)
    assert await taker.verify_proof_async(evidence)
    assert not await taker.verify_proof_async(replace(evidence, transaction_index=1))
    assert not await taker.verify_proof_async(replace(evidence, log_index=1))
    assert not await taker.verify_proof_async(replace(evidence, header=evidence.header[:-1] + b"\x00"))


async def test_the_end_of_a_lock_leaves_no_evidence_before_it_has_ended(bob: BobNetwork) -> None:
    await funded(bob)
    taker = await bob.client("taker")
    assert await taker.legs.evidence(bob.htlc(SECRET), Side.PAYER) is None


@pytest.mark.parametrize("act", [{}, {"type": "evm_transactions", "verb": "fund", "transactions": []}])
async def test_an_act_of_another_kind_is_refused(bob: BobNetwork, act: dict[str, object]) -> None:
    taker = await bob.client("taker")
    with pytest.raises(FormatError):
        await taker.legs.perform(act)


async def test_an_act_that_is_never_performed_holds_nothing_up_for_long(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layer2.protocols.evm.sending.repair._PATIENCE", 0.02)
    taker, provider = await bob.client("taker"), await bob.client("provider")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET)))
    forgotten = await provider.legs.prepare(Verb.COLLECT, bob.htlc(SECRET), SECRET)
    tx_id = await provider.transfer_asset_async(ETH, 1, to_checksum(b"\x05" * 20))
    assert (await provider.wait_for_status_async(tx_id, timeout=5)).state is TxState.INCLUDED
    with pytest.raises(TransactionError, match="its nonce was freed"):
        await provider.legs.perform(forgotten)
    assert await provider.legs.act_status(forgotten) is ActStatus.FAILED
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, bob.htlc(SECRET), SECRET))
    assert (await taker.legs.observe(bob.htlc(SECRET), Side.PAYER)).preimage == SECRET


@pytest.fixture
def pruned(bob: BobNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node keeps only the state after its newest block."""
    answer = bob.node.calls.call

    def call(request: CallRequest, block: MinedBlock, overrides: Overrides) -> bytes:
        if block is not bob.node.chain.head:
            raise CallFailed("missing trie node")
        return answer(request, block, overrides)

    monkeypatch.setattr(bob.node.calls, "call", call)


@pytest.mark.usefixtures("pruned")
async def test_no_swap_begins_at_a_node_that_does_not_keep_its_finalized_state(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    with pytest.raises(BadAnswer, match="archive node"):
        await taker.legs.check_can_finish(bob.htlc(SECRET), Side.PAYER)


@pytest.mark.usefixtures("pruned")
async def test_a_node_that_lost_old_states_shows_nothing_as_final_but_shows_the_preimage(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    view = await provider.legs.observe(at(htlc, Finality.SAFE), Side.PAYEE)
    assert (view.state, view.over) == (LegState.PENDING, False)
    assert view.reason is not None
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    view = await taker.legs.observe(at(htlc, Finality.SAFE), Side.PAYER)
    assert (view.state, view.preimage, view.final) == (LegState.COLLECTED, SECRET, False)


async def test_a_chain_whose_time_runs_ahead_begins_no_swap_and_finishes_one(bob: BobNetwork) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    htlc = bob.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    bob.node.advance_time(1_861)
    with pytest.raises(BadAnswer, match="ahead of this machine's clock"):
        await taker.legs.check_can_finish(bob.htlc(Preimage(b"\x01" * 32)), Side.PAYER)
    assert (await provider.legs.read_clock()).chain_time > START + 1_860
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    assert (await taker.legs.observe(htlc, Side.PAYER)).state is LegState.COLLECTED
