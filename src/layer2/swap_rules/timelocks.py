"""The inequality between the two legs of a swap, and the times that follow from it. Pure.

``known(D) + settle <= must_begin(S)``: when the payer of the destination surely has the preimage or its money back, the
payee of the source can still begin to collect. Also ``destination settled + collect window <= collect_by <=
must_begin(D)``. Source: docs/design/clocks.md. Times are unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from layer2.errors import ConfigurationError, FundsRulesError
from layer2.legs.block_times import Span
from layer2.legs.leg import LegOffer
from layer2.legs.timelock_settings import MAINNET, REGTEST, TESTNET, TimelockSettings
from layer2.legs.views import LegView
from layer2.model.layers import Layer2ProtocolType
from layer2.terms.documents import Terms

__all__ = [
    "PairDurations",
    "check_margins",
    "check_settings",
    "is_pair",
    "needed_on_source",
    "pair_durations",
    "pairs_of",
    "source_surely_over",
]

_LND_SMALLEST_FINAL_DELTA: Final = 24
"""lnd's minimum for an invoice's final delta."""
_LND_LONGEST_LIMIT: Final = 2016
"""lnd's maximum for a payment's CLTV limit."""


def needed_on_source(terms: Terms, now: int, destination: LegView | None, rules: TimelockSettings) -> Span:
    """How long after ``now`` the payee of the source must still be able to begin to collect.

    Args:
        destination: the view of the destination's payer; None uses the clock that the terms assume.
    """
    leg = terms.destination
    clock = leg.clock_at_issue(terms.issued_at) if destination is None else destination.clock
    return leg.known(now, clock, rules) + Span(rules.settle_margin)


def source_surely_over(terms: Terms, rules: TimelockSettings) -> int:
    """The unix time after which the source is empty, if the provider does not collect and the taker acts in time."""
    clock = terms.source.clock_at_issue(terms.issued_at)
    return terms.source.surely_over(terms.issued_at, clock, rules)


def check_margins(terms: Terms, now: int, rules: TimelockSettings) -> None:
    """Check that every margin of the terms holds for a party that has not funded yet, and that no leg lasts too long.

    Raises:
        FundsRulesError: names the margin that does not hold; nothing may be funded under these terms.
        FormatError: an invoice in the terms cannot be read.
    """
    source, destination = terms.source, terms.destination
    if now > terms.fund_by:
        raise FundsRulesError("the terms are too old: the time to begin funding is over")
    if not terms.issued_at <= terms.fund_by <= terms.counter_fund_by <= terms.collect_by:
        raise FundsRulesError("the terms' times are not in order: issued, fund_by, counter_fund_by, collect_by")
    source.check(terms.issued_at, terms.fund_by, rules)
    destination.check(terms.issued_at, terms.fund_by, rules)
    if not source.outlasts(terms.issued_at, needed_on_source(terms, terms.issued_at, None, rules), rules):
        raise FundsRulesError("the source could end before the end of the destination is surely known")
    last = destination.last_funding(rules)
    if last is not None and terms.counter_fund_by > last:
        raise FundsRulesError("the destination could be funded too late")
    if source.settled_by(terms.fund_by, rules) > terms.counter_fund_by:
        raise FundsRulesError("the source cannot be settled before the destination must be funded")
    if destination.settled_by(terms.counter_fund_by, rules) > terms.collect_by:
        raise FundsRulesError("the destination cannot be settled before the preimage must be revealed")
    # A leg with an automatic refund shows its expiry once it is funded, and is checked then.
    collectable = Span(terms.collect_by - terms.issued_at)
    if destination.payer_reclaims and not destination.outlasts(terms.issued_at, collectable, rules):
        raise FundsRulesError("the preimage could be revealed too late for a claim before the deadline")


@dataclass(frozen=True, slots=True)
class PairDurations:
    """How long the money of a swap is locked, counted from the terms: unfavourable bounds, in seconds."""

    source: LegOffer
    destination: LegOffer
    collect_by: int
    """Time in which the taker has to collect."""
    known: int
    """Maximum time for which the provider's money is locked."""
    source_deadline: int
    """The latest time at which the source's clock reaches its deadline."""
    worst: int
    """Time after which the taker surely has its money back if the provider disappears."""


