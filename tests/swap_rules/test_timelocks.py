"""The figures of docs/design/transfer-protocol.md (Clocks), computed anew, and the margins of terms."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import ConfigurationError, FundsRulesError
from layer2.swap_rules.timelocks import (
    MAINNET,
    REGTEST,
    TESTNET,
    TimelockSettings,
    check_margins,
    check_settings,
    cltv_limit_for,
    destination_evm_deadline,
    earliest_seconds,
    fewest_blocks_lasting,
    hold_invoice_cltv_delta,
    last_reveal_time,
    latest_seconds,
    min_blocks_left_for,
    settings_for,
    source_evm_deadline,
)
from layer2.terms import EvmLeg, LightningLeg, Terms
from layer2.transactions import Finality
from swap_rules.example_terms import NOW, PROVIDER_NODE, TAKER_NODE, an_invoice, bob_to_lightning, lightning_to_bob

HOUR = 3600
NETWORKS = pytest.mark.parametrize("network", [MAINNET, TESTNET, REGTEST], ids=lambda one: one.network)


@pytest.mark.parametrize(
    ("blocks", "earliest", "latest"),
    [
        (1, 0.0, 5.2), (6, 0.0, 8.4), (12, 0.1, 11.4), (18, 0.4, 14.0), (40, 1.7, 22.6), (80, 5.0, 36.4),
        (144, 11.1, 57.0), (200, 16.9, 74.2), (300, 27.7, 104.0), (400, 38.9, 133.0), (500, 50.3, 161.5),
        (720, 76.1, 223.2), (1008, 110.5, 302.6), (2016, 234.4, 574.3),
    ],
)  # fmt: skip
def test_so_many_blocks_come_no_earlier_and_no_later(blocks: int, earliest: float, latest: float) -> None:
    assert round(earliest_seconds(blocks, MAINNET) / HOUR, 1) == earliest
    assert round(latest_seconds(blocks, MAINNET) / HOUR, 1) == latest


@pytest.mark.parametrize(
    ("hours", "blocks"),
    [(1, 30), (2, 44), (4, 69), (6, 92), (12, 153), (16, 192), (24, 267), (36, 375), (48, 480), (72, 686)],
)
def test_the_fewest_blocks_that_surely_last_so_long(hours: int, blocks: int) -> None:
    assert fewest_blocks_lasting(hours * HOUR, MAINNET) == blocks


def poisson_at_least(count: int, mean: float) -> float:
    """P(X >= count), by the plain sum of the definition: an oracle that shares no code with the bounds."""
    return max(0.0, 1.0 - math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count)))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.integers(2, 300))
def test_both_bounds_are_tight_to_the_second(blocks: int) -> None:
    loose = replace(MAINNET, tail_probability=1e-4)
    early, late = earliest_seconds(blocks, loose), latest_seconds(blocks, loose)
    assert poisson_at_least(blocks, early / 480) <= 1e-4 < poisson_at_least(blocks, (early + 1) / 480)
    # At its own second the tail is within the bound; a second earlier it is not.
    assert 1 - poisson_at_least(blocks, late / 900) <= 1e-4 * (1 + 1e-9)
    assert 1 - poisson_at_least(blocks, (late - 1) / 900) > 1e-4 * (1 - 1e-9)


@given(st.integers(-5, 400_000))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_converting_there_and_back_never_rounds_in_our_favour(seconds: int) -> None:
    blocks = fewest_blocks_lasting(seconds, MAINNET)
    assert earliest_seconds(blocks, MAINNET) >= seconds
    assert blocks == 0 or earliest_seconds(blocks - 1, MAINNET) < seconds


def test_the_worked_example_of_lightning_to_bob() -> None:
    assert min_blocks_left_for(NOW + 24 * HOUR, NOW, MAINNET) == 406 + 18 + 3


def test_the_worked_example_of_bob_to_lightning() -> None:
    deadline = source_evm_deadline(NOW, 60, 200, MAINNET)
    assert round((deadline - NOW - 60) / HOUR, 1) == 93.1


@NETWORKS
def test_the_settings_of_every_network_hold(network: TimelockSettings) -> None:
    check_settings(network)
    assert settings_for(network.network) is network


def test_local_swaps_have_deadlines_of_about_an_hour() -> None:
    assert bob_to_lightning().source.deadline - NOW < HOUR  # type: ignore[union-attr]  # the source is on BOB
    assert lightning_to_bob().destination.deadline - NOW < HOUR // 2  # type: ignore[union-attr]  # BOB


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown network 'signet2'"):
        settings_for("signet2")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"claim_margin": 59}, "surely included"),
        ({"claim_margin": 0}, "claim_margin must be positive"),
        ({"finality_time": 10}, "finalized comes after safe"),
        ({"own_invoice_expiry": 150}, "outlives funding"),
        ({"own_final_cltv_delta": 23}, "one that lnd makes"),
        ({"hold_expiry_delta": 3}, "time to settle"),
        ({"max_source_lock": 600}, "source lock's bound"),
        ({"max_destination_lock": 600}, "destination lock fits"),
        ({"max_cltv_limit": 200}, "CLTV bound"),
        ({"max_cltv_limit": 2017}, "CLTV bound"),
        ({"slow_seconds_per_block": 6}, "faster than slow"),
    ],
)
def test_settings_whose_inequalities_do_not_hold_are_refused(change: dict[str, int], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        check_settings(replace(REGTEST, **change))  # type: ignore[arg-type]  # only integers are changed


@NETWORKS
@pytest.mark.parametrize("terms", [bob_to_lightning, lightning_to_bob])
def test_terms_that_are_computed_with_these_functions_pass(terms: object, network: TimelockSettings) -> None:
    check_margins(terms(network), NOW, network)  # type: ignore[operator]  # one of the two functions


def test_the_preimage_is_shown_long_enough_before_the_deadline() -> None:
    deadline = destination_evm_deadline(NOW, Finality.FINALIZED, MAINNET)
    assert deadline - last_reveal_time(deadline, MAINNET) == 12 * HOUR + 1800


def source_evm(terms: Terms, **change: Any) -> Terms:
    assert isinstance(terms.source, EvmLeg)
    return replace(terms, source=replace(terms.source, **change))


def destination_evm(terms: Terms, **change: Any) -> Terms:
    assert isinstance(terms.destination, EvmLeg)
    return replace(terms, destination=replace(terms.destination, **change))


def source_lightning(terms: Terms, **change: Any) -> Terms:
    assert isinstance(terms.source, LightningLeg)
    return replace(terms, source=replace(terms.source, **change))


def destination_lightning(terms: Terms, **change: Any) -> Terms:
    assert isinstance(terms.destination, LightningLeg)
    return replace(terms, destination=replace(terms.destination, **change))


TO_LIGHTNING, TO_BOB = bob_to_lightning(), lightning_to_bob()
SOURCE_DEADLINE = TO_LIGHTNING.source.deadline if isinstance(TO_LIGHTNING.source, EvmLeg) else 0
DESTINATION_DEADLINE = TO_BOB.destination.deadline if isinstance(TO_BOB.destination, EvmLeg) else 0
SHORT_LIVED = an_invoice(TAKER_NODE, 1, REGTEST.funding_window + REGTEST.payment_timeout, 80)
GREEDY = an_invoice(TAKER_NODE, 1, REGTEST.own_invoice_expiry, 400)
BRIEF_HOLD = an_invoice(PROVIDER_NODE, 1, REGTEST.funding_window, 250)
SHORT_HOLD = an_invoice(PROVIDER_NODE, 1, REGTEST.own_invoice_expiry, 100)


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        (replace(TO_LIGHTNING, fund_by=NOW - 1), "too old"),
        (replace(TO_LIGHTNING, counter_fund_by=NOW), "not in order"),
        (source_evm(TO_LIGHTNING, deadline=SOURCE_DEADLINE - 1), "1 s too early for the slowest payment"),
        (source_evm(TO_LIGHTNING, deadline=NOW + REGTEST.max_source_lock + 1), "source lock would last longer"),
        (destination_lightning(TO_LIGHTNING, cltv_limit=0), "CLTV limit is not above"),
        (destination_lightning(TO_LIGHTNING, cltv_limit=83), "CLTV limit is not above"),
        (destination_lightning(TO_LIGHTNING, cltv_limit=1009), "could be locked for 1009 blocks"),
        (destination_lightning(TO_LIGHTNING, cltv_limit=101), "too early for the slowest payment"),
        (destination_lightning(TO_LIGHTNING, invoice=GREEDY), "CLTV limit is not above"),
        (destination_lightning(TO_LIGHTNING, invoice=SHORT_LIVED), "could expire while"),
        (replace(TO_LIGHTNING, counter_fund_by=TO_LIGHTNING.fund_by + 1), "before the source lock can be final"),
        (source_lightning(TO_BOB, min_blocks_left=150), "held payment could expire"),
        (source_lightning(TO_BOB, cltv_limit=1009), "could be locked for 1009 blocks"),
        (source_lightning(TO_BOB, invoice=SHORT_HOLD), "final delta is less than the blocks"),
        (source_lightning(TO_BOB, invoice=BRIEF_HOLD), "hold invoice could expire"),
        (replace(TO_BOB, collect_by=TO_BOB.collect_by + 1), "shown too late"),
        (replace(TO_BOB, counter_fund_by=TO_BOB.collect_by), "final before the preimage"),
        (destination_evm(TO_BOB, deadline=NOW + REGTEST.max_destination_lock + 1), "held payment could expire"),
        (replace(TO_BOB, source=TO_BOB.destination), "pair of layers"),
    ],
)  # fmt: skip
def test_terms_whose_margin_does_not_hold_are_refused_before_money_moves(terms: Terms, sentence: str) -> None:
    with pytest.raises(FundsRulesError, match=sentence):
        check_margins(terms, NOW, REGTEST)


def test_a_destination_lock_that_binds_the_payment_too_long_is_refused() -> None:
    deadline = NOW + REGTEST.max_destination_lock + 1
    blocks = min_blocks_left_for(deadline, NOW, REGTEST)
    delta = hold_invoice_cltv_delta(blocks, REGTEST)
    long_hold = source_lightning(
        destination_evm(TO_BOB, deadline=deadline),
        min_blocks_left=blocks,
        cltv_limit=cltv_limit_for(delta, REGTEST),
        invoice=an_invoice(PROVIDER_NODE, 1, REGTEST.own_invoice_expiry, delta),
    )
    with pytest.raises(FundsRulesError, match="destination lock would last longer"):
        check_margins(long_hold, NOW, REGTEST)


def test_an_invoice_with_a_huge_final_delta_has_no_limit_that_is_allowed() -> None:
    with pytest.raises(FundsRulesError, match="final delta of 2000 blocks"):
        cltv_limit_for(2000, MAINNET)
