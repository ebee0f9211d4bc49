from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import InvalidAmount
from layer2.transactions import Finality
from provider.made_providers import PRICING


def test_the_fee_is_the_price_lists() -> None:
    assert PRICING.provider_fee(100_000) == 300 + 120


@given(st.integers(1, 10**15), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_fee_is_never_less_than_the_list_says_and_never_a_satoshi_more(
    amount: int, fee_ppm: int, base_fee: int
) -> None:
    fee = replace(PRICING, fee_ppm=fee_ppm, base_fee=base_fee).provider_fee(amount)
    assert 0 <= (fee - base_fee) * 1_000_000 - amount * fee_ppm < 1_000_000


@pytest.mark.parametrize("amount", [10_000, 4_000_000])
def test_the_limits_themselves_are_taken(amount: int) -> None:
    PRICING.check_amount(amount)


@pytest.mark.parametrize("amount", [9_999, 4_000_001])
def test_what_is_outside_the_limits_is_refused(amount: int) -> None:
    with pytest.raises(InvalidAmount, match=r"10000 to 4000000 sat") as refused:
        PRICING.check_amount(amount)
    assert refused.value.code == "outside_limits"


def test_a_larger_amount_waits_for_a_more_settled_lock() -> None:
    waits = [PRICING.finality(amount) for amount in (499_999, 500_000, 1_999_999, 2_000_000)]
    assert waits == [Finality.LATEST, Finality.SAFE, Finality.SAFE, Finality.FINALIZED]
