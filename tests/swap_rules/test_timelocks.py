"""The figures of docs/design/clocks.md, computed again, and the margins of terms."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import ConfigurationError, FundsRulesError
from layer2.legs.block_times import Span
from layer2.legs.evm import EvmLeg
from layer2.legs.lightning import LightningLeg, cltv_limit_for
from layer2.legs.timelock_settings import MAINNET, REGTEST, TESTNET, TimelockSettings, settings_for
from layer2.legs.views import ClockReading, LegState, LegView
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.swap_rules.agreement import taker_requests
from layer2.swap_rules.timelocks import (
    check_margins,
    check_settings,
    is_pair,
    needed_on_source,
    pair_durations,
    pairs_of,
)
from layer2.terms.documents import Terms
from swap_rules.example_terms import HEIGHT, LAYER_OF, NOW, TAKER_NODE, invoice_for, offer_of, quote_of, terms_of

HOUR = 3600
NETWORKS = pytest.mark.parametrize("network", [MAINNET, TESTNET, REGTEST], ids=lambda one: one.network)
NAMES = ("bob", "rootstock", "lightning", "bitcoin")
PAIRS = [(source, destination) for source in NAMES for destination in NAMES if source != destination]
EVERY_PAIR = pytest.mark.parametrize("pair", PAIRS, ids="-".join)
BLOCKS = MAINNET.bitcoin


@pytest.mark.parametrize(
    ("blocks", "earliest", "latest"),
    [
        (1, 0.0, 5.2), (6, 0.0, 8.4), (12, 0.1, 11.4), (18, 0.4, 14.0), (40, 1.7, 22.6), (80, 5.0, 36.4),
        (144, 11.1, 57.0), (200, 16.9, 74.2), (300, 27.7, 104.0), (400, 38.9, 133.0), (500, 50.3, 161.5),
        (720, 76.1, 223.2), (1008, 110.5, 302.6), (2016, 234.4, 574.3),
    ],
)  # fmt: skip
def test_so_many_blocks_come_no_earlier_and_no_later(blocks: int, earliest: float, latest: float) -> None:
    assert round(BLOCKS.earliest(blocks) / HOUR, 1) == earliest
    assert round(BLOCKS.latest(blocks) / HOUR, 1) == latest


@pytest.mark.parametrize(
    ("hours", "blocks"),
    [(1, 30), (2, 44), (4, 69), (6, 92), (12, 153), (16, 192), (24, 267), (36, 375), (48, 480), (72, 686)],
)
def test_the_fewest_blocks_that_surely_last_so_long(hours: int, blocks: int) -> None:
    assert BLOCKS.fewest_lasting(hours * HOUR) == blocks


def poisson_at_least(count: int, mean: float) -> float:
    """P(X >= count), by the plain sum of the definition: an oracle that shares no code with the bounds."""
    return max(0.0, 1.0 - math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count)))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.integers(2, 300))
def test_both_bounds_are_tight_to_the_second(blocks: int) -> None:
    loose = replace(BLOCKS, tail_probability=1e-4)
    early, late = loose.earliest(blocks), loose.latest(blocks)
    assert poisson_at_least(blocks, early / 480) <= 1e-4 < poisson_at_least(blocks, (early + 1) / 480)
    # At that second the tail is within the bound; a second earlier it is not.
    assert 1 - poisson_at_least(blocks, late / 900) <= 1e-4 * (1 + 1e-9)
    assert 1 - poisson_at_least(blocks, (late - 1) / 900) > 1e-4 * (1 - 1e-9)


@given(st.integers(-5, 400_000))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_converting_there_and_back_never_rounds_in_our_favour(seconds: int) -> None:
    blocks = BLOCKS.fewest_lasting(seconds)
    assert BLOCKS.earliest(blocks) >= seconds
    assert blocks == 0 or BLOCKS.earliest(blocks - 1) < seconds


def test_on_a_shared_clock_only_waits_in_seconds_are_converted() -> None:
    assert Span(HOUR, 200).in_blocks(BLOCKS) == 230
    assert Span(HOUR, 200).latest(BLOCKS) == HOUR + BLOCKS.latest(200)


def test_the_margin_of_a_held_payment_for_a_lock_of_a_day() -> None:
    # 24 h + 1 h absence + 12 h inclusion + 2.5 h finality + 1 h to settle, in blocks, and lnd's 18 and a late tip of 3.
    needed = needed_on_source(terms_of("lightning", "bob", MAINNET), NOW, None, MAINNET)
    lock = terms_of("lightning", "bob", MAINNET).destination
    assert isinstance(lock, EvmLeg)
    assert needed == Span(lock.deadline - NOW + 16 * HOUR + HOUR // 2)
    day = Span(24 * HOUR + 16 * HOUR + HOUR // 2)
    assert offer_of(Layer2ProtocolType.LIGHTNING, MAINNET).deadline_after(day, MAINNET).blocks == 415 + 18 + 3


def test_the_margin_of_a_lock_for_the_slowest_payment() -> None:
    terms = terms_of("bob", "lightning", MAINNET)
    assert isinstance(terms.source, EvmLeg)
    slowest = 5 * HOUR + 60 + BLOCKS.latest(200 + 18)
    # 1 h to settle, 0.5 h of an early clock, 12 h of inclusion, 2.5 h of finality.
    assert terms.source.deadline - NOW == slowest + 16 * HOUR


@NETWORKS
def test_the_settings_of_every_network_hold(network: TimelockSettings) -> None:
    check_settings(network)
    assert settings_for(network.network) is network


@EVERY_PAIR
def test_local_swaps_last_two_hours_at_most(pair: tuple[str, str]) -> None:
    durations = pair_durations(offer_of(LAYER_OF[pair[0]]), offer_of(LAYER_OF[pair[1]]), REGTEST)
    assert durations.worst < 2 * HOUR


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown network 'signet2'"):
        settings_for("signet2")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"settle_margin": 0}, "settle_margin must be positive"),
        ({"provider_absence": 0}, "provider_absence must be positive"),
        ({"own_final_cltv_delta": 23}, "at least lnd's minimum"),
        ({"hold_expiry_blocks": 3}, "enough to settle"),
        ({"max_cltv_limit": 2017}, "at most lnd's maximum"),
        ({"bitcoin": replace(REGTEST.bitcoin, slow_seconds=6)}, "faster than slow"),
    ],
)
def test_settings_whose_inequalities_do_not_hold_are_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        check_settings(replace(REGTEST, **change))


@NETWORKS
@EVERY_PAIR
@pytest.mark.parametrize("finality", list(Finality))
def test_terms_between_any_two_layers_hold_on_every_network(
    pair: tuple[str, str], network: TimelockSettings, finality: Finality
) -> None:
    terms = terms_of(*pair, network, finality)
    check_margins(terms, NOW, network)
    known = needed_on_source(terms, NOW, None, network)
    assert terms.source.outlasts(NOW, known, network)
    longer = known + Span(network.settle_margin * 3)
    assert not terms.source.outlasts(NOW, longer, network), "the deadline is later than it has to be"


@NETWORKS
def test_blocks_that_come_quickly_after_the_terms_do_not_end_a_swap_from_bitcoin(network: TimelockSettings) -> None:
    terms = terms_of("bitcoin", "lightning", network)
    for blocks, is_in_time in ((network.accept_blocks, True), (network.accept_blocks + 1, False)):
        view = LegView(LegState.FUNDED, ClockReading(NOW + 1, HEIGHT + blocks))
        needed = needed_on_source(terms, NOW + 1, view, network)
        assert (terms.source.problem(view, needed, NOW + 1, network) is None) is is_in_time


@NETWORKS
def test_every_pair_of_configured_layers_can_be_swapped(network: TimelockSettings) -> None:
    offers = {LAYER_OF[name]: offer_of(LAYER_OF[name], network) for name in NAMES}
    assert set(pairs_of(offers, network)) == {(LAYER_OF[a], LAYER_OF[b]) for a, b in PAIRS}
    brief = replace(network, max_lock=60)
    assert pairs_of(offers, brief) == {}


@NETWORKS
def test_a_pair_is_served_exactly_if_it_is_among_the_pairs(network: TimelockSettings) -> None:
    offers = {LAYER_OF[name]: offer_of(LAYER_OF[name], network) for name in NAMES}
    durations = pairs_of(offers, network)
    longest = sorted(max(each.known, each.source_deadline) for each in durations.values())
    some = replace(network, max_lock=longest[len(longest) // 2])
    assert 0 < len(pairs_of(offers, some)) < len(durations)
    (missing, *rest) = offers
    fewer = {layer: offers[layer] for layer in rest}
    for own, rules in ((offers, network), (offers, some), (fewer, network)):
        served = {(a, b) for a in offers for b in offers if is_pair(a, b, own, rules)}
        assert served == set(pairs_of(own, rules))
    assert not is_pair(missing, missing, offers, network)


TABLE = {
    ("bob", "rootstock"): (29.2, 45.2), ("bob", "lightning"): (84.6, 100.6), ("bob", "bitcoin"): (66.4, 82.4),
    ("rootstock", "bob"): (40.7, 51.7), ("rootstock", "lightning"): (84.6, 95.6),
    ("rootstock", "bitcoin"): (67.7, 78.7), ("lightning", "bob"): (39.2, 142.4),
    ("lightning", "rootstock"): (29.0, 116.5), ("lightning", "bitcoin"): (89.0, 107.2),
    ("bitcoin", "bob"): (43.2, 69.5), ("bitcoin", "rootstock"): (33.0, 59.3), ("bitcoin", "lightning"): (84.6, 121.7),
}  # fmt: skip
"""Hours on mainnet at LATEST or the layer's least finality: the lock of the provider's money, the source's deadline."""


