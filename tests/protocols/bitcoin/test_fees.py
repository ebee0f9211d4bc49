"""Fee rates of acts that have to be confirmed in time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layer2.protocols.bitcoin.fees import INCREMENT, next_rate, target_blocks

RATES = st.integers(1_000, 500_000)


@pytest.mark.parametrize(
    ("left", "target"), [(-5, 1), (0, 1), (6, 1), (11, 1), (12, 2), (35, 5), (36, 6), (144, 6), (10**6, 6)]
)
def test_the_target_is_a_sixth_of_the_blocks_that_are_left_and_six_at_most(left: int, target: int) -> None:
    assert target_blocks(left) == target


@pytest.mark.parametrize(
    ("rate", "estimate", "left", "most", "expected"),
    [
        # Time is left: only an estimate that is a quarter higher counts.
        (10_000, 10_000, 100, 10**6, None),
        (10_000, 12_499, 36, 10**6, None),
        (10_000, 12_500, 36, 10**6, 12_500),
        (10_000, 40_000, 100, 10**6, 40_000),
        # Little time is left: a quarter more at each block.
        (10_000, 1_000, 35, 10**6, 12_500),
        (10_000, 20_000, 35, 10**6, 20_000),
        (10_000, 1_000, -3, 10**6, 12_500),
        # Nodes demand a whole increment.
        (1_000, 1_000, 35, 10**6, 2_000),
        # The act is not worth more.
        (10_000, 40_000, 10, 15_000, 15_000),
        (10_000, 40_000, 10, 10_999, None),
        (10_000, 40_000, 10, 9_000, None),
    ],
)
def test_an_act_is_priced_again(rate: int, estimate: int, left: int, most: int, expected: int | None) -> None:
    assert next_rate(rate, estimate, left, most) == expected


@given(rate=RATES, estimate=RATES, left=st.integers(-50, 200), most=RATES)
def test_a_new_rate_is_one_that_nodes_accept_and_never_above_the_worth(
    rate: int, estimate: int, left: int, most: int
) -> None:
    wanted = next_rate(rate, estimate, left, most)
    if wanted is not None:
        assert rate + INCREMENT <= wanted <= most
    elif left < 36:
        assert most < rate + INCREMENT


@given(estimate=RATES)
def test_before_a_deadline_the_rate_reaches_the_worth(estimate: int) -> None:
    rate, steps = 1_000, 0
    while (wanted := next_rate(rate, estimate, 35 - steps, 500_000)) is not None:
        rate, steps = wanted, steps + 1
    assert rate > 500_000 - INCREMENT
    assert steps < 36
