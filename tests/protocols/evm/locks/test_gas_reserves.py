"""Gas is reserved for each open swap from its agreement to its end, and only new swaps are refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from layer2.contracts.htlc import CLAIM_GAS, REFUND_GAS
from layer2.errors import InsufficientFunds
from layer2.legs.leg import Htlc
from layer2.legs.views import Side
from layer2.local.accounts import START_WEI
from layer2.model.transactions import Preimage
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.fees.quotes import FeeQuote
from layer2.protocols.evm.locks import gas_reserves
from protocols.evm.bob_network import BobNetwork

# At this price a lock may need two sevenths of the account's ETH, so three locks can be finished.
THREE_FIT = START_WEI // (7 * (CLAIM_GAS + REFUND_GAS))


def htlc(bob: BobNetwork, number: int) -> Htlc:
    return bob.htlc(Preimage(bytes((number,)) * 32))


async def is_refused(client: BobClient, new: Htlc) -> bool:
    try:
        await client.legs.check_can_finish(new, Side.PAYEE)
    except InsufficientFunds as error:
        return "other open swaps" in error.message
    return False


async def provider_of_three(bob: BobNetwork) -> BobClient:
    provider = await bob.client("provider", priority_fee_per_gas_wei=THREE_FIT)
    for number in range(3):
        await provider.legs.check_can_finish(htlc(bob, number), Side.PAYEE)
        await provider.legs.reserve(htlc(bob, number), Side.PAYEE)
    return provider


async def test_gas_for_every_open_swap_is_kept_until_it_is_freed(bob: BobNetwork) -> None:
    provider = await provider_of_three(bob)
    assert await is_refused(provider, htlc(bob, 3))
    provider.legs.free(htlc(bob, 0))
    provider.legs.free(htlc(bob, 0))
    assert not await is_refused(provider, htlc(bob, 3))


async def test_a_rise_of_the_price_does_not_stop_an_open_swap_for_the_sake_of_others(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = await provider_of_three(bob)
    ask = provider._fees.urgent_quote

    async def dearer() -> FeeQuote:
        quote = await ask()
        return replace(quote, max_fee_per_gas=2 * quote.max_fee_per_gas)

    monkeypatch.setattr(provider._fees, "urgent_quote", dearer)
    for number in range(3):
        await provider.legs.check_can_finish(htlc(bob, number), Side.PAYEE)
    provider.legs.free(htlc(bob, 0))
    assert await is_refused(provider, htlc(bob, 3))


async def test_an_open_swap_is_refused_what_it_cannot_pay_itself(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = await provider_of_three(bob)

    async def poor(address: bytes) -> int:
        return 1

    monkeypatch.setattr(provider._node, "balance", poor)
    with pytest.raises(InsufficientFunds, match="the account has 1"):
        await provider.legs.check_can_finish(htlc(bob, 0), Side.PAYEE)


async def test_resumed_swaps_count_against_new_ones(bob: BobNetwork) -> None:
    provider = await bob.client("provider", priority_fee_per_gas_wei=THREE_FIT)
    for number in range(3):
        await provider.legs.reserve(htlc(bob, number), Side.PAYEE)
    assert await is_refused(provider, htlc(bob, 3))


async def test_what_was_asked_at_once_counts_together_and_what_came_to_nothing_is_forgotten(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = await bob.client("provider", priority_fee_per_gas_wei=THREE_FIT)
    asked = [is_refused(provider, htlc(bob, number)) for number in range(4)]
    assert sorted(await asyncio.gather(*asked)) == [False, False, False, True]
    provider.legs.free(htlc(bob, 0))
    monkeypatch.setattr(gas_reserves, "_CHECKED_SECONDS", 0.0)
    assert not await is_refused(provider, htlc(bob, 0))
    # The reservation of that swap has expired.
    assert not await is_refused(provider, htlc(bob, 3))


async def test_a_swap_that_is_checked_again_counts_once(bob: BobNetwork) -> None:
    provider = await bob.client("provider", priority_fee_per_gas_wei=THREE_FIT)
    for number in (0, 0, 1, 0, 2, 0, 1, 2):
        assert not await is_refused(provider, htlc(bob, number))
    assert await is_refused(provider, htlc(bob, 3))


async def test_a_check_costs_the_same_however_many_swaps_were_just_checked(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, computed = await bob.client("provider"), 0
    reserve = FeeQuote.reserve

    def counted(quote: FeeQuote, gas_limit: int, size: int) -> int:
        nonlocal computed
        computed += 1
        return reserve(quote, gas_limit, size)

    monkeypatch.setattr(FeeQuote, "reserve", counted)
    costs: list[int] = []
    for number in range(20):
        computed = 0
        await provider.legs.check_can_finish(htlc(bob, number), Side.PAYEE)
        costs.append(computed)
    assert costs[1] > 0
    assert costs[19] == costs[1]