@EVERY_PAIR
def test_the_durations_of_the_clocks_page_are_those_of_the_code(pair: tuple[str, str]) -> None:
    source, destination = (offer_of(LAYER_OF[name], MAINNET).with_finality(Finality.LATEST) for name in pair)
    durations = pair_durations(source, destination, MAINNET)
    assert (round(durations.known / HOUR, 1), round(durations.source_deadline / HOUR, 1)) == TABLE[pair]


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


def own_invoice(**changes: Any) -> str:
    quote = quote_of()
    wanted = taker_requests(quote, terms_of().swap_id, terms_of().payment_hash, NOW, REGTEST)[1]
    return invoice_for(wanted, TAKER_NODE, REGTEST, **changes)


TO_LIGHTNING, TO_BOB, TO_ROOTSTOCK = terms_of(), terms_of("lightning", "bob"), terms_of("bob", "rootstock")
SOURCE_DEADLINE = TO_LIGHTNING.source.refundable_from or 0
DESTINATION_DEADLINE = TO_BOB.destination.refundable_from or 0


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        (replace(TO_LIGHTNING, fund_by=NOW - 1), "too old"),
        (replace(TO_LIGHTNING, counter_fund_by=NOW), "not in order"),
        (source_evm(TO_LIGHTNING, deadline=SOURCE_DEADLINE - 1), "source could end before"),
        (source_evm(TO_ROOTSTOCK, deadline=(TO_ROOTSTOCK.source.refundable_from or 0) - 1), "source could end"),
        (source_evm(TO_LIGHTNING, deadline=NOW + REGTEST.max_lock + 1), "would last longer"),
        (destination_lightning(TO_LIGHTNING, cltv_limit=0), "CLTV limit is not above"),
        (destination_lightning(TO_LIGHTNING, cltv_limit=83), "CLTV limit is not above"),
        (destination_lightning(TO_LIGHTNING, cltv_limit=1009), "could be locked for 1009 blocks"),
        (destination_lightning(TO_LIGHTNING, cltv_limit=101), "source could end before"),
        (destination_lightning(TO_LIGHTNING, invoice=own_invoice(min_final_cltv_expiry_delta=400)), "CLTV limit is"),
        (destination_lightning(TO_LIGHTNING, invoice=own_invoice(expiry=130)), "could expire while"),
        (replace(TO_LIGHTNING, counter_fund_by=TO_LIGHTNING.fund_by + 1), "source cannot be settled before"),
        (replace(TO_LIGHTNING, counter_fund_by=NOW + 590, collect_by=NOW + 900), "funded too late"),
        (source_lightning(TO_BOB, min_blocks_left=150), "source could end before"),
        (source_lightning(TO_BOB, cltv_limit=1009), "could be locked for 1009 blocks"),
        (replace(TO_BOB, collect_by=TO_BOB.collect_by + 1), "revealed too late"),
        (replace(TO_BOB, counter_fund_by=TO_BOB.collect_by), "destination cannot be settled before"),
        (destination_evm(TO_BOB, deadline=DESTINATION_DEADLINE + 60), "source could end before"),
        (destination_evm(TO_BOB, deadline=NOW + REGTEST.max_lock + 1), "would last longer"),
        (destination_evm(TO_BOB, deadline=DESTINATION_DEADLINE - 1), "revealed too late"),
    ],
)  # fmt: skip
def test_terms_whose_margin_does_not_hold_are_refused_before_money_moves(terms: Terms, sentence: str) -> None:
    with pytest.raises(FundsRulesError, match=sentence):
        check_margins(terms, NOW, REGTEST)


def test_an_invoice_with_a_huge_final_delta_has_no_limit_that_is_allowed() -> None:
    with pytest.raises(FundsRulesError, match="final delta of 2000 blocks"):
        cltv_limit_for(2000, MAINNET)
