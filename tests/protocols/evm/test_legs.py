"""Legs on BOB for the swap engine: offers, costs, two kinds of finality, late fundings and courtesy claims."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from layer2.contracts.htlc import CLAIM_GAS, HTLC_ADDRESS, LOCK_GAS_ERC20
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, TEST_TOKEN_DECIMALS
from layer2.errors import AsyncRuntimeError, ConfigurationError, FundsRulesError, InsufficientFunds
from layer2.formats.evm_address import to_checksum
from layer2.legs.evm import EvmOffer
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import LegState, OfferRequest, Side, Verb
from layer2.local.accounts import START_WEI
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, ETH
from layer2.model.transactions import EvmTxId, Finality, Preimage
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.fees.quotes import FeeQuote
from layer2.protocols.evm.locks.gas_reserves import SIGNED_SIZE
from protocols.evm.bob_network import START_SATOSHIS, BobNetwork, at

SECRET = Preimage(bytes(range(32)))
FINAL_TIME = REGTEST.margins(Layer2ProtocolType.BOB).final_time


def secret(number: int) -> Preimage:
    return Preimage(sha256(bytes([number])).digest())


async def fund(client: BobClient, htlc: Htlc) -> None:
    await client.legs.perform(await client.legs.prepare(Verb.FUND, htlc))


async def test_an_offer_names_the_layer_the_contract_the_token_and_the_account(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    assert await taker.legs.leg_offer() == EvmOffer(
        protocol=Layer2ProtocolType.BOB,
        chain_id=60808,
        contract=HTLC_ADDRESS,
        token=TEST_TOKEN_ADDRESS,
        token_decimals=TEST_TOKEN_DECIMALS,
        account=bob.address("taker"),
        finality=Finality.LATEST,
    )
    for side in Side:
        request = OfferRequest(side, SECRET.payment_hash, 100_420, "memo", expiry_seconds=0, min_blocks=0)
        assert await taker.legs.offer(request) == to_checksum(bob.address("taker"))


async def test_what_has_arrived_by_the_terms_is_final_only_once_it_is_finalized(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await fund(taker, htlc)
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    claimed_at = bob.node.chain.head.header.timestamp
    for head in Finality:
        # The terms require the newest block, which another branch may still replace.
        view = await provider.legs.observe(htlc, Side.PAYEE)
        is_final = head is Finality.FINALIZED
        assert (view.state, view.arrived, view.final) == (LegState.COLLECTED, True, is_final)
        assert view.final_at == (None if is_final else claimed_at + FINAL_TIME)
        careful = await provider.legs.observe(at(htlc, Finality.SAFE), Side.PAYEE)
        assert (careful.arrived, careful.final) == (head is not Finality.LATEST, is_final)
        bob.node.mine(2)


async def test_a_claim_that_a_reorganisation_takes_away_was_never_final(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await fund(taker, htlc)
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    view = await provider.legs.observe(htlc, Side.PAYEE)
    assert (view.arrived, view.final) == (True, False)
    bob.node.reorganise(1, keep_transactions=False)
    view = await provider.legs.observe(htlc, Side.PAYEE)
    assert (view.state, view.arrived, view.final, view.final_at) == (LegState.FUNDED, False, False, None)


async def test_a_lock_cannot_be_voided(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    with pytest.raises(FundsRulesError, match="ends at its deadline"):
        await taker.legs.prepare(Verb.VOID, bob.htlc(SECRET))


async def test_one_search_finds_the_late_fundings_of_many_swaps_and_the_next_one_continues(
    bob: BobNetwork, requests_seen: list[bytes]
) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    bob.node.mine(4)
    assert await provider.legs.late_fundings(0) == (frozenset(), bob.node.chain.head.number - 3)
    for number in range(3):
        await fund(taker, bob.htlc(secret(number)))
    await fund(taker, bob.htlc(secret(3), payee="stranger"))
    await fund(provider, bob.htlc(secret(4), payer="provider", payee="taker"))
    requests_seen.clear()
    found, since = await provider.legs.late_fundings(0)
    assert found == {secret(number).payment_hash for number in range(3)}
    assert sum(b"eth_getLogs" in body for body in requests_seen) == 1
    assert since == bob.node.chain.head.number - 3
    bob.node.mine(9)
    # Fundings that were not finalized then are returned again.
    again, since = await provider.legs.late_fundings(since)
    assert secret(2).payment_hash in again < found
    assert since == bob.node.chain.head.number - 3
    assert await provider.legs.late_fundings(since) == (frozenset(), since)


async def test_late_fundings_are_looked_for_step_by_step_and_as_far_back_as_the_settings_say(bob: BobNetwork) -> None:
    taker, provider = (
        await bob.client("taker"),
        await bob.client("provider", log_search_step_blocks=2, log_search_blocks=30),
    )
    for number in range(10):
        await fund(taker, bob.htlc(secret(number)))
        bob.node.mine(3)
    found, _ = await provider.legs.late_fundings(0)
    # The oldest ones are older than the last thirty blocks.
    assert found == {secret(number).payment_hash for number in range(3, 10)}
    assert (await provider.legs.late_fundings(1))[0] == {secret(number).payment_hash for number in range(10)}


async def test_a_late_funding_that_a_reorganisation_brings_is_found(bob: BobNetwork) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    bob.node.mine(6)
    _, since = await provider.legs.late_fundings(0)
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    raw = [bytes.fromhex(each[2:]) for each in act["transactions"]]
    # The new branch has the funding at a height that was already searched.
    bob.node.reorganise(2, keep_transactions=True, transactions=raw)
    found, _ = await provider.legs.late_fundings(since)
    assert found == {SECRET.payment_hash}


async def test_a_courtesy_pays_the_provider_and_costs_the_payer_only_gas(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await fund(taker, htlc)
    wei = (await taker.balances_async())[ETH].spendable
    await taker.legs.courtesy(htlc, SECRET)
    view = await provider.legs.observe(htlc, Side.PAYEE)
    assert (view.state, view.preimage) == (LegState.COLLECTED, SECRET)
    assert (await provider.balances_async())[BTC].spendable == START_SATOSHIS + 100_420
    assert (await provider.balances_async())[ETH].spendable == START_WEI
    balances = await taker.balances_async()
    assert balances[BTC].spendable == START_SATOSHIS - 100_420
    assert 0 < wei - balances[ETH].spendable < CLAIM_GAS * taker.settings.max_fee_per_gas_wei
    sent = len(bob.sent())
    await taker.legs.courtesy(htlc, SECRET)
    assert len(bob.sent()) == sent


async def test_a_courtesy_that_is_repeated_before_its_block_is_one_transaction(bob: BobNetwork) -> None:
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    await fund(taker, htlc)
    bob.maker.set_enabled(False)
    for _ in range(3):
        await taker.legs.courtesy(htlc, SECRET)
    before = bob.sent()
    bob.node.mine()
    assert len(bob.sent()) == len(before) + 1
    assert (await taker.legs.observe(htlc, Side.PAYER)).state is LegState.COLLECTED


async def test_a_courtesy_is_for_the_own_open_lock_and_its_own_preimage(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    before = bob.sent()
    await taker.legs.courtesy(htlc, SECRET)
    assert bob.sent() == before
    await fund(taker, htlc)
    before = bob.sent()
    with pytest.raises(FundsRulesError, match="does not match the lock"):
        await taker.legs.courtesy(htlc, secret(1))
    with pytest.raises(FundsRulesError, match="not the payer"):
        await provider.legs.courtesy(htlc, SECRET)
    assert bob.sent() == before


async def test_a_courtesy_is_not_made_at_a_price_above_the_cap_or_of_gas_that_open_swaps_need(bob: BobNetwork) -> None:
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    await fund(taker, htlc)
    before = bob.sent()
    dear = await bob.client("taker", max_fee_per_gas_wei=1_000_001)
    with pytest.raises(FundsRulesError, match="max_fee_per_gas_wei"):
        await dear.legs.courtesy(htlc, SECRET)
    tip = START_WEI // (3 * CLAIM_GAS)
    poor = await bob.client("taker", max_fee_per_gas_wei=2 * tip, priority_fee_per_gas_wei=tip)
    await poor.legs.reserve(bob.htlc(secret(1)), Side.PAYER)
    with pytest.raises(InsufficientFunds, match="open swaps"):
        await poor.legs.courtesy(htlc, SECRET)
    assert bob.sent() == before


async def test_the_network_cost_is_that_of_a_lock_and_its_end_in_whole_satoshi(bob: BobNetwork) -> None:
    assert await (await bob.client("taker")).legs.network_cost(100_420) is None
    taker = await bob.client("taker", native_price_sat=4_000_000)
    quote: FeeQuote = await taker._fees.urgent_quote()
    wei = quote.most(LOCK_GAS_ERC20, SIGNED_SIZE) + quote.most(CLAIM_GAS, SIGNED_SIZE)
    cost = await taker.legs.network_cost(100_420)
    assert cost is not None
    assert (cost - 1) * 10**18 < wei * 4_000_000 <= cost * 10**18
    cheap = await bob.client("taker", native_price_sat=1)
    assert await cheap.legs.network_cost(100_420) == 1


async def test_a_client_that_was_closed_refuses_every_call(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    await taker.aclose()
    calls: list[Any] = [
        taker.initialize_async,
        taker.balances_async,
        lambda: taker.transfer_asset_async(BTC, 1, to_checksum(bob.address("provider"))),
        lambda: taker.wait_for_status_async(EvmTxId("0x" + "00" * 32)),
        lambda: anext(taker.watch_heads_async()),
        taker.legs.read_clock,
    ]
    for call in calls:
        with pytest.raises(AsyncRuntimeError, match=r"this (BobClient|client) was closed; create a new one"):
            await call()


async def test_a_coin_that_costs_nothing_is_refused_where_the_settings_are_made(bob: BobNetwork) -> None:
    with pytest.raises(ConfigurationError, match='"native_price_sat": must be at least 1'):
        await bob.client("taker", native_price_sat=0)
