"""Prices of replacements with EIP-1559: if the base fee rises or the deadline is near, at prices that nodes accept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layer2.contracts.l1_block import L1Parameters
from layer2.errors import FundsRulesError, TransactionError
from layer2.protocols.evm.fees.models import OP_STACK
from layer2.protocols.evm.fees.prices import FeeQuote, Offer, Price

bumped, is_bump = OP_STACK.bumped, OP_STACK.is_bump
next_price, replacement_price = OP_STACK.next_price, OP_STACK.replacement_price
CALM = 100_000
WEI = st.integers(1, 10**15)
CAP = 10**12
ANY_WEI = st.integers(0, CAP)
ASKED = st.none() | ANY_WEI


def market(base_fee: int, tip: int = 2_000_000) -> FeeQuote:
    """An urgent quote."""
    return FeeQuote(4 * base_fee + tip, tip, L1Parameters(0, 0, 0, 0, 0, 0), base_fee)


def price_at(base_fee: int, tip: int = 2_000_000) -> Price:
    return Price(4 * base_fee + tip, tip)


@given(WEI, WEI)
def test_the_lowest_bump_is_a_tenth_more_of_both_rounded_up(fee: int, tip: int) -> None:
    old = Price(fee, tip)
    new = bumped(old)
    assert all(more * 100 >= less * 110 and more > less for more, less in zip(new, old, strict=True))
    assert is_bump(new, old)
    assert not is_bump(Price(new.max_fee_per_gas - 1, new.max_priority_fee_per_gas), old)
    assert not is_bump(Price(new.max_fee_per_gas, new.max_priority_fee_per_gas - 1), old)


def test_a_price_above_the_base_fee_stays_while_there_is_time() -> None:
    assert next_price(price_at(1_000_000), market(1_000_000), CALM) is None
    assert next_price(price_at(1_000_000), market(3_000_000), CALM) is None


def test_what_the_base_fee_has_left_behind_is_offered_at_the_market() -> None:
    assert next_price(price_at(1_000_000), market(8_000_000), CALM) == Price(32_000_000 + 2_200_000, 2_200_000)


@pytest.mark.parametrize(
    ("seconds_left", "factor"),
    [(7_200, 1), (7_199, 2), (3_600, 2), (3_599, 4), (1_000, 8), (60, 128), (0, 256), (-9, 256)],
)
def test_the_tip_doubles_each_time_that_half_of_the_last_two_hours_is_over(seconds_left: int, factor: int) -> None:
    wanted = next_price(price_at(1_000_000), market(1_000_000), seconds_left)
    assert (None if factor == 1 else Price(4_000_000 + factor * 2_000_000, factor * 2_000_000)) == wanted


@given(WEI, WEI, WEI, WEI, st.integers(-1_000, 20_000))
def test_every_new_price_is_accepted_by_nodes_and_not_raised_twice(
    fee: int, tip: int, base_fee: int, market_tip: int, seconds_left: int
) -> None:
    previous, now = Price(fee + tip, tip), market(base_fee, market_tip)
    wanted = next_price(previous, now, seconds_left)
    if wanted is None:
        assert previous.max_fee_per_gas > base_fee
        return
    assert is_bump(wanted, previous)
    assert wanted.max_fee_per_gas >= now.max_fee_per_gas
    assert next_price(wanted, now, seconds_left) is None


@given(
    old=st.tuples(ANY_WEI, ANY_WEI),
    base_fee=ANY_WEI,
    tip=ANY_WEI,
    asked=st.tuples(ASKED, ASKED),
)
def test_a_replacements_price_is_a_bump_within_the_cap_or_refused_with_a_reason(
    old: tuple[int, int], base_fee: int, tip: int, asked: tuple[int | None, int | None]
) -> None:
    before = Price(max(old), min(old))
    market = FeeQuote(min(2 * base_fee + tip, CAP), min(tip, CAP), L1Parameters(0, 0, 0, 0, 0, 0), base_fee)
    offer = Offer(*asked)
    try:
        price = replacement_price(before, market, offer, CAP)
    except (FundsRulesError, TransactionError):
        # The client's own price is refused only if even the smallest increase is above the cap.
        assert offer != Offer() or bumped(before).max_fee_per_gas > CAP
        return
    assert is_bump(price, before)
    assert price.max_priority_fee_per_gas <= price.max_fee_per_gas <= CAP
    for mine, wanted in zip(price, asked, strict=True):
        assert wanted is None or mine == wanted