def pair_durations(source: LegOffer, destination: LegOffer, rules: TimelockSettings) -> PairDurations:
    """The durations of a swap between two offers. A Lightning destination is the taker's own invoice."""
    by_height = source.counts_blocks and destination.counts_blocks
    counter_fund_by = rules.funding_window + source.settling(rules) + rules.counter_funding_window
    collect_by = Span(counter_fund_by + destination.settling(rules) + rules.collect_window)
    known = destination.known_after(destination.deadline_after(_in_unit(collect_by, by_height, rules), rules), rules)
    needed = _in_unit(known + Span(rules.settle_margin), by_height, rules)
    deadline = source.deadline_after(needed, rules)
    deadline += source.slack(deadline, rules)
    return PairDurations(
        source,
        destination,
        collect_by=collect_by.seconds,
        known=known.latest(rules.bitcoin),
        source_deadline=deadline.latest(rules.bitcoin),
        worst=source.known_after(deadline, rules).latest(rules.bitcoin)
        if not source.counts_blocks
        else (deadline + Span(0, rules.close_blocks)).latest(rules.bitcoin),
    )


def _in_unit(span: Span, by_height: bool, rules: TimelockSettings) -> Span:
    """Convert to blocks if both legs share the clock of blocks, so that only waits in seconds are converted."""
    return Span(0, span.in_blocks(rules.bitcoin)) if by_height else span


def pairs_of(
    offers: Mapping[Layer2ProtocolType, LegOffer], rules: TimelockSettings
) -> Mapping[tuple[Layer2ProtocolType, Layer2ProtocolType], PairDurations]:
    """All ordered pairs of these layers whose legs stay within the maximum lock."""
    found: dict[tuple[Layer2ProtocolType, Layer2ProtocolType], PairDurations] = {}
    for source_layer, source in offers.items():
        for destination_layer, destination in offers.items():
            if source_layer is destination_layer:
                continue
            durations = pair_durations(source, destination, rules)
            if _is_short_enough(durations, rules):
                found[source_layer, destination_layer] = durations
    return found


def is_pair(
    source: Layer2ProtocolType,
    destination: Layer2ProtocolType,
    offers: Mapping[Layer2ProtocolType, LegOffer],
    rules: TimelockSettings,
) -> bool:
    """Whether ``pairs_of`` these offers contains a pair."""
    if source is destination or source not in offers or destination not in offers:
        return False
    return _is_short_enough(pair_durations(offers[source], offers[destination], rules), rules)


def _is_short_enough(durations: PairDurations, rules: TimelockSettings) -> bool:
    return max(durations.known, durations.source_deadline) <= rules.max_lock


def check_settings(rules: TimelockSettings) -> None:
    """Check the inequalities between the settings of a network.

    Raises:
        ConfigurationError: names the inequality that does not hold.
    """
    positive = (
        "settle_margin", "provider_absence", "late_tip_blocks", "close_blocks", "hold_expiry_blocks", "claim_blocks",
        "payment_timeout", "funding_window", "counter_funding_window", "collect_window", "smallest_part_msat",
    )  # fmt: skip
    for name in positive:
        if getattr(rules, name) <= 0:
            raise ConfigurationError(f"{rules.network}: {name} must be positive")
    holds = {
        "fast blocks are faster than slow ones": rules.bitcoin.fast_seconds < rules.bitcoin.slow_seconds,
        "the time before lnd fails a held payment is enough to settle": rules.hold_expiry_blocks
        > rules.late_tip_blocks,
        "the taker's own invoice has a final delta of at least lnd's minimum": rules.own_final_cltv_delta
        >= _LND_SMALLEST_FINAL_DELTA,
        "the taker's own invoice can be collected after a late acceptance": rules.own_final_cltv_delta
        > rules.hold_expiry_blocks + rules.late_tip_blocks,
        "a payment's CLTV limit is at most lnd's maximum": rules.max_cltv_limit <= _LND_LONGEST_LIMIT,
    }
    for sentence, is_so in holds.items():
        if not is_so:
            raise ConfigurationError(f"{rules.network}: this does not hold: {sentence}")


# The import fails if the margins of a network do not hold.
for _rules in (MAINNET, TESTNET, REGTEST):
    check_settings(_rules)
