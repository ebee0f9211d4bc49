"""Rootstock's prices: one price, at least the minimum of the block and at most 80 times of it, raised by 40 %.

The rules of rskj's pool are written again here, as in rskj d987a4c (``TransactionPoolImpl``, ``TxGasPriceCap``).
"""

from __future__ import annotations

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError, FundsRulesError, InvalidRequest, TransactionError
from layer2.formats.evm_transaction import LegacyTransaction
from layer2.protocols.evm.fees.models import MINIMUM_GAS_PRICE, OP_STACK
from layer2.protocols.evm.fees.prices import FeeQuote, Market, Offer, Price

CALM = 100_000
CAP = 10**12
MINIMUM = 60_000_000
MINIMA = st.integers(0, 10**10)
WEI = st.integers(0, 10**13)


def one(wei: int) -> Price:
    return Price(wei, wei)


def urgent(minimum: int, gas_price: int = 0) -> FeeQuote:
    return MINIMUM_GAS_PRICE.urgent_quote(Market(minimum, gas_price), tip=0)


def pool_takes(price: int, minimum: int) -> bool:
    return minimum <= price and (minimum == 0 or price <= 80 * minimum)


def pool_replaces(new: int, old: int) -> bool:
    return old < new and old * 140 // 100 <= new


@pytest.mark.parametrize(
    ("gas_price", "expected", "of_claims"),
    [(0, 4, 4), (MINIMUM, 4, 4), (MINIMUM * 11 // 10, 4, 4), (2 * MINIMUM, 4, 6), (5 * MINIMUM, 10, 15)],
)
def test_the_price_is_the_nodes_proposal_or_twice_the_minimum(gas_price: int, expected: int, of_claims: int) -> None:
    quote = MINIMUM_GAS_PRICE.quote(Market(MINIMUM, gas_price), tip=1_000_000, cap=CAP)
    assert quote.price == one(expected * MINIMUM // 2)
    assert urgent(MINIMUM, gas_price).price == one(of_claims * MINIMUM // 2)


def test_all_of_the_price_is_paid_and_a_reserve_holds_twice_as_much() -> None:
    quote = urgent(MINIMUM)
    assert quote.most(21_000, 300) == 21_000 * quote.max_fee_per_gas
    assert quote.reserve(21_000, 300) == 2 * quote.most(21_000, 300)


@given(MINIMA, WEI)
def test_a_pool_takes_every_price_even_after_five_blocks_with_a_lower_minimum(minimum: int, gas_price: int) -> None:
    market = Market(minimum, gas_price)
    for quote in (
        MINIMUM_GAS_PRICE.quote(market, tip=0, cap=10**15),
        MINIMUM_GAS_PRICE.urgent_quote(market, tip=0),
    ):
        later = minimum
        for _ in range(5):
            assert pool_takes(quote.max_fee_per_gas, later)
            later -= later // 100


def test_a_cap_refuses_the_markets_price_and_never_a_claims() -> None:
    assert MINIMUM_GAS_PRICE.quote(Market(MINIMUM, MINIMUM), tip=0, cap=MINIMUM).price == one(MINIMUM)
    with pytest.raises(FundsRulesError, match=f"gas costs {MINIMUM} wei now") as refused:
        MINIMUM_GAS_PRICE.quote(Market(MINIMUM, MINIMUM), tip=0, cap=MINIMUM - 1)
    assert (refused.value.code, refused.value.retryable) == ("fee_cap", True)


@given(WEI)
def test_the_lowest_bump_is_two_fifths_more_and_a_pool_takes_it(wei: int) -> None:
    new = MINIMUM_GAS_PRICE.bumped(one(wei)).max_fee_per_gas
    assert pool_replaces(new, wei)
    assert 10 * new <= 14 * wei + 10
    assert MINIMUM_GAS_PRICE.is_bump(one(new), one(wei))
    assert not MINIMUM_GAS_PRICE.is_bump(one(new - 1), one(wei))


def test_a_price_that_the_minimum_may_pass_in_eleven_blocks_is_left_behind() -> None:
    minimum = MINIMUM
    for _ in range(11):
        minimum += minimum // 100
    assert MINIMUM_GAS_PRICE.is_left_behind(one(minimum), MINIMUM)
    assert not MINIMUM_GAS_PRICE.is_left_behind(one(2 * MINIMUM), MINIMUM)
    assert MINIMUM_GAS_PRICE.next_price(one(MINIMUM), urgent(MINIMUM), CALM) == one(2 * MINIMUM)
    assert MINIMUM_GAS_PRICE.next_price(one(2 * MINIMUM), urgent(MINIMUM), CALM) is None


@pytest.mark.parametrize(
    ("seconds_left", "times"), [(7_200, None), (7_199, 4), (3_599, 8), (1_000, 16), (600, 32), (60, 76), (-9, 76)]
)
def test_a_claims_price_doubles_near_its_deadline_up_to_what_pools_take(seconds_left: int, times: int | None) -> None:
    wanted = MINIMUM_GAS_PRICE.next_price(one(2 * MINIMUM), urgent(MINIMUM), seconds_left)
    assert wanted == (None if times is None else one(times * MINIMUM))


@given(st.integers(1, 10**10), st.integers(1, 10**10), WEI, st.integers(-1_000, 20_000))
def test_every_new_price_is_taken_by_pools_and_not_raised_twice(
    before: int, minimum: int, gas_price: int, seconds_left: int
) -> None:
    previous, now = urgent(before).price, urgent(minimum, gas_price)
    wanted = MINIMUM_GAS_PRICE.next_price(previous, now, seconds_left)
    if wanted is None:
        highest = now.highest or 0
        assert previous.max_fee_per_gas > now.base_fee or MINIMUM_GAS_PRICE.bumped(previous).max_fee_per_gas > highest
        return
    assert pool_replaces(wanted.max_fee_per_gas, previous.max_fee_per_gas)
    assert pool_takes(wanted.max_fee_per_gas, minimum)
    assert MINIMUM_GAS_PRICE.next_price(wanted, now, seconds_left) is None


def test_a_price_that_full_blocks_leave_behind_is_raised_although_the_minimum_stays() -> None:
    previous = urgent(MINIMUM).price
    assert MINIMUM_GAS_PRICE.next_price(previous, urgent(MINIMUM, MINIMUM * 3 // 2), CALM) is None
    assert MINIMUM_GAS_PRICE.next_price(previous, urgent(MINIMUM, 2 * MINIMUM), CALM) == one(3 * MINIMUM)
    assert MINIMUM_GAS_PRICE.next_price(previous, urgent(MINIMUM, 6 * MINIMUM), CALM) == one(9 * MINIMUM)


def test_a_price_that_cannot_be_raised_below_80_times_the_minimum_stays() -> None:
    assert MINIMUM_GAS_PRICE.next_price(one(60 * MINIMUM), urgent(MINIMUM), -9) is None


@given(WEI, MINIMA, WEI, st.none() | WEI, st.booleans())
def test_a_replacements_price_is_a_bump_within_all_limits_or_refused_with_a_reason(
    old: int, minimum: int, gas_price: int, asked: int | None, twice: bool
) -> None:
    market = urgent(minimum, gas_price)
    offer = Offer(asked, asked if twice else None)
    try:
        price = MINIMUM_GAS_PRICE.replacement_price(one(old), market, offer, CAP)
    except (FundsRulesError, TransactionError):
        least = MINIMUM_GAS_PRICE.bumped(one(old)).max_fee_per_gas
        highest = CAP if market.highest is None else min(CAP, market.highest)
        assert least > highest or (asked is not None and not least <= asked <= highest)
        return
    assert price.max_fee_per_gas == price.max_priority_fee_per_gas <= CAP
    assert pool_replaces(price.max_fee_per_gas, old)
    assert asked in (None, price.max_fee_per_gas)


@pytest.mark.parametrize(("fee", "tip"), [(None, 5), (5, 4)])
def test_a_tip_is_refused_on_a_chain_with_one_price(fee: int | None, tip: int) -> None:
    with pytest.raises(InvalidRequest, match="one price for gas"):
        MINIMUM_GAS_PRICE.replacement_price(one(1), urgent(MINIMUM), Offer(fee, tip), CAP)


def test_each_model_makes_and_reads_only_its_own_kind_of_transaction() -> None:
    key = PrivateKey(b"\x46" * 32)
    raws = []
    for model in (OP_STACK, MINIMUM_GAS_PRICE):
        transaction = model.unsigned(
            chain_id=33, nonce=1, gas_limit=21_000, to=bytes(20), value=7, data=b"\x01", price=one(5)
        )
        signed = transaction.signed(key.sign_recoverable(transaction.signing_hash(), hasher=None))
        assert model.decode(signed.raw) == signed
        raws.append(signed.raw)
    assert isinstance(MINIMUM_GAS_PRICE.decode(raws[1]).transaction, LegacyTransaction)
    with pytest.raises(FormatError, match=r"0 \(legacy\) is not supported"):
        OP_STACK.decode(raws[1])
    with pytest.raises(FormatError, match="only legacy transactions"):
        MINIMUM_GAS_PRICE.decode(raws[0])
