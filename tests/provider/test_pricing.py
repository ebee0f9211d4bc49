from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import InvalidAmount
from layer2.model.transactions import Finality
from layer2.provider.pricing import Exposure, PriceList
from provider.made_providers import BOB, LIGHTNING, PRICE, PRICES, ROOTSTOCK

WIDE = replace(PRICE, min_amount=1, max_amount=10**18)


def test_the_fee_is_the_price_lists() -> None:
    assert PRICE.provider_fee(100_000) == 300 + 120


@given(st.integers(1, 10**15), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_fee_is_never_less_than_the_list_asks_and_never_a_satoshi_more(
    amount: int, fee_ppm: int, base_fee: int
) -> None:
    fee = replace(PRICE, fee_ppm=fee_ppm, base_fee=base_fee).provider_fee(amount)
    assert 0 <= (fee - base_fee) * 1_000_000 - amount * fee_ppm < 1_000_000


@given(st.integers(1, 10**15), st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_leaves_is_exactly_what_was_asked_for_and_as_much_arrives_as_the_list_allows(
    send_amount: int, fee_ppm: int, base_fee: int
) -> None:
    price = replace(WIDE, fee_ppm=fee_ppm, base_fee=base_fee)
    try:
        figures = price.leaving(send_amount)
    except InvalidAmount:
        assert send_amount < base_fee + price.network_fee + 3
        return
    assert figures.amount + figures.provider_fee + figures.network_fee == send_amount
    assert figures.provider_fee >= price.provider_fee(figures.amount)
    one_more = price.arriving(figures.amount + 1)
    assert one_more.amount + one_more.provider_fee + one_more.network_fee > send_amount


@pytest.mark.parametrize("amount", [10_000, 4_000_000])
def test_the_limits_themselves_are_taken(amount: int) -> None:
    assert PRICE.arriving(amount).amount == amount


@pytest.mark.parametrize("amount", [9_999, 4_000_001])
def test_what_is_outside_the_limits_is_refused(amount: int) -> None:
    with pytest.raises(InvalidAmount, match=r"10000 to 4000000 sat") as refused:
        PRICE.arriving(amount)
    assert refused.value.code == "outside_limits"


@pytest.mark.parametrize("send_amount", [1, 170, 10_169])
def test_too_little_leaving_is_outside_the_limits(send_amount: int) -> None:
    with pytest.raises(InvalidAmount) as refused:
        PRICE.leaving(send_amount)
    assert refused.value.code == "outside_limits"


def test_a_larger_amount_waits_for_a_more_settled_funding() -> None:
    waits = [PRICES.finality(amount) for amount in (499_999, 500_000, 1_999_999, 2_000_000)]
    assert waits == [Finality.LATEST, Finality.SAFE, Finality.SAFE, Finality.FINALIZED]


def test_what_other_swaps_rely_on_counts_with_the_amount() -> None:
    assert PRICES.finality(1, Exposure(latest=499_999)) is Finality.SAFE
    assert PRICES.finality(1, Exposure(safe=499_999)) is Finality.LATEST
    assert PRICES.finality(1, Exposure(latest=1, safe=1_999_998)) is Finality.FINALIZED


@given(st.lists(st.integers(1, 600_000), max_size=200))
def test_no_reorganisation_undoes_more_than_the_provider_has_set(amounts: list[int]) -> None:
    exposure = Exposure()
    for amount in amounts:
        exposure = exposure.plus(PRICES.finality(amount, exposure), amount)
    assert exposure.latest < PRICES.safe_from
    assert exposure.latest + exposure.safe < PRICES.finalized_from


def test_a_pair_with_a_price_of_its_own_has_that_one_and_only_in_its_direction() -> None:
    special = replace(PRICE, fee_ppm=1)
    prices = PriceList(PRICE, 1, 2, {(BOB, ROOTSTOCK): special})
    assert prices.price((BOB, ROOTSTOCK)) == special
    assert prices.price((ROOTSTOCK, BOB)) == prices.price((BOB, LIGHTNING)) == PRICE
