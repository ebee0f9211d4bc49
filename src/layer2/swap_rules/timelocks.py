"""Deadlines and margins: one inequality per direction, on the unfavourable bound of every clock.

Pure. The provider computes the deadlines of its terms with these functions, the taker checks them with the same.
Source of every figure: docs/design/transfer-protocol.md (Clocks), BOLT 2 for CLTV deltas, the OP Stack's
specification for the rollup's clock, lnd 0.21 for its own margins. Times are unix seconds, durations seconds.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, assert_never

from layer2.errors import ConfigurationError, FundsRulesError
from layer2.formats import bolt11
from layer2.swap_rules.timelock_settings import MAINNET, REGTEST, TESTNET, TimelockSettings
from layer2.terms import EvmLeg, LightningLeg, Terms
from layer2.transactions import Finality

__all__ = [
    "MAINNET",
    "REGTEST",
    "TESTNET",
    "TimelockSettings",
    "check_margins",
    "check_settings",
    "cltv_limit_for",
    "destination_evm_deadline",
    "earliest_seconds",
    "fewest_blocks_lasting",
    "finality_seconds",
    "hold_invoice_cltv_delta",
    "last_payment_time",
    "last_reveal_time",
    "latest_seconds",
    "min_blocks_left_for",
    "settings_for",
    "source_evm_deadline",
]

LND_CLTV_PADDING: Final = 3
"""Blocks that lnd adds to a payment's final delta."""
LND_SMALLEST_FINAL_DELTA: Final = 24
"""lnd makes no invoice with fewer blocks."""
MOST_CLTV_BLOCKS: Final = 2016
"""lnd's largest lock of a payment (``max-cltv-expiry``)."""


def settings_for(network: str) -> TimelockSettings:
    """The settings of ``mainnet``, ``testnet`` or ``regtest``.

    Raises:
        ConfigurationError: there is no such network.
    """
    for settings in (MAINNET, TESTNET, REGTEST):
        if settings.network == network:
            return settings
    raise ConfigurationError(f"unknown network {network!r}; there are mainnet, testnet and regtest")


@lru_cache(maxsize=4096)
def earliest_seconds(blocks: int, settings: TimelockSettings) -> int:
    """How long ``blocks`` more Bitcoin blocks surely take at least (a Poisson count in a fast period).

    The greatest number of seconds within which so many blocks come with at most the tail probability.
    """
    if blocks <= 0:
        return 0
    # Half the mean already keeps the sum below convergent; the answer is at most the mean of the count.
    low, high = 0, blocks * settings.fast_seconds_per_block
    while low < high:
        middle = (low + high + 1) // 2
        if _at_least(blocks, middle / settings.fast_seconds_per_block) <= settings.tail_probability:
            low = middle
        else:
            high = middle - 1
    return low


@lru_cache(maxsize=4096)
def latest_seconds(blocks: int, settings: TimelockSettings) -> int:
    """By when ``blocks`` more Bitcoin blocks have surely come (a Poisson count in a slow period)."""
    if blocks <= 0:
        return 0
    low = blocks * settings.slow_seconds_per_block
    high = 2 * low + 40 * settings.slow_seconds_per_block
    while low < high:
        middle = (low + high) // 2
        if _fewer_than(blocks, middle / settings.slow_seconds_per_block) <= settings.tail_probability:
            high = middle
        else:
            low = middle + 1
    return low


@lru_cache(maxsize=4096)
def fewest_blocks_lasting(seconds: int, settings: TimelockSettings) -> int:
    """The smallest number of blocks that surely takes at least ``seconds``."""
    if seconds <= 0:
        return 0
    low, high = 0, 2 * seconds // settings.fast_seconds_per_block + 100
    while low < high:
        middle = (low + high) // 2
        if earliest_seconds(middle, settings) >= seconds:
            high = middle
        else:
            low = middle + 1
    return low


def finality_seconds(finality: Finality, settings: TimelockSettings) -> int:
    """From inclusion in a block of the rollup until that finality is reached, as it normally takes at most."""
    match finality:
        case Finality.LATEST:
            return 0
        case Finality.SAFE:
            return settings.safe_time
        case Finality.FINALIZED:
            return settings.finality_time
        case _:
            assert_never(finality)


def cltv_limit_for(final_cltv_delta: int, settings: TimelockSettings) -> int:
    """Most blocks that a payment of an invoice with that final delta may be locked.

    Raises:
        FundsRulesError: the invoice asks for a longer lock than is allowed.
    """
    limit = final_cltv_delta + LND_CLTV_PADDING + settings.route_cltv_blocks
    if limit > settings.max_cltv_limit:
        raise FundsRulesError(
            f"the invoice's final delta of {final_cltv_delta} blocks would lock the payment for up to {limit} blocks; "
            f"at most {settings.max_cltv_limit} are allowed"
        )
    return limit


def source_evm_deadline(
    invoice_expires_at: int, payment_timeout: int, cltv_limit: int, settings: TimelockSettings
) -> int:
    """EVM to Lightning: the earliest deadline of the source lock that leaves the provider time to claim.

    It counts from the invoice's expiry, because a stopped provider may wake and send that late: then the payment's
    slowest outcome, a claim that is censored for a sequencing window, and the rollup's clock running ahead.
    """
    return (
        invoice_expires_at
        + payment_timeout
        + latest_seconds(cltv_limit + settings.close_blocks, settings)
        + settings.inclusion
        + settings.settle_margin
        + settings.rollup_clock_early
    )


def last_payment_time(invoice_expires_at: int, settings: TimelockSettings) -> int:
    """EVM to Lightning: after this the provider does not send the payment (it could come to an expired invoice)."""
    return invoice_expires_at - settings.payment_timeout


def destination_evm_deadline(counter_fund_by: int, finality: Finality, settings: TimelockSettings) -> int:
    """Lightning to EVM: the deadline of a lock that the provider begins no later than ``counter_fund_by``."""
    return (
        counter_fund_by
        + finality_seconds(finality, settings)
        + settings.collect_window
        + settings.claim_margin
        + settings.rollup_clock_early
    )


def last_reveal_time(deadline: int, settings: TimelockSettings) -> int:
    """After this the taker does not show the preimage for a lock with that deadline: the claim might come late."""
    return deadline - settings.claim_margin - settings.rollup_clock_early


def min_blocks_left_for(destination_deadline: int, now: int, settings: TimelockSettings) -> int:
    """Lightning to EVM: the blocks that every HTLC must have left when the provider locks at ``now``.

    So many that the held payment outlives the refund of the provider's lock, its finality and the settling, after
    the blocks that lnd gives up early and a tip that is behind.
    """
    seconds = destination_deadline - now + settings.inclusion + settings.finality_time + settings.settle_margin
    return fewest_blocks_lasting(seconds, settings) + settings.hold_expiry_delta + settings.late_tip_blocks


def hold_invoice_cltv_delta(min_blocks_left: int, settings: TimelockSettings) -> int:
    """The final CLTV delta of a hold invoice whose HTLCs shall still have so many blocks when they are accepted."""
    return min_blocks_left + settings.accept_blocks


def check_margins(terms: Terms, now: int, settings: TimelockSettings) -> None:
    """Check that every margin of the terms holds for one who has not funded yet, and no lock lasts too long.

    Raises:
        FundsRulesError: a sentence that names the margin; nothing may be funded under these terms.
        FormatError: an invoice in the terms cannot be read.
    """
    if now > terms.fund_by:
        raise FundsRulesError("the terms are too old: the time to begin funding is over")
    if not terms.issued_at <= terms.fund_by <= terms.counter_fund_by <= terms.collect_by:
        raise FundsRulesError("the terms' times are not in order: issued, fund_by, counter_fund_by, collect_by")
    match terms.source, terms.destination:
        case EvmLeg() as source, LightningLeg() as destination:
            _check_evm_to_lightning(terms, source, destination, settings)
        case LightningLeg() as source, EvmLeg() as destination:
            _check_lightning_to_evm(terms, source, destination, settings)
        case _:
            raise FundsRulesError("the terms' pair of layers is not one that has deadlines here")


def _check_evm_to_lightning(
    terms: Terms, source: EvmLeg, destination: LightningLeg, settings: TimelockSettings
) -> None:
    invoice = bolt11.decode(destination.invoice)
    _check_cltv_limit(destination, invoice.min_final_cltv_expiry_delta, settings)
    needed = source_evm_deadline(invoice.expires_at, settings.payment_timeout, destination.cltv_limit, settings)
    if source.deadline < needed:
        raise FundsRulesError(
            f"the source lock's deadline is {needed - source.deadline} s too early for the slowest payment"
        )
    if source.deadline > terms.issued_at + settings.max_source_lock:
        raise FundsRulesError(
            f"the source lock would last longer than the {settings.max_source_lock} s that are allowed"
        )
    if terms.counter_fund_by > last_payment_time(invoice.expires_at, settings):
        raise FundsRulesError("the invoice could expire while the payment is on its way")
    if terms.fund_by + finality_seconds(source.finality, settings) > terms.counter_fund_by:
        raise FundsRulesError("the invoice expires before the source lock can be final and paid")


def _check_lightning_to_evm(
    terms: Terms, source: LightningLeg, destination: EvmLeg, settings: TimelockSettings
) -> None:
    invoice = bolt11.decode(source.invoice)
    _check_cltv_limit(source, invoice.min_final_cltv_expiry_delta, settings)
    if source.min_blocks_left < min_blocks_left_for(destination.deadline, terms.issued_at, settings):
        raise FundsRulesError("the held payment could expire before the destination lock is surely over")
    if invoice.min_final_cltv_expiry_delta < source.min_blocks_left:
        raise FundsRulesError("the hold invoice's final delta is less than the blocks that must be left")
    if invoice.expires_at < terms.fund_by + settings.payment_timeout:
        raise FundsRulesError("the hold invoice could expire while the payment is on its way")
    if terms.collect_by > last_reveal_time(destination.deadline, settings):
        raise FundsRulesError("the preimage could be shown too late for a claim before the deadline")
    if terms.counter_fund_by + finality_seconds(destination.finality, settings) > terms.collect_by:
        raise FundsRulesError("the destination lock could not be final before the preimage must be shown")
    if destination.deadline > terms.issued_at + settings.max_destination_lock:
        raise FundsRulesError(
            f"the destination lock would last longer than the {settings.max_destination_lock} s that are allowed"
        )


def _check_cltv_limit(leg: LightningLeg, final_cltv_delta: int, settings: TimelockSettings) -> None:
    # lnd reads a limit of 0 as 2016, and at or below the padded final delta no route exists.
    if leg.cltv_limit <= final_cltv_delta + LND_CLTV_PADDING:
        raise FundsRulesError("the CLTV limit is not above the invoice's final delta and lnd's padding")
    if leg.cltv_limit > settings.max_cltv_limit:
        raise FundsRulesError(
            f"the payment could be locked for {leg.cltv_limit} blocks; at most {settings.max_cltv_limit} are allowed"
        )


def check_settings(settings: TimelockSettings) -> None:
    """Check the inequalities between the settings of a network.

    Raises:
        ConfigurationError: a sentence that names the one that does not hold.
    """
    positive = (
        "inclusion", "claim_margin", "settle_margin", "rollup_clock_early", "late_tip_blocks", "close_blocks",
        "hold_expiry_delta", "payment_timeout", "funding_window", "collect_window", "smallest_part_msat",
    )  # fmt: skip
    for name in positive:
        if getattr(settings, name) <= 0:
            raise ConfigurationError(f"{settings.network}: {name} must be positive")
    wrong = [
        sentence
        for sentence, holds in {
            "fast blocks come faster than slow ones": settings.fast_seconds_per_block < settings.slow_seconds_per_block,
            "a claim is surely included within its margin": settings.claim_margin >= settings.inclusion,
            "finalized comes after safe": settings.finality_time >= settings.safe_time,
            "an own invoice outlives funding and finality": settings.own_invoice_expiry
            > settings.funding_window + settings.finality_time + settings.payment_timeout,
            "an own invoice's final delta is one that lnd makes": settings.own_final_cltv_delta
            >= LND_SMALLEST_FINAL_DELTA,
            "lnd's own surrender leaves time to settle": settings.hold_expiry_delta > settings.late_tip_blocks,
            "own invoices fit the source lock's bound": source_evm_deadline(
                settings.own_invoice_expiry,
                settings.payment_timeout,
                cltv_limit_for(settings.own_final_cltv_delta, settings),
                settings,
            )
            <= settings.max_source_lock,
            "the destination lock fits its bound": _longest_destination_lock(settings) <= settings.max_destination_lock,
            "the hold invoice's lock fits the CLTV bound": hold_invoice_cltv_delta(
                min_blocks_left_for(_longest_destination_lock(settings), 0, settings), settings
            )
            + LND_CLTV_PADDING
            + settings.route_cltv_blocks
            <= settings.max_cltv_limit
            <= MOST_CLTV_BLOCKS,
        }.items()
        if not holds
    ]
    if wrong:
        raise ConfigurationError(f"{settings.network}: it does not hold that {wrong[0]}")


def _longest_destination_lock(settings: TimelockSettings) -> int:
    return destination_evm_deadline(
        settings.funding_window + settings.counter_funding_window, Finality.FINALIZED, settings
    )


def _at_least(blocks: int, mean: float) -> float:
    """P(X >= blocks) of a Poisson count whose mean is at most ``blocks``."""
    if mean <= 0:
        return 0.0
    term = _probability(blocks, mean)
    total, count = 0.0, blocks
    while term > total * 1e-17:
        total += term
        count += 1
        term *= mean / count
    return total


def _fewer_than(blocks: int, mean: float) -> float:
    """P(X < blocks) of a Poisson count whose mean is at least ``blocks``."""
    count = blocks - 1
    term = _probability(count, mean)
    total = 0.0
    while count >= 0 and term > total * 1e-17:
        total += term
        term *= count / mean
        count -= 1
    return total


def _probability(count: int, mean: float) -> float:
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))


# A network whose margins do not hold must not even be importable.
for _settings in (MAINNET, TESTNET, REGTEST):
    check_settings(_settings)
